"""One calendar object and a window become instances: the door of the engine (R23, R25).

Pure: no I/O, no clock, no log. Nothing an object contains makes :func:`expand` raise or run away;
what it cannot understand becomes UNKNOWN over the span it could cover, with a Problem that says
why, never free.
"""

from gateway.core.ical.document import Component
from gateway.core.ical.lines import unfold
from gateway.core.ical.reader import RawCalendar, read_calendar
from gateway.core.ical.values import (
    Form,
    Length,
    Moment,
    Period,
    date_in,
    parse_moment,
    readable_moments,
)
from gateway.core.ical.zones import EASTERNMOST, WESTERNMOST, Zone
from gateway.core.intervals import DAY, Interval
from gateway.core.recurrence.budget import BudgetExceededError, WorkBudget
from gateway.core.recurrence.collector import Collector
from gateway.core.recurrence.event import instant_of
from gateway.core.recurrence.model import BusyRules, Expansion, Instance, Problem
from gateway.core.recurrence.series import expand_events
from gateway.core.recurrence.vtimezone import object_zones
from gateway.core.status import FBType

__all__ = [
    "BusyRules",
    "Expansion",
    "Instance",
    "Problem",
    "default_window",
    "expand",
    "expand_components",
]

ENGINE_VERSION = 2
"""The rules by which objects are expanded; raised when a change of them alters stored instances.

Objects that were expanded by an earlier version are expanded anew, a few at a time.
"""

DAYS_BACK = 31
DAYS_AHEAD = 400

_FBTYPES = {
    "BUSY": FBType.BUSY,
    "BUSY-UNAVAILABLE": FBType.UNAVAILABLE,
    "BUSY-TENTATIVE": FBType.TENTATIVE,
    "FREE": FBType.FREE,
}


def default_window(now: int) -> Interval:
    """Return the rolling window around ``now``: 31 days back, 400 ahead, on UTC midnights."""
    today = now - now % DAY
    return today - DAYS_BACK * DAY, today + DAYS_AHEAD * DAY


def expand(
    body: bytes,
    window: Interval,
    rules: BusyRules,
    *,
    max_rows: int = 5000,
    cpu_budget_s: float = 2.0,
) -> Expansion:
    """Every instance of a calendar object that touches ``window``; never raises for bad data.

    ``window`` is half-open UTC epoch seconds. VTODO, VJOURNAL and VAVAILABILITY have no instances;
    VFREEBUSY periods count by their FBTYPE. At most ``max_rows`` instances come back; work stops
    at about ``cpu_budget_s`` seconds of CPU. Past either bound the rest of the window is UNKNOWN.
    """
    calendar = read_calendar(unfold(body))
    return expand_components(calendar, window, rules, max_rows=max_rows, cpu_budget_s=cpu_budget_s)


def expand_components(
    calendar: RawCalendar,
    window: Interval,
    rules: BusyRules,
    *,
    max_rows: int = 5000,
    cpu_budget_s: float = 2.0,
) -> Expansion:
    """Like :func:`expand`, for a calendar that was read already."""
    budget = WorkBudget(cpu_budget_s)
    zones = object_zones(calendar.zone_blocks, rules.zone, window[1], budget)
    into = Collector(window, rules, zones, budget, max_rows)
    if not calendar.components:
        _no_component(calendar, into)
    try:
        for group in _by_uid(calendar.components):
            _expand_group(group, into)
    except BudgetExceededError:
        into.open_ended = True
        into.add_unknown("too-many-instances", "the object is too big to expand", *window)
    except (ArithmeticError, LookupError, ValueError) as error:
        into.open_ended = True
        detail = f"the object could not be expanded ({type(error).__name__})"
        into.add_unknown("not-understood", detail, *window)
    return _expansion(calendar, into)


def _no_component(calendar: RawCalendar, into: Collector) -> None:
    """Note what holds no time: it cannot be placed and blocks nothing (busy-time.md)."""
    if calendar.has_calendar:
        into.note("no-component", "the calendar object has no component")
    else:
        into.note("not-icalendar", "the body is no iCalendar text")


def _by_uid(components: list[Component]) -> list[list[Component]]:
    """Return groups that belong together; a component without UID stands alone."""
    groups: dict[tuple[str, object], list[Component]] = {}
    for component in components:
        groups.setdefault((component.name, component.text("UID") or id(component)), []).append(
            component
        )
    return list(groups.values())


