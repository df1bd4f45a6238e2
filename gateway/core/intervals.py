"""Half-open UTC intervals: merge, subtract, intersect, clip.

An interval is ``(start, end)`` in whole UTC epoch seconds; ``end`` is exclusive, so two intervals
that touch do not overlap. Every function takes and returns plain lists of tuples and is one linear
sweep; a *merged* list is sorted, without overlaps, gaps of zero or empty members.
"""

from collections.abc import Iterable, Sequence

Interval = tuple[int, int]

DAY = 86_400


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Sort and join what overlaps or touches; empty and reversed intervals vanish."""
    result: list[Interval] = []
    last_start = last_end = 0
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if result and start <= last_end:
            if end > last_end:
                last_end = end
                result[-1] = (last_start, last_end)
        else:
            last_start, last_end = start, end
            result.append((start, end))
    return result


def subtract(intervals: Sequence[Interval], holes: Sequence[Interval]) -> list[Interval]:
    """Return what is in ``intervals`` and not in ``holes``; both merged, as the result is."""
    result: list[Interval] = []
    index, count = 0, len(holes)
    for start, end in intervals:
        while index < count and holes[index][1] <= start:
            index += 1
        position, cursor = index, start
        while position < count and holes[position][0] < end:
            hole_start, hole_end = holes[position]
            if hole_start > cursor:
                result.append((cursor, hole_start))
            cursor = max(cursor, hole_end)
            position += 1
        if cursor < end:
            result.append((cursor, end))
    return result


def intersect(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """Return what is in both; both must be merged, so is the answer."""
    result: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i][0], right[j][0])
        end = min(left[i][1], right[j][1])
        if start < end:
            result.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return result


def clip(intervals: Iterable[Interval], window: Interval) -> list[Interval]:
    """Cut every interval to ``window`` and drop what lies outside; order is kept."""
    low, high = window
    return [
        (start if start > low else low, end if end < high else high)
        for start, end in intervals
        if start < high and end > low and start < end
    ]


def complement(intervals: Sequence[Interval], window: Interval) -> list[Interval]:
    """Return the gaps that a merged list leaves in ``window``."""
    return subtract([window], intervals) if window[0] < window[1] else []


def overlaps(first: Interval, second: Interval) -> bool:
    """Whether two intervals share at least one second."""
    return first[0] < second[1] and second[0] < first[1]


def total(intervals: Iterable[Interval]) -> int:
    """Sum of the lengths in seconds (of a merged list: the time it covers)."""
    return sum(end - start for start, end in intervals if end > start)
