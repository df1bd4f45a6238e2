"""What may be stored as one calendar object (RFC 4791 4.1)."""

import pytest

from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.objects import etag_of, parse_calendar_object, peek_uid

START = "DTSTART:20260401T100000Z"


def body(*components: str) -> bytes:
    text = "BEGIN:VCALENDAR\nVERSION:2.0\n" + "\n".join(components) + "\nEND:VCALENDAR\n"
    return text.replace("\n", "\r\n").encode()


def component(*lines: str, name: str = "VEVENT", uid: str = "a") -> str:
    head = [f"UID:{uid}"] if uid else []
    return "\n".join([f"BEGIN:{name}", *head, *lines, f"END:{name}"])


def test_a_good_object():
    text = body(component(START), component("RECURRENCE-ID:20260401T100000Z", START))
    parsed = parse_calendar_object(text)
    assert (parsed.uid, parsed.component, parsed.body) == ("a", "VEVENT", text)
    assert parsed.etag == etag_of(text)
    assert parsed.etag[0] == parsed.etag[-1] == '"'
    assert etag_of(text + b"\r\n") != parsed.etag


@pytest.mark.parametrize("name", ["VTODO", "VJOURNAL", "VFREEBUSY"])
def test_other_components_need_no_start(name):
    assert parse_calendar_object(body(component("SUMMARY:x", name=name))).component == name


def test_a_method_left_in_is_forgiven():
    assert parse_calendar_object(body("METHOD:PUBLISH", component(START))).uid == "a"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "The body is not iCalendar: there is no BEGIN:VCALENDAR."),
        (b"<html>", "The body is not iCalendar: there is no BEGIN:VCALENDAR."),
        (body(), "The calendar object holds none of VEVENT, VTODO, VJOURNAL, VFREEBUSY."),
        (
            body(component(START), component(name="VTODO")),
            "One calendar object holds one kind of component, not VEVENT and VTODO.",
        ),
        (body(component(START, uid="")), "A component has no UID."),
        (
            body(component(START), component(START, uid="b")),
            "The components of one calendar object must share one UID.",
        ),
        (
            body(component(START), component(START)),
            "There are two components without RECURRENCE-ID for one UID.",
        ),
        (body(component("SUMMARY:x")), "An event has no DTSTART."),
        (
            body(component(START, "DTSTART:20260501T100000Z")),
            "An event has several DTSTARTs that differ.",
        ),
        (body(component("DTSTART:soon")), "DTSTART cannot be read: "),
        (body(component(START, "DTEND:20260431T100000Z")), "DTEND cannot be read: "),
        (body(component(START, "DURATION:1h")), "DURATION cannot be read: not a duration."),
        (body(component(START, "RRULE:FREQ=X")), "RRULE cannot be read: RRULE has no known FREQ."),
        (body(component(START, "EXDATE:x")), "EXDATE cannot be read: "),
        (body(component(START, "RRULE;FREQ=DAILY")), "RRULE is not a property line."),
        (body(component(START))[:-25], "The body ends before END:VEVENT."),
        (b"x" * (20 * 1024 * 1024 + 1), "The calendar object is larger than 20 MB."),
    ],
)
def test_a_bad_object_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(InvalidCalendarData) as refused:
        parse_calendar_object(text)
    assert refused.value.code == "valid-calendar-data"
    assert refused.value.detail.startswith(sentence)


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        (body(component(START)), "a"),
        (b"uid;X=1: b \n", "b"),
        (b"UID:folded\r\n  over\r\n", "folded over"),
        (b"\xef\xbb\xbfUID:c\n", "c"),
        (b"DESCRIPTION:UID:no\nX-UID:no\n", None),
        (b"UID:\n", None),
        (b"", None),
    ],
)
def test_peek_uid(text, uid):
    assert peek_uid(text) == uid