def _expand_group(group: list[Component], into: Collector) -> None:
    name = group[0].name
    if name == "VEVENT":
        expand_events(group, into)
    elif name == "VFREEBUSY":
        for component in group:
            _expand_freebusy(component, into)


def _expand_freebusy(component: Component, into: Collector) -> None:
    """Return the periods of a VFREEBUSY (RFC 5545 3.8.2.6); an unknown FBTYPE is BUSY."""
    for prop in component.all("FREEBUSY"):
        fbtype = _FBTYPES.get((prop.parameter("FBTYPE") or "BUSY").upper(), FBType.BUSY)
        periods, junk = readable_moments(prop)
        for period in periods:
            into.budget.spend()
            if isinstance(period, Period):
                _add_period(period, fbtype, into)
            else:
                _add_unreadable(component, period, fbtype, into)
        for text in junk:
            day = date_in(text)
            start = None if day is None else Moment(day * DAY, Form.FLOATING)
            first, _, _ = text.partition("/")
            _add_unreadable(component, _read(first) or start, fbtype, into)


def _read(text: str) -> Moment | None:
    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        return None


def _add_unreadable(
    component: Component, start: Moment | None, fbtype: FBType, into: Collector
) -> None:
    """Bound a period that cannot be read: 24 hours from its start, else all of the component.

    Where nothing of that can be read it cannot be placed and blocks nothing (busy-time.md).
    """
    low = high = None
    if start is not None:
        low = instant_of(start, into.zones)
        high = low + DAY
    else:
        edges = (component.first("DTSTART"), component.first("DTEND"))
        found = [_read(prop.value) for prop in edges if prop is not None]
        if len(found) == 2 and found[0] is not None and found[1] is not None:
            low, high = (instant_of(edge, into.zones) for edge in found if edge is not None)
    if fbtype is FBType.FREE or low is None or high is None:
        into.note("bad-freebusy", "FREEBUSY cannot be read")
    else:
        into.bound(low, high)
        into.add_unknown("bad-freebusy", "FREEBUSY cannot be read", low, high)


def _add_period(period: Period, fbtype: FBType, into: Collector) -> None:
    zone: Zone | None = into.zones.own
    if period.start.form is Form.ZONED:
        zone = into.zones.find(period.start.tzid or "")
    start_wall = period.start.wall
    if period.start.form is Form.UTC or zone is None:
        start = start_wall
    else:
        into.zone_dependent = into.zone_dependent or period.start.form is not Form.ZONED
        start = zone.to_utc(start_wall)
    if isinstance(period.end, Length):
        end = start + period.end.days * DAY + period.end.seconds
    elif period.end.form is Form.UTC or zone is None:
        end = period.end.wall
    else:
        end = zone.to_utc(period.end.wall)
    if zone is None:
        if fbtype is not FBType.FREE:
            into.add_unknown(
                "unknown-zone", "no such time zone", start - EASTERNMOST, end + WESTERNMOST
            )
        return
    if end < start and fbtype is not FBType.FREE:
        into.bound(start, start + DAY)
        into.add_unknown("end-before-start", "a period ends before it starts", start, start + DAY)
        return
    into.bound(start, end)
    if start < end and into.touches(start, end):
        into.append(Instance(start, end, fbtype, start, end, "freebusy"))


def _expansion(calendar: RawCalendar, into: Collector) -> Expansion:
    rows = sorted(into.rows, key=lambda row: (row.start, row.end, row.fbtype))
    if len(rows) > into.max_rows:
        low, high = into.window
        code = "too-many-instances"
        rows[into.max_rows - 1 :] = [Instance(low, high, FBType.UNKNOWN, low, high, code)]
        rows.sort(key=lambda row: (row.start, row.end, row.fbtype))
    return Expansion(
        instances=tuple(rows),
        problems=into.problems,
        window=into.window,
        recurring=into.recurring,
        open_ended=into.open_ended,
        zone_dependent=into.zone_dependent,
        component=calendar.components[0].name if calendar.components else "",
        first_start=into.first_start,
        last_end=None if into.unbounded else into.last_end,
    )
