"""Rows of busy time become the merged periods every face answers with (R22, R25).

The one rule of strength, used everywhere: busy, unavailable, unknown, tentative; where two overlap
the stronger one stands. FREE never shows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from gateway.core.ical.lines import fold
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

_FBTYPE_OF: dict[BusyStatus, str] = {
    "busy": "BUSY",
    "unavailable": "BUSY-UNAVAILABLE",
    # RFC 5545 3.2.9: an FBTYPE a client does not know must be treated as BUSY, so say so ourselves.
    "unknown": "BUSY",
    "tentative": "BUSY-TENTATIVE",
}


@dataclass(frozen=True, slots=True)
class BusyPeriod:
    """One merged period; ``start`` and ``end`` are UTC epoch seconds, half-open."""

    start: int
    end: int
    status: BusyStatus


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


def render_vfreebusy(
    periods: Iterable[BusyPeriod],
    window: Interval,
    *,
    uid: str,
    stamp: int,
    organizer: str | None = None,
    attendee: str | None = None,
) -> bytes:
    """One VCALENDAR with exactly one VFREEBUSY (RFC 5545 3.6.4, RFC 4791 7.10, R22).

    Periods are UTC ``start/end`` pairs, merged per FBTYPE, the FBTYPE always written; unknown time
    is BUSY here because iCalendar has no word for it. ``stamp`` is the DTSTAMP in epoch seconds,
    ``organizer`` and ``attendee`` are calendar addresses (with ``mailto:``) or None; with an
    attendee it is the answer to a scheduling request (RFC 5546 3.3.3).
    """
    by_type: dict[str, list[Interval]] = {}
    for period in periods:
        by_type.setdefault(_FBTYPE_OF[period.status], []).append((period.start, period.end))
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//icloud-caldav-gateway//EN",
        *(["METHOD:REPLY"] if attendee else []),
        "BEGIN:VFREEBUSY",
        f"UID:{uid}",
        f"DTSTAMP:{format_utc(stamp)}",
        f"DTSTART:{format_utc(window[0])}",
        f"DTEND:{format_utc(window[1])}",
    ]
    if organizer:
        lines.append(f"ORGANIZER:{organizer}")
    if attendee:
        lines.append(f"ATTENDEE:{attendee}")
    for fbtype in ("BUSY", "BUSY-UNAVAILABLE", "BUSY-TENTATIVE"):
        lines.extend(
            f"FREEBUSY;FBTYPE={fbtype}:{format_utc(start)}/{format_utc(end)}"
            for start, end in merge(by_type.get(fbtype, ()))
        )
    lines += ["END:VFREEBUSY", "END:VCALENDAR"]
    return b"".join(fold(line) for line in lines)


def format_utc(epoch: int) -> str:
    """Epoch seconds as an iCalendar UTC DATE-TIME, ``20261130T080000Z`` (RFC 5545 3.3.5)."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%dT%H%M%SZ")
