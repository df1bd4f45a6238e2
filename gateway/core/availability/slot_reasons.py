"""Why the rules of a schedule do not offer a time: the words that an explanation shows."""

from collections.abc import Iterable

from gateway.core.availability.slots import SlotRules, bookable_window, full_days, working_spans
from gateway.core.intervals import merge

FOREVER = (0, 2**40)


def missed_window(rules: SlotRules, start: int, now: int) -> list[str]:
    """Return ``minimum-notice`` and ``beyond-horizon`` where they forbid a slot at ``start``."""
    low, high = bookable_window(rules, FOREVER, now)
    found = []
    if start < low:
        found.append("minimum-notice")
    if start + rules.duration_s > high:
        found.append("beyond-horizon")
    return found


def missed_hours(rules: SlotRules, start: int) -> list[str]:
    """Return ``outside-working-hours`` or ``off-grid`` where a slot at ``start`` is."""
    end = start + rules.duration_s
    spans = working_spans(rules, (start - 2 * 86_400, end + 2 * 86_400))
    if not any(begin <= start and end <= until for begin, until in merge(spans)):
        return ["outside-working-hours"]
    steps = (begin for begin, until in spans if begin <= start < until)
    return [] if any((start - begin) % rules.interval_s == 0 for begin in steps) else ["off-grid"]


def reached_limits(rules: SlotRules, start: int, booked: Iterable[int]) -> list[str]:
    """Return ``limit-reached`` when the day or week of ``start`` is full."""
    full = full_days(rules, booked)
    return ["limit-reached"] if any(begin <= start < end for begin, end in full) else []
