"""Rows of busy time become the merged periods every face answers with (R22, R25).

The one rule of strength, used everywhere: busy, unavailable, unknown, tentative; where two overlap
the stronger one stands. FREE never shows.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from gateway.core.intervals import Interval, merge, subtract
from gateway.core.status import FBType

BusyStatus = Literal["busy", "unavailable", "unknown", "tentative"]
BusyRow = tuple[int, int, BusyStatus]

STRENGTH: tuple[BusyStatus, ...] = ("busy", "unavailable", "unknown", "tentative")
"""Strongest first."""

STATUS_OF: dict[str, BusyStatus] = {
    FBType.BUSY: "busy",
    FBType.UNAVAILABLE: "unavailable",
    FBType.UNKNOWN: "unknown",
    FBType.TENTATIVE: "tentative",
}


def layer(spans: Mapping[BusyStatus, Iterable[Interval]]) -> list[BusyRow]:
    """Let each status show only where no stronger one does; sorted by start, without overlaps."""
    covered: list[Interval] = []
    result: list[BusyRow] = []
    for status in STRENGTH:
        merged = merge(spans.get(status, ()))
        if not merged:
            continue
        visible = subtract(merged, covered) if covered else merged
        result.extend((start, end, status) for start, end in visible)
        covered = merge(covered + merged) if covered else merged
    result.sort()
    return result


def coalesce_rows(rows: Iterable[tuple[int, int, str]], window: Interval) -> list[BusyRow]:
    """Merge rows ``(start, end, FBTYPE)`` in any order, clipped to ``window``."""
    low, high = window
    spans: dict[BusyStatus, list[Interval]] = {status: [] for status in STRENGTH}
    for start, end, fbtype in rows:
        status = STATUS_OF.get(fbtype)
        if status is not None and start < high and end > low and start < end:
            spans[status].append((max(start, low), min(end, high)))
    return layer(spans)


def combine(answers: Iterable[Iterable[BusyRow]]) -> list[BusyRow]:
    """Merge the rows of several answers about the same window into those of one."""
    spans: dict[BusyStatus, list[Interval]] = {status: [] for status in STRENGTH}
    for rows in answers:
        for start, end, status in rows:
            spans[status].append((start, end))
    return layer(spans)
