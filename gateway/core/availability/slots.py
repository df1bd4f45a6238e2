"""Working hours, buffers and notice, minus busy time: the slots on offer. Pure and linear.

Working hours are wall time in one zone. A *span* is one entry of them on one date; it begins at
the first instant at which a clock there shows its start or any later time, and ends in the same
way. So when the clocks change:

* a time that is skipped stands for the moment of the change: 02:30–04:00 begins at 03:00 summer
  time, 00:00–02:30 ends there, and 02:00–03:00 vanishes on that day;
* a time that happens twice is its first occurrence: 00:00–02:30 ends when it is 02:30 for the
  first time, and 00:00–04:00 is five hours long.

Slots are stepped in real seconds from the start of each span, so the grid depends on nothing but
the rules: neither on the asked window nor on what is busy. Where spans touch or overlap (a night
shift and the next day), a slot may reach from one into the other. Times are UTC epoch seconds,
intervals half-open.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from gateway.core.intervals import Interval, complement, merge, subtract

MINUTES_A_DAY = 1440

Hours = tuple[tuple[int, int], ...]
"""Spans of one date in minutes after its midnight; an end beyond 1440 lies on the next date."""

ALL_DAY: Hours = ((0, MINUTES_A_DAY),)


@dataclass(frozen=True, slots=True)
class SlotRules:
    """What makes a time bookable.

    ``weekdays`` holds the hours of Monday to Sunday, None is any time; ``overrides`` replace the
    hours of single dates. A date without hours is a day off from midnight to midnight: it also ends
    the shift of the evening before. Spans of one date are sorted and do not overlap; none is longer
    than a day. ``horizon_days`` counts the local dates after today that can be booked, None is no
    limit. The limits are appointments per local date and per week (Monday to Sunday).
    """

    zone: ZoneInfo
    duration_s: int
    interval_s: int
    buffer_before_s: int = 0
    buffer_after_s: int = 0
    minimum_notice_s: int = 0
    horizon_days: int | None = None
    weekdays: tuple[Hours, ...] | None = None
    overrides: tuple[tuple[date, Hours], ...] = ()
    limit_per_day: int | None = None
    limit_per_week: int | None = None


# --- clocks ---


def first_instant(wall: datetime, zone: ZoneInfo) -> int:
    """Return the first instant at which a clock in ``zone`` shows ``wall`` (naive) or later."""
    local = wall.replace(tzinfo=zone)
    before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert before is not None
    assert after is not None
    if after <= before:
        return int(local.timestamp())
    return _change(int((local - after).replace(tzinfo=UTC).timestamp()), zone, after - before)


def _change(low: int, zone: ZoneInfo, gap: timedelta) -> int:
    """Return the clock change within ``gap`` after ``low`` (exclusive), by bisection."""
    high = low + int(gap.total_seconds())
    settled = datetime.fromtimestamp(high, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == settled:
            high = middle
        else:
            low = middle
    return high


def local_date(instant: int, zone: ZoneInfo) -> date:
    """Return what a calendar in ``zone`` shows at an instant."""
    return datetime.fromtimestamp(instant, zone).date()


def midnight(day: date, zone: ZoneInfo) -> int:
    """Return the first instant of a local date."""
    return first_instant(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001


# --- what the rules alone allow ---


def bookable_window(rules: SlotRules, window: Interval, now: int) -> Interval:
    """Cut ``window`` to what notice and horizon leave of it; it may be empty (end <= start)."""
    low, high = max(window[0], now + rules.minimum_notice_s), window[1]
    if rules.horizon_days is not None:
        last = local_date(now, rules.zone) + timedelta(days=rules.horizon_days)
        high = min(high, midnight(last + timedelta(days=1), rules.zone))
    return (low, high)


def working_spans(rules: SlotRules, window: Interval) -> tuple[Interval, ...]:
    """Return the working spans that touch ``window``, sorted, neither clipped nor merged."""
    first = local_date(window[0], rules.zone) - timedelta(days=2)
    last = local_date(window[1], rules.zone)
    spans = _spans(rules.zone, rules.weekdays, rules.overrides, first, last)
    return tuple(span for span in spans if span[1] > window[0] and span[0] < window[1])


@lru_cache(maxsize=256)
def _spans(
    zone: ZoneInfo,
    weekdays: tuple[Hours, ...] | None,
    overrides: tuple[tuple[date, Hours], ...],
    first: date,
    last: date,
) -> tuple[Interval, ...]:
    replaced: Mapping[date, Hours] = dict(overrides)
    off = merge(
        (midnight(day, zone), midnight(day + timedelta(days=1), zone))
        for day, hours in overrides
        if not hours and first <= day <= last + timedelta(days=1)
    )
    found: list[Interval] = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        usual = ALL_DAY if weekdays is None else weekdays[day.weekday()]
        start_of_day = datetime(day.year, day.month, day.day)  # noqa: DTZ001  (a clock face)
        for begin, end in replaced.get(day, usual):
            since = first_instant(start_of_day + timedelta(minutes=begin), zone)
            until = first_instant(start_of_day + timedelta(minutes=end), zone)
            if since < until:
                found += subtract([(since, until)], off) if off else [(since, until)]
    return tuple(sorted(found))


def slot_starts(rules: SlotRules, window: Interval) -> list[int]:
    """Return when slots may start that lie wholly in ``window`` and in working time, sorted."""
    low, high = window
    if low >= high:
        return []
    spans = working_spans(rules, window)
    starts: set[int] = set()
    for begin, end in spans:
        steps = -(-max(0, low - begin) // rules.interval_s)
        first = begin + steps * rules.interval_s
        starts.update(range(first, min(end, high - rules.duration_s + 1), rules.interval_s))
    fits = [(begin, end - rules.duration_s + 1) for begin, end in merge(spans)]
    return inside(sorted(starts), fits)


def inside(starts: Sequence[int], intervals: Iterable[Interval]) -> list[int]:
    """Return those of the sorted ``starts`` that lie in a member of a merged list."""
    kept: list[int] = []
    at = 0
    for begin, end in intervals:
        at = bisect_left(starts, begin, at)
        until = bisect_left(starts, end, at)
        kept += starts[at:until]
        at = until
    return kept


# --- minus what is taken ---


def blocked_starts(rules: SlotRules, busy: Iterable[tuple[int, int]]) -> list[Interval]:
    """Return the starts at which a slot with its buffers would touch busy time, merged.

    With buffers a slot takes ``[start - before, start + duration + after)``.
    """
    ahead = rules.duration_s + rules.buffer_after_s - 1
    behind = rules.buffer_before_s
    return merge((begin - ahead, end + behind) for begin, end in busy if begin < end)


def full_days(rules: SlotRules, booked: Iterable[int]) -> list[Interval]:
    """Return the local dates and weeks in which a limit is reached, merged.

    ``booked`` are the starts of what counts against the limits.
    """
    per_day: dict[date, int] = {}
    per_week: dict[date, int] = {}
    for start in booked:
        day = local_date(start, rules.zone)
        monday = day - timedelta(days=day.weekday())
        per_day[day] = per_day.get(day, 0) + 1
        per_week[monday] = per_week.get(monday, 0) + 1
    full = _reached(per_day, rules.limit_per_day, 1, rules.zone)
    return merge(full + _reached(per_week, rules.limit_per_week, 7, rules.zone))


def _reached(
    counted: Mapping[date, int], limit: int | None, days: int, zone: ZoneInfo
) -> list[Interval]:
    if limit is None:
        return []
    return [
        (midnight(day, zone), midnight(day + timedelta(days=days), zone))
        for day, count in counted.items()
        if count >= limit
    ]


def open_starts(
    rules: SlotRules,
    starts: Sequence[int],
    busy: Iterable[tuple[int, int]],
    booked: Iterable[int] = (),
) -> list[int]:
    """Return those of the sorted ``starts`` at which one person is free and below the limits.

    ``busy`` must reach over all slots with their buffers.
    """
    if not starts:
        return []
    taken = merge([*blocked_starts(rules, busy), *full_days(rules, booked)])
    return inside(starts, complement(taken, (starts[0], starts[-1] + 1)))


def find_slots(
    rules: SlotRules,
    busy: Iterable[tuple[int, int]],
    window: Interval,
    *,
    now: int,
    booked: Iterable[int] = (),
) -> list[Interval]:
    """Return the slots of one person in ``window``: rules, minus notice and horizon, minus busy."""
    starts = slot_starts(rules, bookable_window(rules, window, now))
    return [(at, at + rules.duration_s) for at in open_starts(rules, starts, busy, booked)]
