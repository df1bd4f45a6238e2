"""calendar-query: exactly the members that match, without parsing what need not be parsed.

Inside the window over which instances are stored a time range is one indexed read. Beyond it the
first start and last end of an object decide; a series that lives there too is expanded alone.
"""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from gateway.core.intervals import Interval, overlaps
from gateway.core.recurrence.expand import expand
from gateway.core.recurrence.model import BusyRules
from gateway.store.access.principals import get_principal
from gateway.store.engine import Session
from gateway.store.objects.collections import Collection
from gateway.store.objects.objects import StoredObject, find_objects, list_objects
from gateway.store.objects.time_ranges import Span, names_in_range, spans_beyond
from storage_plugin.http.effort import Effort
from storage_plugin.http.state import current_state
from storage_plugin.reports.filters import (
    CompFilter,
    TimeRange,
    alarm_ranges,
    component_of,
    matches_text,
    needs_text,
    ranges_of,
)
from storage_plugin.reports.timeranges import alarm_in_range, is_in_range

_FAR = 2**40


def find_matching(
    session: Session,
    row: Collection,
    filters: list[CompFilter],
    *,
    with_bodies: bool = True,
    effort: Effort | None = None,
) -> Iterable[StoredObject]:
    """Return the members of a collection that match every filter, by name.

    Raises :class:`DavError` 507 when that costs more than ``effort`` allows.
    """
    effort = effort or current_state().effort
    component = component_of(filters)
    if component is not None and component not in row.components:
        return []
    ranges, alarms = ranges_of(filters), alarm_ranges(filters)
    reads_tasks = bool(ranges) and component != "VEVENT" and row.components != ("VEVENT",)
    with_bodies = with_bodies or needs_text(filters) or reads_tasks
    chosen = [
        member
        for member in _candidates(session, row, ranges, effort, with_bodies=with_bodies)
        if component in (None, member.component)
    ]
    if needs_text(filters):
        chosen = [m for m in chosen if _has_texts(filters, m, effort)]
    if alarms or reads_tasks:
        zone = ZoneInfo(get_principal(session, row.principal_id).time_zone)
        chosen = [m for m in chosen if _is_in_ranges(m, ranges, alarms, zone, effort)]
    return chosen


def _has_texts(filters: list[CompFilter], member: StoredObject, effort: Effort) -> bool:
    effort.check()
    return matches_text(filters, member.body)


def _is_in_ranges(
    member: StoredObject,
    ranges: list[TimeRange],
    alarms: list[TimeRange],
    zone: ZoneInfo,
    effort: Effort,
) -> bool:
    """Decide what the stored instances do not tell: tasks, journals, alarms."""
    effort.check()
    is_told = member.component == "VEVENT" or all(
        is_in_range(member.body, span, zone) for span in ranges
    )
    return is_told and all(alarm_in_range(member.body, span, zone) for span in alarms)


def _candidates(
    session: Session,
    row: Collection,
    ranges: list[TimeRange],
    effort: Effort,
    *,
    with_bodies: bool,
) -> list[StoredObject]:
    if not ranges:
        return list_objects(session, row.id, with_bodies=with_bodies)
    names = set.intersection(*(_names_in(session, row, span, effort) for span in ranges))
    return sorted(
        find_objects(session, row.id, names, with_bodies=with_bodies).values(), key=lambda m: m.name
    )


def _names_in(session: Session, row: Collection, span: TimeRange, effort: Effort) -> set[str]:
    """Return the names of members with an instance in the range (RFC 4791 9.9)."""
    names = names_in_range(session, row.id, *span)
    low = -_FAR if span[0] is None else span[0]
    high = _FAR if span[1] is None else span[1]
    beyond = [
        s for s in spans_beyond(session, row.principal_id, row.id, low, high) if s.name not in names
    ]
    names.update(span.name for span in beyond if not span.recurring)
    series = [span for span in beyond if span.recurring]
    if series:
        names.update(_expanded(session, row, series, (low, high), effort))
    return names


def _expanded(
    session: Session, row: Collection, series: list[Span], asked: Interval, effort: Effort
) -> set[str]:
    """Return which of the series has an instance in a range outside the stored window."""
    rules = BusyRules(zone=ZoneInfo(get_principal(session, row.principal_id).time_zone))
    bodies = find_objects(session, row.id, [span.name for span in series])
    found: set[str] = set()
    for span in series:
        effort.check()
        window = (max(asked[0], span.first_start), min(asked[1], span.last_end))
        expansion = expand(bodies[span.name].body, window, rules)
        if expansion.problems or any(
            overlaps((i.start, max(i.end, i.start + 1)), window) for i in expansion.instances
        ):
            found.add(span.name)
    return found
