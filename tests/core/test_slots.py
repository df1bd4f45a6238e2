"""Slots against a minute-by-minute oracle, and each clock change by hand (R24)."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.availability.slots import (
    ALL_DAY,
    SlotRules,
    bookable_window,
    find_slots,
    first_instant,
    full_days,
    local_date,
    midnight,
    slot_starts,
    working_spans,
)

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE, HOUR, DAY = 60, 3_600, 86_400
NINE_TO_FIVE = ((9 * 60, 17 * 60),)
OFFICE = (NINE_TO_FIVE,) * 5 + ((),) * 2


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> int:
    """The instant of a wall time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp())


def rules(zone: ZoneInfo = BERLIN, minutes: int = 30, **changes) -> SlotRules:
    """Rules in minutes."""
    interval = changes.pop("interval", minutes)
    return SlotRules(zone, minutes * MINUTE, interval * MINUTE, **changes)


def shown(slots: list[tuple[int, int]], zone: ZoneInfo = BERLIN) -> list[str]:
    """The slots as wall times with their offsets."""
    return [
        f"{datetime.fromtimestamp(a, zone):%d %H:%M%z}–{datetime.fromtimestamp(b, zone):%H:%M}"
        for a, b in slots
    ]


def hours(*spans: str) -> tuple[tuple[int, int], ...]:
    """Spans like ``09:00-17:00``; an end that is not later lies on the next day."""
    found = []
    for span in spans:
        start, end = (int(part[:2]) * 60 + int(part[3:]) for part in span.split("-"))
        found.append((start, end if end > start else end + 1440))
    return tuple(found)


# --- the plain case ---


def test_a_working_day_minus_a_meeting():
    busy = [(at("2026-11-02 10:15"), at("2026-11-02 15:30"))]
    window = (at("2026-11-02 00:00"), at("2026-11-03 00:00"))
    found = find_slots(rules(weekdays=OFFICE), busy, window, now=0)
    assert shown(found) == [
        "02 09:00+0100–09:30",
        "02 09:30+0100–10:00",
        "02 15:30+0100–16:00",
        "02 16:00+0100–16:30",
        "02 16:30+0100–17:00",
    ]


@pytest.mark.rule("R24")
def test_slots_are_half_open_on_both_sides():
    ten = at("2026-11-02 10:00")
    window = (ten, ten + HOUR)
    assert find_slots(rules(), [(ten - HOUR, ten), (ten + HOUR, ten + DAY)], window, now=0) == [
        (ten, ten + 1800),
        (ten + 1800, ten + HOUR),
    ]
    assert find_slots(rules(), [(ten + 1799, ten + 1801)], window, now=0) == []


def test_a_slot_lies_wholly_in_the_window_and_the_grid_does_not_move_with_it():
    nine = at("2026-11-02 09:00")
    window = (nine + 60, nine + 2 * HOUR - 60)
    found = find_slots(rules(weekdays=OFFICE), [], window, now=0)
    assert shown(found) == ["02 09:30+0100–10:00", "02 10:00+0100–10:30"]


def test_buffers_keep_their_distance_and_may_lie_outside_working_hours():
    made = rules(weekdays=OFFICE, buffer_before_s=600, buffer_after_s=1200)
    window = (at("2026-11-02 08:00"), at("2026-11-02 11:00"))
    noon = at("2026-11-02 12:00")
    for busy, first in (
        ((at("2026-11-02 08:00"), at("2026-11-02 08:50")), "02 09:00+0100–09:30"),
        ((at("2026-11-02 08:00"), at("2026-11-02 08:51")), "02 09:30+0100–10:00"),
    ):
        assert shown(find_slots(made, [busy], window, now=0))[0] == first
    for begin, last in ((noon - 2400, "02 10:30+0100–11:00"), (noon - 2401, "02 10:00+0100–10:30")):
        assert shown(find_slots(made, [(begin, noon)], window, now=0))[-1] == last


def test_notice_and_horizon():
    now = at("2026-11-02 09:10")
    window = (0, now + 30 * DAY)
    made = rules(minutes=60, weekdays=OFFICE, minimum_notice_s=50 * MINUTE, horizon_days=1)
    found = shown(find_slots(made, [], window, now=now))
    assert (found[0], found[-1], len(found)) == ("02 10:00+0100–11:00", "03 16:00+0100–17:00", 15)
    assert bookable_window(rules(horizon_days=0), window, now) == (now, midnight_of(2026, 11, 3))


def midnight_of(year: int, month: int, day: int) -> int:
    return midnight(date(year, month, day), BERLIN)


