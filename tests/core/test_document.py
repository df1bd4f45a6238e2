"""The document tree: what was read is written again byte for byte, whatever it was."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.ical.document import (
    MAX_DEPTH,
    MAX_SHARED,
    Component,
    new_calendar,
    outline,
    parse,
    read_text,
    write,
)
from gateway.core.ical.lines import Property, unfold
from gateway.core.ical.reader import read_calendar

EVENT = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nbegin:vtimezone\r\nTZID:X\r\nBEGIN:STANDARD\r\n"
    b"TZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\nSUMMARY;A=1:Lon\r\n g "
    b"\xc3\r\n \xa9\r\n\r\nno line at all\r\nBEGIN:VALARM\r\nTRIGGER:-PT5M\r\nEND:VALARM\r\n"
    b"SUMMARY:again\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)

PIECES = st.sampled_from(
    [
        *(f"{edge}:{name}" for edge in ("BEGIN", "end", "END") for name in ("VEVENT", "VCALENDAR")),
        *("BEGIN:VALARM", "END:VALARM", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "BEGIN:A", "END:A"),
        *(
            "VERSION:2.0",
            "SUMMARY:x",
            "DTSTART;TZID=a:b",
            "TZID:Y",
            "noise",
            "",
            " folded",
            "\tfolded",
            "\ufeff",
        ),
    ]
)
BODIES = st.lists(st.tuples(PIECES, st.sampled_from(["\r\n", "\n", "\r\r\n"])), max_size=25).map(
    lambda found: "".join(text + end for text, end in found).encode()
)


@given(st.one_of(BODIES, BODIES.map(lambda body: body[:-1]), st.binary(max_size=200)))
@example(b"BEGIN:")
@example(b"BEGIN:VCALENDAR\r\nBEGIN:\r\nEND:\r\nEND:VCALENDAR\r\n")
def test_what_was_read_is_written_again_byte_for_byte(body: bytes) -> None:
    if body[:2] not in (b"\xff\xfe", b"\xfe\xff") and (b"\r" not in body or b"\n" in body):
        assert write(parse(body)) == body


@given(BODIES)
def test_the_prefilters_see_the_same_components_and_zones(body: bytes) -> None:
    text = unfold(body)
    fast, full = read_calendar(text), read_calendar(text, full=True)
    assert [(one.name, one.closed) for one in fast.components] == [
        (one.name, one.closed) for one in full.components
    ]
    assert fast.has_calendar == full.has_calendar
    assert fast.zone_blocks.keys() == full.zone_blocks.keys()


def test_a_tree_knows_what_stands_inside_what() -> None:
    [calendar] = parse(EVENT).children
    zone, event = calendar.children
    assert (zone.name, [part.name for part in zone.children]) == ("VTIMEZONE", ["STANDARD"])
    assert [prop.value for prop in event.all("SUMMARY")] == ["Long é", "again"]
    assert event.broken == {}
    assert event.children[0].text("TRIGGER") == "-PT5M"


def test_a_change_leaves_every_other_byte_alone() -> None:
    document = parse(EVENT)
    event = document.children[0].children[1]
    event.drop({"SUMMARY"})
    event.add(Property("SUMMARY", "", "new"))
    head, _, rest = EVENT.partition(b"SUMMARY;A=1:Lon\r\n g \xc3\r\n \xa9\r\n")
    assert write(document) == head + rest.replace(b"SUMMARY:again", b"SUMMARY:new")
    assert b"no line at all" not in write(document, strict=True)


def test_a_line_can_follow_one_that_had_no_end() -> None:
    document = parse(b"BEGIN:VCALENDAR\nX:1")
    document.children[0].add(Property("Y", "", "2"))
    assert write(document) == b"BEGIN:VCALENDAR\nX:1\r\nY:2\r\n"


def test_our_own_lines_are_folded_and_framed_once() -> None:
    calendar = new_calendar(Property("X-TITLE", "", "ä" * 60))
    calendar.keep(Component("VEVENT", end=b""))
    lines = write(calendar).split(b"\r\n")
    assert max(map(len, lines)) <= 75
    assert lines[:3] == [
        b"BEGIN:VCALENDAR",
        b"VERSION:2.0",
        b"PRODID:-//icloud-caldav-gateway//EN",
    ]
    assert lines[-4:] == [b"BEGIN:VEVENT", b"END:VEVENT", b"END:VCALENDAR", b""]


def test_an_outline_cuts_folded_text_into_its_components() -> None:
    text = EVENT.replace(b"\r\n", b"\n").decode("utf-8", "replace")
    (zone, zone_text), (event, event_text) = outline(text)
    assert (zone, event) == ("VTIMEZONE", "VEVENT")
    assert zone_text.startswith("begin:vtimezone\nTZID:X\n")
    assert zone_text.endswith("END:STANDARD\nEND:VTIMEZONE")
    assert event_text.endswith("SUMMARY:again\nEND:VEVENT")
    assert f"{zone_text}\n{event_text}\n" in text


@given(BODIES)
def test_an_outline_sees_what_the_tree_sees(body: bytes) -> None:
    text = re.sub(r"\r|\n[ \t]folded", "", body.decode()).lstrip("\ufeff")  # no name is folded
    tops = parse(text.encode()).children
    parts = [p for top in tops for p in (top.children if top.name == "VCALENDAR" else [top])]
    assert [name for name, _ in outline(text)] == [p.name for p in parts if p.end is not None]


def test_zones_are_shared_unless_they_are_long_or_inside_an_event() -> None:
    zone = "BEGIN:VTIMEZONE\nTZID:Z\nEND:VTIMEZONE"
    one, two = (read_text(f"BEGIN:VCALENDAR\n{zone}\n{n}:1").children[0] for n in "AB")
    assert one.children[0] is two.children[0]
    long = zone.replace("TZID:Z", f"TZID:Z\nX:{'x' * MAX_SHARED}")
    assert read_text(long).children[0] is not read_text(long).children[0]
    [event] = read_text(f"BEGIN:VEVENT\n{zone}\nUID:1\nEND:VEVENT").children
    assert (event.children[0].name, event.text("UID"), event.closed) == ("VTIMEZONE", "1", True)


@pytest.mark.parametrize(
    "body",
    [
        b"BEGIN:A\n" * 20_000,
        b"BEGIN:VEVENT\n" + b"BEGIN:A\n" * 10_000 + b"END:A\n" * 10_000,
        b"BEGIN:VTIMEZONE\n" * 10_000,
        b"BEGIN:VTIMEZONE\n" + b"X:1\n" * 20_000,
        b"X:1\n " * 20_000,
    ],
)
def test_no_nesting_and_no_folding_costs_more_than_its_length(body: bytes) -> None:
    started = time.process_time()
    document = parse(body)
    assert write(document) == body
    assert read_calendar(unfold(body)).components == read_calendar(unfold(body)).components
    read_text(unfold(body))
    depth, part = 0, document
    while part.children:
        depth, part = depth + 1, part.children[-1]
    assert depth <= MAX_DEPTH + 3
    assert time.process_time() - started < 3
