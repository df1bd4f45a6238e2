"""Calendar text: cutting, folding, shifting; and the spans time-range queries stand on."""

import datetime as dt

import icalendar
import pytest
import recurring_ical_events
from hypothesis import given
from hypothesis import strategies as st

from gateway.lookalike.world import ical
from gateway.lookalike.world.drafts import calendar, vevent, when
from gateway.lookalike.world.spans import ALWAYS, parse_duration, span_of
from gateway.lookalike.world.world import World

from .conftest import event


def test_a_body_survives_a_round_trip_with_bytes_that_are_not_utf8():
    data = event("a", summary="Käse ☕ " * 30).replace(b"VERSION", b"X-RAW:\xff\xfe\r\nVERSION")
    again = ical.serialise(ical.parse_body(data))
    assert ical.unfold(again) == ical.unfold(data)
    assert max(map(len, again.split(b"\r\n"))) <= 75
    for line in again.split(b"\r\n"):
        if b"\xff" not in line:
            line.decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n",
        b"BEGIN:VEVENT\r\nEND:VEVENT\r\n",
        b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\nJUNK:1\r\n",
    ],
)
def test_what_does_not_nest_is_malformed(data):
    with pytest.raises(ical.MalformedBodyError):
        ical.parse_body(data)


def test_lines_are_split_outside_quotes():
    line = 'ATTENDEE;CN="a:b;c";X=1:mailto:x@y'
    assert ical.name_of(line) == "ATTENDEE"
    assert ical.value_of(line) == "mailto:x@y"
    assert (ical.param_of(line, "CN"), ical.param_of(line, "X")) == ("a:b;c", "1")
    assert ical.param_of(line, "NONE") is None
    zone = 'DTSTART;TZID="GMT+05:00":20261001T090000'
    assert (
        ical.shift_line(zone, dt.timedelta(hours=1)) == 'DTSTART;TZID="GMT+05:00":20261001T100000'
    )


def test_uid_and_kind_are_found_in_folded_and_broken_bodies():
    assert ical.find_uid(b"UID:ab\r\n c\r\n") == "abc"
    assert ical.find_uid(b"X-UID:no\r\nSUMMARY:UID:no\r\n") == ""
    assert ical.find_uid(b"UID;X=1: x \r\n") == "x"
    assert ical.find_kind(b"BEGIN:VCALENDAR\nBEGIN:VTODO\n") == "VTODO"


def test_objects_without_uid_never_replace_each_other():
    account = World(lambda: 0.0).add_account("a@example.com")
    names = {account.put("work", b"BEGIN:VCALENDAR\r\nbroken %d" % number) for number in range(3)}
    assert len(names) == len(account.calendars["work"].resources) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1H30M", 5400), ("P1D", 86400), ("P2W", 1209600), ("-PT15M", -900), ("P1DT1S", 86401)],
)
def test_durations(text, seconds):
    assert parse_duration(text).total_seconds() == seconds


def test_what_cannot_be_understood_could_be_at_any_time():
    for data in (
        b"junk",
        event("a").replace(b"DTSTART:20261001T090000Z\r\n", b""),
        event("a").replace(b"20261001T090000Z", b"soon"),
        event("a", "20261001T090000", "20261001T100000", "RRULE:COUNT=x"),
    ):
        assert span_of(data) == ALWAYS


RULES = st.one_of(
    st.none(),
    st.builds(
        "FREQ={};INTERVAL={};COUNT={}".format,
        st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY", "WEEKLY;BYDAY=MO,WE"]),
        st.integers(1, 4),
        st.integers(1, 9),
    ),
    st.builds(
        "FREQ={};UNTIL={:%Y%m%dT%H%M%SZ}".format,
        st.sampled_from(["DAILY", "WEEKLY", "MONTHLY"]),
        st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1)),  # noqa: DTZ001
    ),
)


@given(
    rule=RULES,
    start=st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2026, 12, 31)),  # noqa: DTZ001
    hours=st.integers(0, 50),
    zone=st.sampled_from([None, "Z", "Europe/Berlin", "America/New_York", "Nowhere/Special"]),
    moved=st.integers(-400, 400),
)
def test_a_span_covers_every_instance(rule, start, hours, zone, moved):
    start = start.replace(microsecond=0)
    length = dt.timedelta(hours=hours)
    master = vevent("u", start, length, "x", *([f"RRULE:{rule}"] if rule else []), zone=zone)
    override = vevent(
        "u",
        start + dt.timedelta(days=moved),
        length,
        "x",
        when("RECURRENCE-ID", start, zone),
        zone=zone,
    )
    zones = [zone] if zone in ("Europe/Berlin", "America/New_York") else []
    data = calendar(master, override, zones=zones)
    first, last = span_of(data)
    parsed = icalendar.Calendar.from_ical(data)
    for part in recurring_ical_events.of(parsed).between((2024, 1, 1), (2031, 1, 1)):
        begin, end = part["DTSTART"].dt, part["DTEND"].dt
        begin, end = (one if one.tzinfo else one.replace(tzinfo=dt.UTC) for one in (begin, end))
        assert first <= begin.timestamp() <= end.timestamp() <= last