def test_the_horizon_ends_at_a_local_midnight_however_long_the_days_are():
    now = at("2026-10-24 12:00")
    assert bookable_window(rules(horizon_days=1), (now, now + 9 * DAY), now)[1] == at(
        "2026-10-26 00:00"
    )


def test_an_override_replaces_the_hours_of_its_date_only():
    made = rules(
        minutes=60,
        weekdays=OFFICE,
        overrides=(
            (date(2026, 11, 2), ()),
            (date(2026, 11, 3), hours("20:00-21:00")),
            (date(2026, 11, 8), hours("10:00-11:00")),
        ),
    )
    found = shown(find_slots(made, [], (at("2026-11-02 00:00"), at("2026-11-09 00:00")), now=0))
    assert [slot for slot in found if slot[:2] in ("02", "03", "07", "08")] == [
        "03 20:00+0100–21:00",
        "08 10:00+0100–11:00",
    ]
    assert len(found) == 2 + 3 * 8


def test_a_night_shift_belongs_to_the_date_it_begins_on():
    made = rules(minutes=60, weekdays=((),) * 4 + (hours("22:00-02:00"),) + ((),) * 2)
    found = shown(find_slots(made, [], (at("2026-11-02 00:00"), at("2026-11-09 00:00")), now=0))
    assert found == [
        "06 22:00+0100–23:00",
        "06 23:00+0100–00:00",
        "07 00:00+0100–01:00",
        "07 01:00+0100–02:00",
    ]


def test_spans_that_touch_are_one_working_time_on_two_grids():
    made = rules(minutes=60, interval=40, weekdays=(hours("09:00-11:00", "11:00-12:30"),) * 7)
    found = shown(find_slots(made, [], (at("2026-11-02 00:00"), at("2026-11-03 00:00")), now=0))
    assert found == [
        "02 09:00+0100–10:00",
        "02 09:40+0100–10:40",
        "02 10:20+0100–11:20",
        "02 11:00+0100–12:00",
    ]


@pytest.mark.parametrize(
    ("overrides", "spans"),
    [
        ({}, ["04 22:00-05 06:00", "05 22:00-06 06:00", "06 22:00-07 06:00"]),
        ({5: ()}, ["04 22:00-05 00:00", "06 22:00-07 06:00"]),
        ({5: (), 6: ()}, ["04 22:00-05 00:00"]),
        ({6: ()}, ["04 22:00-05 06:00", "05 22:00-06 00:00"]),
        # hours of its own: they replace those that begin on the date, last night's shift goes on
        ({5: ((600, 720),)}, ["04 22:00-05 06:00", "05 10:00-05 12:00", "06 22:00-07 06:00"]),
    ],
)
def test_a_day_off_ends_the_shift_of_the_night_before(overrides, spans):
    made = rules(
        minutes=60,
        weekdays=(((22 * 60, 30 * 60),),) * 7,
        overrides=tuple((date(2026, 11, day), hours) for day, hours in overrides.items()),
    )
    window = (midnight_of(2026, 11, 4) + 12 * HOUR, midnight_of(2026, 11, 7) + 12 * HOUR)

    def shown(instant: int) -> str:
        return f"{datetime.fromtimestamp(instant, BERLIN):%d %H:%M}"

    assert [f"{shown(a)}-{shown(b)}" for a, b in working_spans(made, window)] == spans
    offered = slot_starts(made, window)
    assert all(
        any(a <= at and at + HOUR <= b for a, b in working_spans(made, window)) for at in offered
    )


def test_any_time_is_a_grid_from_each_midnight_without_a_seam():
    found = find_slots(
        rules(minutes=60, interval=30), [], (at("2026-11-02 00:00"), at("2026-11-04 00:00")), now=0
    )
    assert len(found) == 95
    assert "02 23:30+0100–00:30" in shown(found)


def test_limits_close_the_day_or_the_week():
    made = rules(minutes=60, weekdays=OFFICE, limit_per_day=2, limit_per_week=3)
    monday, tuesday = at("2026-11-02 09:00"), at("2026-11-03 09:00")
    week = (at("2026-11-02 00:00"), at("2026-11-16 00:00"))

    def days(booked: list[int]) -> list[int]:
        found = find_slots(made, [], week, now=0, booked=booked)
        return sorted({datetime.fromtimestamp(start, BERLIN).day for start, _ in found})

    assert days([monday]) == [2, 3, 4, 5, 6, 9, 10, 11, 12, 13]
    assert days([monday, monday + HOUR]) == [3, 4, 5, 6, 9, 10, 11, 12, 13]
    assert days([monday, monday + HOUR, tuesday]) == [9, 10, 11, 12, 13]
    assert full_days(made, [monday, monday + HOUR]) == [
        (at("2026-11-02 00:00"), at("2026-11-03 00:00"))
    ]


