"""Working hours as calendar-availability (RFC 7953): read, refused with words, written and read."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from gateway.core.availability.hours import Week, read_week, write_week
from gateway.core.errors import InvalidCalendarData

NOW = 1_793_000_000  # 2026-10-26
BERLIN = ZoneInfo("Europe/Berlin")
NINE_TO_FIVE = ((9 * 60, 17 * 60),)
OFFICE = (NINE_TO_FIVE,) * 5 + ((),) * 2


def part(start: str, end: str, *more: str, kind: str = "DTEND") -> list[str]:
    """Return an AVAILABLE; start and end are the properties' tails."""
    return ["BEGIN:AVAILABLE", "UID:a", f"DTSTART{start}", f"{kind}{end}", *more, "END:AVAILABLE"]


def whole(*parts: list[str], more: tuple[str, ...] = ()) -> bytes:
    """Return a VCALENDAR with one VAVAILABILITY."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VAVAILABILITY", "UID:u", *more]
    lines += [line for one in parts for line in one]
    return "\r\n".join([*lines, "END:VAVAILABILITY", "END:VCALENDAR", ""]).encode()


def read(*parts: list[str], more: tuple[str, ...] = ()) -> Week:
    """Read a body of these parts."""
    return read_week(whole(*parts, more=more), own=BERLIN, now=NOW)


MONTREAL = ";TZID=America/Montreal"
EVERY_WORKDAY = part(
    f"{MONTREAL}:20111002T090000",
    f"{MONTREAL}:20111002T170000",
    "SUMMARY:Monday to Friday from 9:00 to 17:00",
    "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
)


def test_the_example_of_the_standard() -> None:
    assert read(EVERY_WORKDAY) == Week(ZoneInfo("America/Montreal"), OFFICE)


def test_a_week_in_every_form() -> None:
    """UTC, floating, durations, daily rules, a rule without BYDAY, nights and whole days."""
    assert read(part(":20260105T090000Z", ":PT8H", "RRULE:FREQ=DAILY", kind="DURATION")) == Week(
        ZoneInfo("UTC"), (NINE_TO_FIVE,) * 7
    )
    found = read(
        part(":20260105T090000", ":20260105T120000", "RRULE:FREQ=WEEKLY"),
        part(":20260106T220000", ":20260107T060000", "RRULE:FREQ=DAILY;BYDAY=TU"),
        part(":20260107T000000", ":20260108T000000", "RRULE:FREQ=WEEKLY;WKST=SU;INTERVAL=1"),
    )
    assert found == Week(BERLIN, (((540, 720),), ((1320, 1800),), ((0, 1440),), (), (), (), ()))


def test_single_dates_are_added_and_taken_out() -> None:
    found = read(
        [*EVERY_WORKDAY[:-1], f"EXDATE{MONTREAL}:20261224T090000,20261225T090000", "END:AVAILABLE"],
        part(f"{MONTREAL}:20261224T100000", f"{MONTREAL}:20261224T120000"),
        part(f"{MONTREAL}:20261226T100000", f"{MONTREAL}:20261226T120000"),
    )
    assert found.overrides == (
        (date(2026, 12, 24), ((600, 720),)),
        (date(2026, 12, 25), ()),
        (date(2026, 12, 26), ((600, 720),)),
    )


def test_overlapping_parts_are_joined_and_touching_ones_are_not() -> None:
    weekly = "RRULE:FREQ=WEEKLY;BYDAY=MO"
    found = read(
        part(":20260105T090000", ":20260105T110000", weekly),
        part(":20260105T103000", ":20260105T120000", weekly),
        part(":20260105T120000", ":20260105T130000", weekly),
    )
    assert found.weekdays[0] == ((540, 720), (720, 780))


def test_no_part_at_all_is_never() -> None:
    assert read() == Week(BERLIN, ((),) * 7)


@pytest.mark.parametrize(
    ("parts", "more", "reason"),
    [
        ([EVERY_WORKDAY], ("DTEND:20270101T000000Z",), "it has an end"),
        ([EVERY_WORKDAY], ("DURATION:P1W",), "it has an end"),
        ([EVERY_WORKDAY], ("DTSTART:20270101T000000Z",), "it begins in the future"),
        ([EVERY_WORKDAY], ("DTSTART:soon",), "its DTSTART is no time"),
        (
            [EVERY_WORKDAY, part(":20260105T090000", ":20260105T110000")],
            (),
            "its parts are in different time zones",
        ),
        *(
            (
                [part(":20260105T090000", ":20260105T110000", f"RRULE:{rule}")],
                (),
                "only endless weekly and daily rules",
            )
            for rule in (
                "FREQ=MONTHLY",
                "FREQ=WEEKLY;INTERVAL=2",
                "FREQ=WEEKLY;COUNT=3",
                "FREQ=WEEKLY;UNTIL=20270101T000000Z",
                "FREQ=DAILY;BYMONTH=1",
                "FREQ=WEEKLY;BYSETPOS=1;BYDAY=MO,TU",
            )
        ),
        (
            [part(":20270105T090000", ":20270105T110000", "RRULE:FREQ=WEEKLY")],
            (),
            "only endless weekly and daily rules",
        ),
        ([part(":20260105T090000", ":20260105T110000", "RDATE:20260106T090000")], (), "RDATE"),
        ([part(":20260105T090000", ":20260105T110000", "RECURRENCE-ID:1")], (), "RECURRENCE-ID"),
        ([part(":20260105T090030", ":20260105T110030")], (), "whole minutes"),
        ([part(":20260105T090000", ":20260105T090030")], (), "whole minutes"),
        ([part(":20260105T090000", ":20260105T090000")], (), "whole minutes"),
        ([part(":20260105T090000", ":20260106T090000")], (), "less than a day"),
        ([part(";VALUE=DATE:20260105", ";VALUE=DATE:20260106")], (), "a date alone"),
        ([part(";TZID=Nowhere:20260105T090000", ":20260105T110000")], (), "tz database"),
        ([part(":20260105T090000Z", ":20260105T110000")], (), "different time zones"),
        ([part(":20260105T090000", ":20260105T110000", "EXDATE:20260112T100000")], (), "EXDATE"),
        ([["BEGIN:AVAILABLE", "END:AVAILABLE"]], (), "no DTSTART"),
        ([part(":20260105T090000", "", "X:1", kind="X-END")], (), "not a duration"),
        ([EVERY_WORKDAY] * 401, (), "too many"),
        (
            [
                part(":20260105T010000", ":20260106T003000", "RRULE:FREQ=DAILY"),
                part(":20260105T230000", ":20260106T220000", "RRULE:FREQ=DAILY"),
            ],
            (),
            "longer than a day",
        ),
    ],
)
def test_what_says_more_than_a_week_is_refused(parts, more, reason) -> None:
    with pytest.raises(InvalidCalendarData, match=reason):
        read(*parts, more=more)


@pytest.mark.parametrize(
    "body",
    [b"", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", whole() + whole(), whole()[:-40]],
    ids=["nothing", "empty", "two", "cut"],
)
def test_what_is_no_availability_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidCalendarData, match="exactly one VAVAILABILITY"):
        read_week(body, own=BERLIN, now=NOW)


@st.composite
def day_hours(draw) -> tuple[tuple[int, int], ...]:
    edges = sorted(draw(st.sets(st.integers(0, 1440), max_size=6)))
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    if spans and draw(st.booleans()) and spans[-1][0]:
        spans[-1] = (spans[-1][0], 1440 + draw(st.integers(0, spans[-1][0] - 1)))
    return tuple(spans)


DATES = st.dates(date(2024, 1, 8), date(2030, 1, 1))


@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "UTC", "Asia/Kathmandu"]),
    st.tuples(*[day_hours()] * 7),
    st.dictionaries(DATES, day_hours(), max_size=4),
)
def test_what_is_written_is_read_again(zone, weekdays, changes) -> None:
    overrides = tuple(
        (day, hours) for day, hours in sorted(changes.items()) if hours != weekdays[day.weekday()]
    )
    week = Week(ZoneInfo(zone), weekdays, overrides)
    body = write_week(week, uid="hours", stamp=NOW)
    found = read_week(body, own=ZoneInfo(zone), now=NOW)
    assert found == week
    assert all(len(line) <= 75 for line in body.split(b"\r\n"))
    (availability,) = Calendar.from_ical(body).walk("VAVAILABILITY")
    assert availability.walk("AVAILABLE") == availability.subcomponents


PIECES = [
    *(line for line in whole(EVERY_WORKDAY).decode().split("\r\n") if line),
    "DTSTART:",
    "DTEND;TZID=America/Montreal:99999999T000000",
    "DURATION:P999999W",
    "EXDATE;VALUE=DATE:20261224",
    "RRULE:FREQ=WEEKLY;BYDAY=1MO",
    "RRULE:",
    "BEGIN:AVAILABLE",
    "\x00;:",
]


def test_the_last_night_of_all_is_left_out() -> None:
    """It ends in the year 10000, which no calendar can say."""
    usual = (((540, 1020),),) * 7
    week = Week(ZoneInfo("Europe/Berlin"), usual, ((date.max, ((1320, 1800),)),))
    read = read_week(write_week(week, uid="hours", stamp=NOW), own=week.zone, now=NOW)
    assert (read.weekdays, read.overrides) == (usual, ((date.max, ()),))


@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_whatever_comes_is_read_or_refused(lines: list[str]) -> None:
    body = "\r\n".join(["BEGIN:VAVAILABILITY", *lines, "END:VAVAILABILITY"]).encode()
    try:
        found = read_week(body, own=BERLIN, now=NOW)
    except InvalidCalendarData:
        return
    assert len(found.weekdays) == 7
