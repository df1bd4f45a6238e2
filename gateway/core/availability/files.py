"""The engine over calendar files, alone: what ``gateway busy`` prints."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway.core.availability.merge import STATUS_OF, BusyRow, coalesce_rows
from gateway.core.ical.lines import unfold
from gateway.core.ical.reader import RawCalendar, read_calendar
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import expand_components
from gateway.core.recurrence.model import AllDay, BusyRules, Instance


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A problem and the file it was found in."""

    file: str
    code: str
    detail: str


def busy_of_files(
    files: Iterable[tuple[str, bytes]],
    window: Interval,
    zone: ZoneInfo,
    *,
    owner_addresses: frozenset[str] = frozenset(),
    all_day: AllDay = "as-marked",
) -> dict[str, Any]:
    """Return merged busy periods of whole files, each period with its reasons (docs/api.md).

    ``files`` are (name, bytes); a file may hold any number of UIDs, each is an object of its own
    with its own bounds. ``window`` is half-open UTC epoch seconds; times in the answer are RFC 3339
    in ``zone``.
    """
    rules = BusyRules(zone, owner_addresses, all_day=all_day)
    rows: list[Instance] = []
    problems: list[FileProblem] = []
    for name, body in files:
        for part in split_by_uid(read_calendar(unfold(body))):
            expansion = expand_components(part, window, rules)
            rows += expansion.instances
            problems += [FileProblem(name, p.code, p.detail) for p in expansion.problems]
    periods = coalesce_rows(((r.busy_start, r.busy_end, r.fbtype) for r in rows), window)
    return {
        "start": _rfc3339(window[0], zone),
        "end": _rfc3339(window[1], zone),
        "time_zone": zone.key,
        "busy": [
            {
                "start": _rfc3339(period[0], zone),
                "end": _rfc3339(period[1], zone),
                "status": period[2],
                "reasons": reasons,
            }
            for period, reasons in zip(periods, _reasons(periods, rows), strict=True)
        ],
        "problems": [
            {"file": p.file, "code": p.code, "detail": p.detail} for p in dict.fromkeys(problems)
        ],
    }


def split_by_uid(calendar: RawCalendar) -> list[RawCalendar]:
    """One calendar per kind and UID, in file order; what has no UID stays alone."""
    if not calendar.components:
        return [calendar]
    groups: dict[tuple[str, object], RawCalendar] = {}
    for component in calendar.components:
        key = (component.name, component.text("UID") or id(component))
        if key not in groups:
            groups[key] = RawCalendar(zone_blocks=calendar.zone_blocks, has_calendar=True)
        groups[key].components.append(component)
    return list(groups.values())


def _reasons(periods: list[BusyRow], rows: list[Instance]) -> list[list[str]]:
    """For each period the reasons of the rows of its status that it shows, sorted."""
    ordered = sorted(
        (row.busy_start, row.busy_end, STATUS_OF[row.fbtype], row.reason)
        for row in rows
        if row.fbtype in STATUS_OF and row.busy_start < row.busy_end
    )
    result: list[list[str]] = []
    active: list[tuple[int, int, str, str]] = []
    position = 0
    for start, end, status in periods:
        while position < len(ordered) and ordered[position][0] < end:
            active.append(ordered[position])
            position += 1
        active = [row for row in active if row[1] > start]
        result.append(sorted({row[3] for row in active if row[0] < end and row[2] == status}))
    return result


def _rfc3339(instant: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(instant, UTC).astimezone(zone).isoformat()