# --- when the clocks change ---


@pytest.mark.rule("R24")
@pytest.mark.parametrize(
    ("day", "span", "expected"),
    [
        # 29 March 2026: 02:00 CET is 03:00 CEST.
        ("2026-03-29", "02:30-04:00", ["29 03:00+0200–03:30", "29 03:30+0200–04:00"]),
        ("2026-03-29", "01:00-02:30", ["29 01:00+0100–01:30", "29 01:30+0100–03:00"]),
        ("2026-03-29", "02:00-03:00", []),
        ("2026-03-29", "01:30-03:30", ["29 01:30+0100–03:00", "29 03:00+0200–03:30"]),
        # 25 October 2026: 03:00 CEST is 02:00 CET.
        ("2026-10-25", "01:30-02:30", ["25 01:30+0200–02:00", "25 02:00+0200–02:30"]),
        (
            "2026-10-25",
            "02:30-03:30",
            [
                "25 02:30+0200–02:00",
                "25 02:00+0100–02:30",
                "25 02:30+0100–03:00",
                "25 03:00+0100–03:30",
            ],
        ),
    ],
)
def test_working_hours_at_a_clock_change(day, span, expected):
    made = rules(weekdays=(hours(span),) * 7)
    window = (at(f"{day} 00:00"), at(f"{day} 23:00"))
    assert shown(find_slots(made, [], window, now=0)) == expected


@pytest.mark.rule("R24")
@pytest.mark.parametrize(("day", "length"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_night_shift_across_a_change_is_as_long_as_the_night(day, length):
    before = date.fromisoformat(day) - timedelta(days=1)
    made = rules(minutes=60, weekdays=((),) * 5 + (hours("12:00-12:00"),) + ((),))
    window = (midnight(before, BERLIN), midnight(before, BERLIN) + 3 * DAY)
    found = find_slots(made, [], window, now=0)
    assert len(found) == length
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))


def test_a_gap_is_found_to_the_second_wherever_the_clock_points_into_it():
    change = at("2026-03-29 03:00")
    two = datetime.fromisoformat("2026-03-29 02:00")
    for minute, moment in ((-1, change - 60), (0, change), (1, change), (59, change)):
        assert first_instant(two + timedelta(minutes=minute), BERLIN) == moment


def test_days_that_begin_late_twice_or_never():
    santiago, havana, apia = (
        ZoneInfo(name) for name in ("America/Santiago", "America/Havana", "Pacific/Apia")
    )
    # 6 September 2026 begins at 01:00 in Santiago.
    assert midnight(date(2026, 9, 6), santiago) == at("2026-09-06 01:00", santiago)
    # 1 November 2026 in Havana: 00:00 comes twice, the day begins at the first.
    assert midnight(date(2026, 11, 1), havana) == at("2026-11-01 00:00", havana)
    assert midnight(date(2026, 11, 2), havana) - midnight(date(2026, 11, 1), havana) == 25 * HOUR
    # Samoa had no 30 December 2011.
    made = rules(zone=apia, weekdays=(NINE_TO_FIVE,) * 7)
    window = (at("2011-12-29 00:00", apia), at("2012-01-01 00:00", apia))
    assert [local_date(start, apia).day for start, _ in working_spans(made, window)] == [29, 31]


def test_lord_howe_moves_by_half_an_hour():
    howe = ZoneInfo("Australia/Lord_Howe")
    # 4 October 2026: 02:00 is 02:30.
    made = rules(zone=howe, weekdays=(hours("01:30-03:00"),) * 7)
    window = (at("2026-10-04 00:00", howe), at("2026-10-04 12:00", howe))
    assert shown(find_slots(made, [], window, now=0), howe) == [
        "04 01:30+1030–02:30",
        "04 02:30+1100–03:00",
    ]


# --- the oracle ---


