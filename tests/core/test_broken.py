"""Every property that carries time, broken in every way: read, bounded, or said to be unplaceable.

The bounds are those of busy-time.md: what has one sensible reading is read; else the span it could
cover is unknown, never free, and no longer than it could be.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.availability.merge import coalesce_rows
from gateway.core.intervals import Interval, merge, subtract
from gateway.core.recurrence.expand import expand
from gateway.core.recurrence.model import BusyRules
from gateway.core.status import FBType
from tests.core.golden import shown

DAY = 86_400
BERLIN = BusyRules(ZoneInfo("Europe/Berlin"))
YEAR = (1_767_225_600, 1_798_761_600)  # 2026
START, END = "DTSTART:20260401T100000Z", "DTEND:20260401T110000Z"
BUSY = ["04-01T10:00/04-01T11:00 BUSY opaque"]
SERIES = f"{START}\n{END}\nRRULE:FREQ=DAILY;COUNT=2"
TWICE = [*BUSY, "04-02T10:00/04-02T11:00 BUSY opaque"]


def body(lines: str, zone: str = "") -> bytes:
    event = f"BEGIN:VEVENT\nUID:a\n{lines}\nEND:VEVENT\n"
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\n{zone}{event}END:VCALENDAR\n"
    return text.replace("\n", "\r\n").encode()


def unknown(until: str, code: str, start: str = "04-01T10:00") -> list[str]:
    return [f"{start}/{until} UNKNOWN {code}"]


READ = [
    # one sensible reading
    ("DTSTART:2026-04-01T10:00:00Z\nDTEND:2026-04-01T11:00:00Z", BUSY),
    ("DTSTART:2026-04-01T12:00:00+02:00\nDTEND:20260401T110000Z", BUSY),
    ("DTSTART:20260401T120000+0200\nDTEND:20260401T110000Z", BUSY),
    ("DTSTART:2026-04-01 10:00:00Z\nDTEND:2026-04-01T11:00:00.000Z", BUSY),
    ("DTSTART;TZID=Europe/Berlin:2026-04-01T12:00\nDURATION:PT1H", BUSY),
    (f"DTSTART:20260401T100000Z,\n{END},", BUSY),
    (f"{START}\nDURATION:P3600S", BUSY),
    (f"{START}\nDURATION:PT0DT1H", BUSY),
    (f"{START}\nDURATION:PT60M,", BUSY),
    (f"{START}\nDURATION:p60m", BUSY),
    (f"{START}\nDURATION:+PT30M30M", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDURATION:PT1.0H", BUSY),
    (f"{START}\nDURATION:PT30S59M30S", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDTEND:\nDURATION:PT1H", BUSY),
    (f"{START}\n{END}\nDURATION:", BUSY),
    (f"{START}\n{END}\nRRULE:\nRDATE:\nEXDATE:", BUSY),
    (f"{START}\n{END}\n{END}", BUSY),
    (f"{START}\nDTEND:20260401T103000Z\n{END}", BUSY),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;COUNT=2;BYDAY=;INTERVAL=;BYMONTH=;WKST=;UNTIL=", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;COUNT=2;BYDAY=WE,TH,", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;COUNT=2;BYMONTH=4,", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY\\;COUNT=2", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;INTERVAL=0;COUNT=2", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;FREQ=DAILY;COUNT=2", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=20260402", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=2026-04-02", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=2026-04-02T10:00:00Z", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=2026-04-02T12:00:00+02:00", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=20260402T100000", TWICE),
    (f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=20260402T990000Z", TWICE),
    (f"{START}\n{END}\nRDATE:20260402T100000Z,", TWICE),
    (f"{START}\n{END}\nRDATE:2026-04-02T10:00:00Z", TWICE),
    (f"{START}\n{END}\nRDATE;VALUE=PERIOD:20260402T100000Z/20260402T110000", TWICE),
    (f"{START}\n{END}\nRDATE;VALUE=PERIOD:20260402T100000Z/P3600S", TWICE),
    (f"{SERIES}\nEXDATE:20260402T100000", BUSY),
    (f"{SERIES}\nEXDATE:2026-04-02T10:00:00Z,", BUSY),
    (f"{SERIES}\nEXDATE:rubbish,20260402T100000Z", BUSY),
    (f"{START}\n{END}\nRECURRENCE-ID:", BUSY),
    # an end without zone is on the clock of its start
    (f"{START}\nDTEND:20260401T110000", BUSY),
    ("DTSTART;TZID=America/New_York:20260401T060000\nDTEND:20260401T070000", BUSY),
    ("DTSTART;TZID=Asia/Tokyo:20260401T190000\nDTEND:20260401T200000", BUSY),
]

BOUNDED = [
    # an end that cannot be read: 24 hours from the start on, nothing before it
    (f"{START}\nDTEND:late", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDTEND;VALUE=DATE:late", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDTEND:20260401T250000Z", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDTEND:20260403T250000Z", unknown("04-04T00:00", "bad-end")),
    (f"{START}\nDTEND 20260401T110000Z", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDTEND<20260401T110000Z:x", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDURATION:long", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDURATION:P1Y", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDURATION:P", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDURATION:60", unknown("04-02T10:00", "bad-end")),
    (f"{START}\nDTEND:20260401T060000Z", unknown("04-02T10:00", "end-before-start")),
    (f"{START}\nDTEND:20160401T060000Z", unknown("04-02T10:00", "end-before-start")),
    (f"{START}\nDURATION:-PT1H", unknown("04-02T10:00", "end-before-start")),
    (f"{START}\n{END}\nDURATION:long", [*BUSY, *unknown("04-02T10:00", "bad-end")]),
    (
        "DTSTART;VALUE=DATE:20260401\nDTEND;VALUE=DATE:soon",
        unknown("04-01T22:00", "bad-end", "03-31T22:00"),
    ),
    (
        "DTSTART;VALUE=DATE:20260401\nDTEND;VALUE=DATE:20260301",
        unknown("04-01T22:00", "end-before-start", "03-31T22:00"),
    ),
    (
        "DTSTART;VALUE=DATE:20260401\nDURATION:-P1D",
        unknown("04-01T22:00", "end-before-start", "03-31T22:00"),
    ),
    # the same for each instance of a series whose rule can be read
    (
        f"{START}\nDTEND:late\nRRULE:FREQ=WEEKLY;COUNT=2",
        [*unknown("04-02T10:00", "bad-end"), *unknown("04-09T10:00", "bad-end", "04-08T10:00")],
    ),
    (
        f"{START}\n{END}\nDURATION:x\nRRULE:FREQ=WEEKLY;COUNT=2",
        [
            *BUSY,
            *unknown("04-02T10:00", "bad-end"),
            "04-08T10:00/04-08T11:00 BUSY opaque",
            *unknown("04-09T10:00", "bad-end", "04-08T10:00"),
        ],
    ),
    # a rule that cannot be read: the first instance, and as far as UNTIL, COUNT or RDATE reach
    (f"{START}\n{END}\nRRULE:FREQ=OFTEN", [*BUSY, *unknown("2027-01-01T00:00", "bad-rule")]),
    (f"{START}\n{END}\nRRULE:DAILY", [*BUSY, *unknown("2027-01-01T00:00", "bad-rule")]),
    (f"{START}\n{END}\nRRULE<FREQ=DAILY:x", [*BUSY, *unknown("2027-01-01T00:00", "bad-rule")]),
    (
        f"{START}\n{END}\nRRULE:FREQ=OFTEN;UNTIL=20260410T100000Z",
        [*BUSY, *unknown("04-10T11:00", "bad-rule")],
    ),
    (
        f"{START}\n{END}\nRRULE:FREQ=OFTEN;UNTIL=20260410",
        [*BUSY, *unknown("04-11T00:59", "bad-rule")],
    ),
    (f"{START}\n{END}\nRRULE:FREQ=OFTEN;COUNT=1", [*BUSY, *unknown("04-02T00:59", "bad-rule")]),
    (
        f"{START}\n{END}\nRRULE:FREQ=DAILY;COUNT=3;UNTIL=someday",
        [*BUSY, *unknown("04-04T00:59", "bad-rule")],
    ),
    (
        f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=someday",
        [*BUSY, *unknown("2027-01-01T00:00", "bad-rule")],
    ),
    (
        f"{START}\n{END}\nRRULE:FREQ=OFTEN\nRDATE:20260405T100000Z",
        [*BUSY, *unknown("04-05T11:00", "bad-rule"), "04-05T10:00/04-05T11:00 BUSY opaque"],
    ),
    (f"{START}\n{END}\nRDATE:rubbish", [*BUSY, *unknown("2027-01-01T00:00", "bad-rdate")]),
    (
        f"{START}\n{END}\nRRULE:FREQ=DAILY;UNTIL=20260402T100000Z\nRDATE:rubbish",
        [*BUSY, *unknown("04-02T11:00", "bad-rdate"), TWICE[1]],
    ),
    # an RDATE with a readable date: that day, and its neighbours stay
    (
        f"{START}\n{END}\nRDATE:20260405T990000Z,20260402T100000Z",
        [*TWICE, *unknown("04-06T01:00", "bad-rdate", "04-05T00:00")],
    ),
    (
        f"{START}\n{END}\nRDATE;VALUE=PERIOD:20260402T100000Z/20260402T090000Z",
        [
            *BUSY,
            *unknown("04-03T10:00", "end-before-start", "04-02T10:00"),
            "04-02T10:00/04-02T10:00 FREE zero-length",
        ],
    ),
    # what excludes nothing, when it cannot be read
    (f"{SERIES}\nEXDATE:rubbish", TWICE),
    (f"{SERIES}\nEXDATE<rubbish:x", TWICE),
    # a start with a readable date: that day; to the end where that much can be read
    ("DTSTART:20260401T990000Z\nDURATION:PT1H", unknown("04-02T00:00", "bad-start", "04-01T00:00")),
    (f"DTSTART:20260401T990000Z\n{END}", unknown("04-02T00:00", "bad-start", "04-01T00:00")),
    (
        "DTSTART:20260401T990000Z\nDTEND:20260403T110000Z",
        unknown("04-03T11:00", "bad-start", "04-01T00:00"),
    ),
    ("DTSTART:20260401T\nDURATION:PT1H", unknown("04-01T22:00", "bad-start", "03-31T22:00")),
    (
        "DTSTART;TZID=Asia/Tokyo:20260401T99\nDURATION:PT1H",
        unknown("04-01T15:00", "bad-start", "03-31T15:00"),
    ),
    (
        "DTSTART<20260401T100000Z:x\nDURATION:PT1H",
        unknown("04-01T22:00", "bad-start", "03-31T22:00"),
    ),
    (
        "DTSTART:20260401T990000Z\nRRULE:FREQ=WEEKLY;COUNT=2",
        [
            *unknown("04-02T00:00", "bad-start", "04-01T00:00"),
            *unknown("04-09T00:00", "bad-start", "04-08T00:00"),
        ],
    ),
    # no start, but an end: as long before it as it may have begun
    (END, unknown("04-01T11:00", "bad-start", "03-31T11:00")),
    (f"DTSTART:\n{END}", unknown("04-01T11:00", "bad-start", "03-31T11:00")),
    (f"DTSTART:x\n{END}\nDURATION:P2D", unknown("04-01T11:00", "bad-start", "03-30T11:00")),
    # no readable time at all: it cannot be placed
    ("SUMMARY:x", []),
    ("DTSTART:", []),
    ("DTSTART:soon\nDTEND:later", []),
    ("DTSTART:soon\nDURATION:PT1H\nRRULE:FREQ=DAILY", []),
    # an unknown zone: 26 hours around it, whatever else is wrong
    (
        "DTSTART;TZID=Mars/Olympus:20260401T100000\nDURATION:PT1H",
        unknown("04-01T23:00", "unknown-zone", "03-31T20:00"),
    ),
    # a travel time that cannot be read is ignored
    (f"{START}\n{END}\nX-APPLE-TRAVEL-DURATION:soon", BUSY),
    (f"{START}\n{END}\nX-APPLE-TRAVEL-DURATION:", BUSY),
    (
        f"{START}\n{END}\nX-APPLE-TRAVEL-DURATION:P1800S",
        ["04-01T10:00/04-01T11:00 BUSY opaque busy 04-01T09:30/04-01T11:00"],
    ),
]


@pytest.mark.rule("R23", "R25")
@pytest.mark.parametrize(("lines", "rows"), READ + BOUNDED)
def test_a_broken_line_is_read_or_bounded(lines: str, rows: list[str]) -> None:
    expansion = expand(body(lines), YEAR, BERLIN)
    assert sorted(shown(expansion)) == sorted(rows)


@pytest.mark.parametrize("lines", [lines for lines, rows in BOUNDED if rows == []])
def test_what_cannot_be_placed_is_told(lines: str) -> None:
    expansion = expand(body(lines), YEAR, BERLIN)
    assert [problem.code for problem in expansion.problems] == ["bad-start"]


PERIODS = "BEGIN:VCALENDAR\r\nBEGIN:VFREEBUSY\r\nUID:a\r\n{}\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        ("FREEBUSY:20260401T100000Z/PT1H,rubbish", ["04-01T10:00/04-01T11:00 BUSY freebusy"]),
        ("FREEBUSY:20260401T100000Z/P3600S,", ["04-01T10:00/04-01T11:00 BUSY freebusy"]),
        ("FREEBUSY:20260401T100000Z/20260401T110000", ["04-01T10:00/04-01T11:00 BUSY freebusy"]),
        ("FREEBUSY:20260401T100000Z/soon", unknown("04-02T10:00", "bad-freebusy")),
        ("FREEBUSY:20260401T100000Z", unknown("04-02T10:00", "bad-freebusy")),
        ("FREEBUSY:20260401T100000Z/20260401T090000Z", unknown("04-02T10:00", "end-before-start")),
        ("FREEBUSY;FBTYPE=FREE:20260401T100000Z/soon", []),
        ("FREEBUSY:rubbish", []),
        ("FREEBUSY:", []),
        (
            "DTSTART:20260401T000000Z\r\nDTEND:20260403T000000Z\r\nFREEBUSY:rubbish",
            unknown("04-03T00:00", "bad-freebusy", "04-01T00:00"),
        ),
    ],
)
def test_a_broken_period_of_free_busy_is_bounded(lines: str, rows: list[str]) -> None:
    assert shown(expand(PERIODS.format(lines).encode(), YEAR, BERLIN)) == rows


@pytest.mark.rule("R25")
def test_an_override_with_a_broken_start_stays_near_its_instance() -> None:
    master = f"{START}\n{END}\nRRULE:FREQ=DAILY;COUNT=2"
    change = "RECURRENCE-ID:20260402T100000Z\nDTSTART:soon\nDURATION:PT1H"
    found = expand(body(f"{master}\nEND:VEVENT\nBEGIN:VEVENT\nUID:a\n{change}"), YEAR, BERLIN)
    assert sorted(shown(found)) == [
        *BUSY,
        *unknown("04-03T00:00", "bad-start", "04-02T00:00"),
    ]


# -- in general -----------------------------------------------------------------------------------

LINES = {
    "DTSTART": "DTSTART;TZID=Europe/Berlin:20260601T140000",
    "DTEND": "DTEND;TZID=Europe/Berlin:20260601T150000",
    "RRULE": "RRULE:FREQ=WEEKLY;COUNT=4",
    "RDATE": "RDATE;TZID=Europe/Berlin:20260617T090000",
    "EXDATE": "EXDATE;TZID=Europe/Berlin:20260608T140000",
    "X-APPLE-TRAVEL-DURATION": "X-APPLE-TRAVEL-DURATION:PT20M",
}
JUNK = st.sampled_from(
    [
        "",
        "x",
        "soon",
        "20260601",
        "20260601T999999",
        "20260999",
        "P1X",
        "FREQ=OFTEN",
        "-",
        "/",
        ",",
        ":",
        "\\",
    ]
)


def covered(lines: list[str]) -> list[Interval]:
    rows = expand(body("\n".join(lines)), YEAR, BERLIN).instances
    return merge([(row.busy_start, row.busy_end) for row in rows if row.fbtype is not FBType.FREE])


@pytest.mark.rule("R25")
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(LINES)), JUNK, st.booleans())
def test_one_broken_line_frees_nothing_that_the_others_prove(
    name: str, junk: str, keeps_parameters: bool
) -> None:
    """The blocked time is at least what holds without the line, and no more than its bound."""
    head = LINES[name].partition(":")[0] if keeps_parameters else name
    broken = [line if key != name else f"{head}:{junk}" for key, line in LINES.items()]
    without = [line for key, line in LINES.items() if key != name]
    found = covered(broken)
    if name not in ("DTSTART", "EXDATE"):  # (they may move or lift what the others say)
        assert subtract(covered(without), found) == []
    if name == "EXDATE" and junk != "20260601":  # a DATE excludes that day
        assert subtract(covered(list(LINES.values())), found) == []
    first = int(datetime(2026, 6, 1, 10, tzinfo=UTC).timestamp())  # with the way there
    last = YEAR[1] if name in ("RRULE", "RDATE") else first + 28 * DAY
    assert subtract(found, [(first - DAY, last)]) == []


@pytest.mark.rule("R25")
@pytest.mark.parametrize("text", ["", "<!doctype html><p>Sign in", "\0" * 40, "BEGIN:VEVENT"])
def test_a_body_without_a_readable_time_blocks_nothing_and_is_told(text: str) -> None:
    expansion = expand(text.encode(), YEAR, BERLIN)
    assert coalesce_rows([(r.start, r.end, r.fbtype) for r in expansion.instances], YEAR) == []
    assert expansion.problems
