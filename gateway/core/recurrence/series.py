"""All components of one UID become instances: master, rules, dates, overrides.

Decided here, where RFC 5545 leaves a choice or real data breaks it:

* DTSTART is an instance even when its rule would not yield it, or UNTIL lies before it.
* An override counts at its own time even when no instance has its RECURRENCE-ID, and even when an
  EXDATE names that too, unless the master's SEQUENCE says that the deletion came later.
* Of components with the same role the highest SEQUENCE stands; of masters with equal SEQUENCE all.
* A DATE in EXDATE or RECURRENCE-ID of a timed series means that day, as a last resort.
* RANGE=THISANDFUTURE moves what follows by the same difference on the clock face.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from gateway.core.ical.document import Component
from gateway.core.ical.rules import Rule
from gateway.core.ical.values import DAY, Form, Length, Moment, Period
from gateway.core.ical.zones import EASTERNMOST, WESTERNMOST
from gateway.core.recurrence.budget import BudgetExceededError, TooManyRowsError
from gateway.core.recurrence.collector import Collector
from gateway.core.recurrence.event import Event, UnreadableError, instant_of, read_event, resolve
from gateway.core.recurrence.recurrence_ids import Marks, day_of_all_day, place
from gateway.core.recurrence.walk import Walk
from gateway.core.status import FBType

CLOCK_SLACK = 3 * 3600
"""No clock change moves a clock face by more than this (in the years we look at)."""


def expand_events(components: list[Component], into: Collector) -> None:
    """Expand the VEVENTs of one UID into ``into``."""
    masters: list[Component] = []
    overrides: list[Component] = []
    for component in components:
        is_override = "RECURRENCE-ID" in component.properties
        (overrides if is_override else masters).append(component)
    events = [e for c in _latest_masters(masters) if (e := _read(c, into)) is not None]
    changed = latest_overrides(
        [e for c in overrides if (e := _read_override(c, events, into)) is not None]
    )
    for event in [*events, *changed]:
        _report(event, into)
    for master in events:
        changed = _drop_superseded(changed, master, into)
    for master in events:
        _Series(master, changed, into).expand()
    for override in changed:
        _add_override(override, events, into)


def _sequence(component: Component) -> int:
    text = component.text("SEQUENCE")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _latest_masters(masters: list[Component]) -> list[Component]:
    if len(masters) < 2:
        return masters
    highest = max(_sequence(component) for component in masters)
    return [component for component in masters if _sequence(component) == highest]


def latest_overrides(events: list[Event]) -> list[Event]:
    """One override per RECURRENCE-ID: highest SEQUENCE, then latest DTSTAMP, then last written."""
    chosen: dict[object, Event] = {}
    for event in events:
        key: object = event.recurrence_id or id(event)
        old = chosen.get(key)
        if old is None or _revision(event) >= _revision(old):
            chosen[key] = event
    return list(chosen.values())


def _revision(event: Event) -> tuple[int, str]:
    return _sequence(event.component), event.component.text("DTSTAMP")


def _read(component: Component, into: Collector) -> Event | None:
    """Read one VEVENT; one without any readable time blocks nothing, and that is said."""
    into.budget.spend(_cost(component))
    try:
        return read_event(component, into.zones, into.rules)
    except UnreadableError as error:
        into.note("bad-start", str(error))
        return None


def _cost(component: Component) -> int:
    """Return steps that reading a VEVENT takes: its lines, and the items of its lists of dates."""
    lists = component.all("RDATE") + component.all("EXDATE")
    items = sum(len(prop.value) for prop in lists) // 6
    return 12 + sum(map(len, component.properties.values())) + items


def _read_override(component: Component, masters: list[Event], into: Collector) -> Event | None:
    """Start an override without DTSTART (some cancellations) where its RECURRENCE-ID says."""
    if "DTSTART" not in component.properties and "DTSTART" not in component.broken:
        original = component.properties["RECURRENCE-ID"][0]
        start = {"DTSTART": [original._replace(name="DTSTART")]}
        component = replace(component, properties=component.properties | start)
        event = _read(component, into)
        no_end = "DTEND" not in component.properties and "DURATION" not in component.properties
        if event is not None and masters and no_end:
            event.length = masters[0].length
        return event
    return _read(component, into)


def _report(event: Event, into: Collector) -> None:
    for code, detail in event.notes:
        into.note(code, detail)
    into.zone_dependent = into.zone_dependent or event.zone_dependent
    if event.recurring or event.recurrence_id is not None:
        into.recurring = True


def _drop_superseded(overrides: list[Event], master: Event, into: Collector) -> list[Event]:
    """Return overrides without those whose instance a later revision of the master deleted.

    RFC 5545 3.8.7.4: SEQUENCE tells the order of revisions.
    """
    if not master.exdates:
        return overrides
    excluded: Marks[bool] = Marks(master, into.zones)
    for moment in master.exdates:
        excluded.add(moment, True)
    revision = _sequence(master.component)
    return [
        event
        for event in overrides
        if event.recurrence_id is None
        or _sequence(event.component) >= revision
        or excluded.find_moment(event.recurrence_id) is None
    ]


def _add_override(event: Event, masters: list[Event], into: Collector) -> None:
    original = None
    if event.recurrence_id is not None:
        moment = event.recurrence_id
        if masters and masters[0].all_day:
            moment = Moment(day_of_all_day(moment, into.zones) * DAY, Form.DATE)
        home = masters[0].zone if masters else into.zones.own
        original, _ = place(moment, home, into.zones)
    into.add(event, event.start_of(event.start), event.end_of(event.start), original)


class _Series:
    """A master with what changes its instances; :meth:`expand` adds all but the overrides."""

    def __init__(self, master: Event, overrides: list[Event], into: Collector) -> None:
        self._master = master
        self._into = into
        self._excluded: Marks[bool] = Marks(master, into.zones)
        for moment in master.exdates:
            self._excluded.add(moment, True)
        self._overridden: Marks[bool] = Marks(master, into.zones)
        shifts = []
        for event in overrides:
            if event.recurrence_id is not None:
                self._overridden.add(event.recurrence_id, True)
                if event.this_and_future:
                    shifts.append(self._shift(event, event.recurrence_id))
        shifts.sort(key=lambda item: item[0])
        self._shift_from = [begin for begin, _, _ in shifts]
        self._shifts = [(by, event) for _, by, event in shifts]
        for marks, code in ((self._excluded, "exdate"), (self._overridden, "recurrence-id")):
            if marks.by_day:
                into.note(f"{code}-by-day", f"a DATE in {code.upper()} was read as that whole day")
        self._ends: dict[int, Length] = {}
        self._cut: int | None = None

    def _shift(self, event: Event, moment: Moment) -> tuple[int, int, Event]:
        """From which wall time on THISANDFUTURE moves instances, and by how much on the clock."""
        zone = self._master.zone
        _, original = place(moment, zone, self._into.zones)
        return original, zone.to_wall(event.start_of(event.start)) - original, event

    def expand(self) -> None:
        """Add every instance that no override replaces."""
        master, into = self._master, self._into
        first = master.start_of(master.start)
        self._reach()
        found = {first: master.start}
        into.bound(first, first)
        try:
            self._add_dates(found)
            for rule in master.rules:
                self._add_rule(rule, found)
        except BudgetExceededError:
            self._cut_at(into.window[0] if first < into.window[0] else first + 1)
        cut = self._cut
        recurring = master.recurring
        for instant in sorted(found):
            if cut is not None and instant >= cut:
                break
            wall = found[instant]
            if self._excluded.find(instant, wall) or self._overridden.find(instant, wall):
                continue
            self._add(instant, wall, instant if recurring else None)
        self._finish(first)

    def _add(self, instant: int, wall: int, recurrence_id: int | None) -> None:
        """Add one instance, moved by the last THISANDFUTURE before it."""
        event, into = self._master, self._into
        if self._shifts:
            index = bisect_right(self._shift_from, wall)
            if index:
                by, event = self._shifts[index - 1]
                wall = (wall + by) // DAY * DAY if event.all_day else wall + by
                instant = self._master.zone.to_utc(wall)
        days, seconds = self._ends.get(instant, event.length)
        last_day = self._master.zone.to_utc(wall + days * DAY) if days else instant
        try:
            into.add(event, instant, last_day + seconds, recurrence_id)
        except TooManyRowsError:
            self._cut_at(instant)

    # -- where instances come from -------------------------------------------------------------

    def _reach(self) -> None:
        """Return the instants between which an original start can matter to the window."""
        before = after = 0
        for by, event in [(0, self._master), *self._shifts]:
            length = max(event.seconds, event.unsure_s)
            before = max(before, by + length + event.travel[1] + event.slack[1])
            after = max(after, event.travel[0] + event.slack[0] - by)
        self._low = self._into.window[0] - before - CLOCK_SLACK
        self._high = self._into.window[1] + after + CLOCK_SLACK

    def _add_dates(self, found: dict[int, int]) -> None:
        """RDATEs: dates, times in any zone, periods."""
        master, into = self._master, self._into
        for item in master.rdates:
            into.budget.spend()
            moment = item.start if isinstance(item, Period) else item
            if moment.form is Form.DATE and not master.all_day:
                self._unknown_day(moment)
                continue
            if not master.doubt and not master.all_day and not resolve(moment, into.zones)[1]:
                self._unknown_zone(item)
                continue
            if master.all_day:
                wall = day_of_all_day(moment, into.zones) * DAY
                instant = master.start_of(wall)
            else:
                instant, wall = place(moment, master.zone, into.zones)
            found[instant] = wall
            if isinstance(item, Period) and not master.all_day:
                self._ends[instant] = self._period_length(item, instant)
            into.bound(instant, instant)
        for day in master.unsure_days:
            self._unknown_day(Moment(day * DAY, Form.DATE), "bad-rdate")

    def _period_length(self, period: Period, instant: int) -> Length:
        if isinstance(period.end, Length):
            return period.end
        end, _ = place(period.end, self._master.zone, self._into.zones)
        if end < instant and self._master.fbtype is not FBType.FREE:
            detail = "an RDATE ends before it starts"
            self._into.add_unknown("end-before-start", detail, instant, instant + DAY)
        return Length(0, max(end - instant, 0))

    def _unknown_day(self, moment: Moment, code: str = "rdate-by-day") -> None:
        """Place an RDATE of a timed series that names a day only: some time of that day."""
        master = self._master
        start, end = master.start_of(moment.wall), master.end_of(moment.wall + DAY)
        self._into.bound(start, end)
        if master.fbtype is not FBType.FREE:
            self._into.add_unknown(code, "RDATE names a day without a time", start, end)

    def _unknown_zone(self, item: Moment | Period) -> None:
        """Place an RDATE in a zone nobody knows: wherever on earth its clock may hang."""
        moment = item.start if isinstance(item, Period) else item
        utc, seconds = instant_of(moment, self._into.zones), self._master.seconds
        if isinstance(item, Period):
            seconds = max(self._period_length(item, self._master.start_of(moment.wall)).seconds, 0)
        start, end = utc - EASTERNMOST, utc + WESTERNMOST + seconds
        self._into.bound(start, end)
        if self._master.fbtype is not FBType.FREE:
            self._into.add_unknown("unknown-zone", "no such time zone", start, end)

    def _add_rule(self, rule: Rule, found: dict[int, int]) -> None:
        master, into = self._master, self._into
        to_utc, limit = master.zone.to_utc, into.max_rows
        low, high = self._low, self._high
        count = 0
        last = low
        walk: Walk | None = None
        try:
            walk = Walk(rule, master.start, into.budget, date_only=master.all_day)
            for wall in self._bounded(rule, walk):
                instant = to_utc(wall)
                if instant < low or instant in found:
                    continue
                if instant > high:
                    break
                if count >= limit:
                    self._cut_at(instant)
                    break
                count += 1
                last = instant
                found[instant] = wall
        except BudgetExceededError:
            self._cut_at(max(last + 1, master.start_of(master.start) + 1))
        self._extent(rule, finished=walk is not None and walk.finished)

    def _bounded(self, rule: Rule, walk: Walk) -> Iterator[int]:
        """Return the rule's wall times around the window, ended by UNTIL."""
        zone = self._master.zone
        walls = walk.between(
            zone.to_wall(self._low) - CLOCK_SLACK, zone.to_wall(self._high) + CLOCK_SLACK
        )
        until = rule.until
        if until is None:
            yield from walls
            return
        for wall in walls:
            if self._is_past(wall, until):
                return
            yield wall

    def _is_past(self, wall: int, until: Moment) -> bool:
        """Whether an instance lies after UNTIL, in whatever form that was written."""
        if until.form is Form.DATE:
            return wall // DAY > until.day
        if until.form is Form.FLOATING:
            return wall // DAY > until.day if self._master.all_day else wall > until.wall
        if self._master.all_day and until.wall % DAY in (0, DAY - 1):
            return wall // DAY > until.day  # a DATE written as 00:00:00Z or 23:59:59Z
        return self._master.zone.to_utc(wall) > until.wall

    def _extent(self, rule: Rule, *, finished: bool) -> None:
        """Whether the rule goes on after the window, and where it ends at the latest."""
        into = self._into
        if rule.until is not None:
            latest = self._master.zone.to_utc(rule.until.wall) + DAY + self._master.seconds
            into.bound(into.first_start or latest, latest)
        elif not finished:
            into.open_ended = into.unbounded = True

    def _cut_at(self, instant: int) -> None:
        if self._cut is None or instant < self._cut:
            self._cut = instant

    def _finish(self, first: int) -> None:
        """Mark what could not be expanded, and what a broken rule or a lost end may hide."""
        master, into = self._master, self._into
        free = master.fbtype is FBType.FREE and all(
            event.fbtype is FBType.FREE for _, event in self._shifts
        )
        if self._cut is not None:
            into.open_ended = True
            if free:
                into.note("too-many-instances", "more instances than one object may have")
            else:
                into.add_unknown(
                    "too-many-instances",
                    "more instances than one object may have",
                    self._cut - master.travel[0] - master.slack[0],
                    into.window[1],
                )
        if master.broken_tail is not None:
            until = into.window[1]
            if master.reaches is None:
                into.open_ended = into.unbounded = True
            else:
                until = max(first, master.end_of(master.reaches))
                into.bound(first, until)
            if not free:
                detail = f"what follows the first instance is unknown ({master.broken_tail})"
                into.add_unknown(master.broken_tail, detail, first, until)