def oracle(made: SlotRules, busy, window, now) -> list[tuple[int, int]]:
    """Look at a clock every minute; times of the rules and of busy are whole minutes."""
    begin, until = window[0] - 4 * DAY, window[1] + 4 * DAY
    clock = {
        t: datetime.fromtimestamp(t, made.zone).replace(tzinfo=None)
        for t in range(begin, until, MINUTE)
    }
    working: set[int] = set()
    grid: set[int] = set()
    days = sorted({wall.date() for wall in clock.values()})[1:-1]
    for day in days:
        usual = ALL_DAY if made.weekdays is None else made.weekdays[day.weekday()]
        base = datetime.fromisoformat(day.isoformat())
        for start, end in dict(made.overrides).get(day, usual):
            opens, closes = base + timedelta(minutes=start), base + timedelta(minutes=end)
            reached = [t for t, wall in clock.items() if wall >= opens]
            passed = next((t for t, wall in clock.items() if wall >= closes), until)
            span = [t for t in reached[:1] for t in range(t, passed, MINUTE)]
            working.update(span)
            grid.update(t for t in span if (t - span[0]) % made.interval_s == 0)
    off = {day for day, spans in made.overrides if not spans}
    free = {t for t, wall in clock.items() if wall.date() in off}
    working, grid = working - free, grid - free
    taken = {t for a, b in busy for t in range(a, b, MINUTE)}
    found = []
    for start in sorted(grid):
        end = start + made.duration_s
        if start < max(window[0], now + made.minimum_notice_s) or end > window[1]:
            continue
        apart = range(start - made.buffer_before_s, end + made.buffer_after_s, MINUTE)
        if working.issuperset(range(start, end, MINUTE)) and taken.isdisjoint(apart):
            found.append((start, end))
    return found


CHANGES = [
    (BERLIN, at("2026-03-29 00:00")),
    (BERLIN, at("2026-10-25 00:00")),
    (BERLIN, at("2026-11-02 00:00")),
    (ZoneInfo("America/New_York"), at("2026-11-01 00:00", ZoneInfo("America/New_York"))),
    (ZoneInfo("America/Santiago"), at("2026-09-05 12:00", ZoneInfo("America/Santiago"))),
    (ZoneInfo("Australia/Lord_Howe"), at("2026-10-04 00:00", ZoneInfo("Australia/Lord_Howe"))),
    (ZoneInfo("Asia/Kathmandu"), at("2026-11-02 00:00", ZoneInfo("Asia/Kathmandu"))),
]


@st.composite
def day_hours(draw) -> tuple[tuple[int, int], ...]:
    """Up to three spans of a date, the last perhaps over midnight."""
    edges = sorted(draw(st.sets(st.integers(0, 95), min_size=0, max_size=6)))
    spans = [(a * 15, b * 15) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    if spans and draw(st.booleans()):
        start, _ = spans[-1]
        spans[-1] = (start, 1440 + draw(st.integers(0, start // 15)) * 15)
    return tuple(spans)


@st.composite
def cases(draw):
    zone, start = draw(st.sampled_from(CHANGES))
    weekdays = draw(st.none() | st.tuples(*[day_hours()] * 7))
    first = local_date(start, zone)
    extra = draw(st.dictionaries(st.integers(-1, 2), day_hours(), max_size=2))
    made = SlotRules(
        zone,
        duration_s=draw(st.integers(1, 150)) * MINUTE,
        interval_s=draw(st.sampled_from([5, 7, 15, 30, 45, 60, 100])) * MINUTE,
        buffer_before_s=draw(st.integers(0, 90)) * MINUTE,
        buffer_after_s=draw(st.integers(0, 90)) * MINUTE,
        minimum_notice_s=draw(st.integers(0, 600)) * MINUTE,
        weekdays=weekdays,
        overrides=tuple((first + timedelta(days=n), span) for n, span in extra.items()),
    )
    minute = st.integers(-600, 2 * 1440)
    spans = draw(st.lists(st.tuples(minute, st.integers(0, 300)), max_size=5))
    busy = [(start + a * MINUTE, start + (a + length) * MINUTE) for a, length in spans]
    low = draw(st.integers(-300, 600))
    window = (start + low * MINUTE, start + (low + draw(st.integers(1, 1600))) * MINUTE)
    return made, busy, window, start - draw(st.integers(0, 500)) * MINUTE


@pytest.mark.rule("R24")
@settings(max_examples=60, deadline=None)
@given(cases())
def test_slots_agree_with_a_clock_looked_at_every_minute(case):
    made, busy, window, now = case
    assert find_slots(made, busy, window, now=now) == oracle(made, busy, window, now)


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 700))
def test_the_slots_of_a_window_are_those_of_a_wider_one_that_lie_in_it(case, more):
    made, busy, window, now = case
    wider = (window[0] - more * MINUTE, window[1] + more * MINUTE)
    inner = [
        (a, b)
        for a, b in find_slots(made, busy, wider, now=now)
        if a >= window[0] and b <= window[1]
    ]
    assert find_slots(made, busy, window, now=now) == inner


def test_a_year_of_slots_is_quick_and_an_empty_window_is_empty():
    made = rules(minutes=15, weekdays=OFFICE)
    start = at("2026-01-01 00:00")
    assert len(slot_starts(made, (start, start + 365 * DAY))) == 261 * 32
    assert slot_starts(made, (start, start)) == slot_starts(made, (start, start - 1)) == []
    assert datetime.fromtimestamp(start, UTC).hour == 23
