"""What of an appointment goes to iCloud (R15).

iCloud answers a body it dislikes with 404, 403 or silence, never with a reason, and mails the
guests of whatever carries ATTENDEE. So the body is built anew from the properties named here
rather than passed on: CRLF, a UID of our own, DTSTAMP in UTC, both DTSTART and DTEND, one TZID with
its VTIMEZONE, BYDAY in weekly rules, plain text, upper-case STATUS and TRANSP.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.core.appointments.meaning import adopt_times, original_of, same_meaning, same_times
from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.document import (
    Component,
    new_calendar,
    new_component,
    text_of,
    write,
)
from gateway.core.ical.lines import Property, escape_text, unescape_text, unfold
from gateway.core.ical.objects import parse_calendar_object
from gateway.core.ical.plain_text import strip_html
from gateway.core.ical.reader import read_calendar
from gateway.core.ical.rules import WEEKDAYS, Rule, format_rule
from gateway.core.ical.values import DAY, Form, Moment, Period, date_of, format_moment
from gateway.core.ical.zones import UTC_ZONE, ZoneTable
from gateway.core.recurrence.budget import WorkBudget
from gateway.core.recurrence.event import Event, UnreadableError, read_event
from gateway.core.recurrence.model import BusyRules
from gateway.core.recurrence.recurrence_ids import place
from gateway.core.recurrence.series import latest_overrides
from gateway.core.recurrence.vtimezone import ZonesWritten, object_zones

__all__ = ["adopt_times", "build_upstream_body", "has_guests", "same_meaning", "same_times"]

YEARS_AHEAD = 50
"""How far a custom VTIMEZONE is read; appointments beyond that are not met."""

_DATE = ";VALUE=DATE"
_TEXTS = ("SUMMARY", "LOCATION", "DESCRIPTION")
_KEPT_AS_IS = ("X-APPLE-TRAVEL-DURATION", "X-APPLE-TRAVEL-RETURN-DURATION", "URL", "CLASS")
_STATUSES = ("CONFIRMED", "TENTATIVE", "CANCELLED")
_OURS = frozenset(
    (
        *_TEXTS,
        *_KEPT_AS_IS,
        "UID",
        "DTSTAMP",
        "CREATED",
        "LAST-MODIFIED",
        "SEQUENCE",
        "DTSTART",
        "DTEND",
        "DURATION",
        "RRULE",
        "RDATE",
        "EXDATE",
        "EXRULE",
        "RECURRENCE-ID",
        "STATUS",
        "TRANSP",
    )
)
_NEVER_SENT = frozenset(("ATTENDEE", "ORGANIZER", "REQUEST-STATUS"))
_OF_THE_PLACE = frozenset(("GEO", "X-APPLE-STRUCTURED-LOCATION"))
"""Upstream properties that speak of the LOCATION there, and go with it."""


def build_upstream_body(
    body: bytes,
    *,
    uid: str,
    now: datetime,
    zone: ZoneInfo,
    sequence: int = 0,
    upstream: bytes | None = None,
) -> bytes:
    """Make the body to PUT for an appointment; raises InvalidCalendarData when none can be made.

    ``uid`` is the upstream UID of the ledger, ``now`` (aware) becomes DTSTAMP and LAST-MODIFIED,
    ``zone`` is the principal's: floating times are pinned to it. Overrides stay in the same body.
    ``upstream`` is what iCloud holds now: alarms and properties that are not ours are carried
    over from it (R17), so that an alert set on a phone survives our next change.
    """
    if parse_calendar_object(body).component != "VEVENT":
        raise InvalidCalendarData("Only events can be written to iCloud.")
    calendar = read_calendar(unfold(body), full=True)
    latest = int(now.timestamp()) + YEARS_AHEAD * 366 * DAY
    zones = object_zones(calendar.zone_blocks, zone, latest, WorkBudget(2.0))
    writer = _Writer(zones, BusyRules(zone), ZonesWritten(calendar.zone_blocks), _Stamp(now, uid))
    foreign = _by_original(upstream, zone, latest) if upstream is not None else {}
    events = [writer.read(part) for part in calendar.components]
    masters = [event for event in events if event.recurrence_id is None]
    components: list[Component] = []
    for event in [*masters, *latest_overrides([e for e in events if e not in masters])]:
        part = event.component
        components.append(writer.event(event, sequence, foreign.get(original_of(part, zones))))
    whole = new_calendar(Property("CALSCALE", "", "GREGORIAN"))
    whole.keep(*writer.zones_written.components(), *components)
    return write(whole, strict=True)


def _by_original(body: bytes, zone: ZoneInfo, latest: int) -> dict[object, Component]:
    calendar = read_calendar(unfold(body), full=True)
    zones = object_zones(calendar.zone_blocks, zone, latest, WorkBudget(2.0))
    events = (part for part in calendar.components if part.name == "VEVENT")
    return {original_of(part, zones): part for part in events}


class _Stamp:
    """Who and when: the UID and the time that every component of one body carries."""

    def __init__(self, now: datetime, uid: str) -> None:
        self.uid = uid
        self.now = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


class _Writer:
    """Writes VEVENTs and remembers which zones they need."""

    def __init__(
        self, zones: ZoneTable, rules: BusyRules, zones_written: ZonesWritten, stamp: _Stamp
    ) -> None:
        self._zones = zones
        self._rules = rules
        self.zones_written = zones_written
        self._stamp = stamp

    def event(self, event: Event, sequence: int, foreign: Component | None) -> Component:
        """One VEVENT, master or override, with what upstream added to it."""
        part, now = event.component, self._stamp.now
        made = new_component(
            "VEVENT",
            Property("UID", "", self._stamp.uid),
            Property("DTSTAMP", "", now),
            Property("CREATED", "", _utc_or(part.text("CREATED"), now)),
            Property("LAST-MODIFIED", "", now),
            Property("SEQUENCE", "", str(max(sequence, _number(part.text("SEQUENCE"))))),
            *self._times(event),
            *self._recurrence(event),
            *_words(part),
        )
        if foreign is not None:
            _carry_over(part, foreign, made)
        return made

    def read(self, part: Component) -> Event:
        """Understand a VEVENT; raises InvalidCalendarData where anything about it is in doubt."""
        try:
            event = read_event(part, self._zones, self._rules)
        except UnreadableError as error:
            raise InvalidCalendarData(f"The event cannot be written to iCloud: {error}.") from None
        wrong = event.doubt or event.broken_tail
        if wrong:
            detail = next((d for code, d in event.notes if code == wrong), wrong)
            raise InvalidCalendarData(f"The event cannot be written to iCloud: {detail}.")
        return event

    def _times(self, event: Event) -> Iterator[Property]:
        """DTSTART and DTEND, always both: iCloud answers 404 to an event without an end."""
        if event.all_day:
            end = event.start + event.length.days * DAY
            yield Property("DTSTART", _DATE, format_moment(event.start, date_only=True))
            yield Property("DTEND", _DATE, format_moment(end, date_only=True))
            return
        end = event.end_of(event.start)
        yield self._at("DTSTART", event, event.start)
        if event.zone.to_utc(event.zone.to_wall(end)) == end:
            yield self._at("DTEND", event, event.zone.to_wall(end))
        else:  # in the second turn of a repeated hour, which no local time can say
            yield Property("DURATION", "", f"PT{end - event.start_of(event.start)}S")

    def _at(self, name: str, event: Event, wall: int, more: str = "") -> Property:
        """Return a time in the event's zone; one in UTC stays so, in a series as TZID=UTC.

        iCloud refuses or misreads series in plain UTC.
        """
        in_series = event.recurring or event.recurrence_id is not None
        if event.zone is UTC_ZONE and not in_series:
            return Property(name, more, format_moment(wall, utc=True))
        zone = f";TZID={self.zones_written.need(event.zone, wall)}"
        return Property(name, more + zone, format_moment(wall))

    def _recurrence(self, event: Event) -> Iterator[Property]:
        for rule in event.rules:
            yield Property("RRULE", "", rule_text(rule, event))
        for moment in event.exdates:
            yield self._date("EXDATE", event, moment)
        for item in event.rdates:
            if isinstance(item, Period):
                raise InvalidCalendarData("An RDATE with a period cannot be written to iCloud.")
            yield self._date("RDATE", event, item)
        if event.recurrence_id is not None:
            ranged = ";RANGE=THISANDFUTURE" if event.this_and_future else ""
            yield self._date("RECURRENCE-ID", event, event.recurrence_id, ranged)

    def _date(self, name: str, event: Event, moment: Moment, more: str = "") -> Property:
        """One EXDATE, RDATE or RECURRENCE-ID, in the form of DTSTART."""
        if moment.form is Form.DATE:
            return Property(name, more + _DATE, format_moment(moment.wall, date_only=True))
        if moment.form is Form.ZONED and self._zones.find(moment.tzid or "") is None:
            raise InvalidCalendarData(f"{name} is in an unknown time zone.")
        return self._at(name, event, place(moment, event.zone, self._zones)[1], more)


def rule_text(rule: Rule, event: Event) -> str:
    """Return an RRULE as iCloud wants it: BYDAY in weekly rules, UNTIL in the form of DTSTART.

    A weekly rule without BYDAY is accepted by iCloud and then silently loses its repetition.
    """
    if rule.until is not None and rule.count is not None:
        raise InvalidCalendarData("A recurrence rule may have COUNT or UNTIL, not both.")
    text = format_rule(rule, None if rule.until is None else _until_text(rule.until, event))
    if rule.freq == "WEEKLY" and not rule.byday:
        text += f";BYDAY={WEEKDAYS[date_of(event.start // DAY).weekday()]}"
    return text


def _until_text(until: Moment, event: Event) -> str:
    """UNTIL is a DATE for an all-day series, else UTC (RFC 5545 3.3.10)."""
    if event.all_day:
        wall = until.wall
        if until.form is Form.UTC and wall % DAY not in (0, DAY - 1):
            wall = event.zone.to_wall(wall)
        return format_moment(wall, date_only=True)
    if until.form is Form.UTC:
        return format_moment(until.wall, utc=True)
    wall = until.wall + (DAY - 1 if until.form is Form.DATE else 0)
    return format_moment(event.zone.to_utc(wall), utc=True)


def _words(part: Component) -> Iterator[Property]:
    """Texts, STATUS, TRANSP and the few harmless properties that are passed on."""
    for name in _TEXTS:
        text = unescape_text(part.text(name))
        if name == "DESCRIPTION":
            text = strip_html(text)
        if text.strip():
            yield Property(name, "", escape_text(text))
    status = part.text("STATUS").upper()
    yield Property("STATUS", "", status if status in _STATUSES else "CONFIRMED")
    transparent = part.text("TRANSP").upper() == "TRANSPARENT"
    yield Property("TRANSP", "", "TRANSPARENT" if transparent else "OPAQUE")
    for name in _KEPT_AS_IS:
        prop = part.first(name)
        if prop is not None and prop.value.strip():
            yield prop


def _carry_over(part: Component, foreign: Component, made: Component) -> None:
    """Keep what iCloud or its user added: alarms, properties we do not know, never people."""
    moved = unescape_text(part.text("LOCATION")) != unescape_text(foreign.text("LOCATION"))
    for name, properties in foreign.properties.items():
        if name in _OURS or name in _NEVER_SENT or (moved and name in _OF_THE_PLACE):
            continue
        made.add(*properties)
    for nested in foreign.children:
        if "ATTENDEE" not in text_of(nested).upper():  # an e-mail alarm has addressees
            made.keep(nested)


def _utc_or(value: str, otherwise: str) -> str:
    return value if len(value) == 16 and value.endswith("Z") else otherwise


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def has_guests(body: bytes) -> bool:
    """Whether a body carries an ATTENDEE: iCloud would mail them on a PUT or DELETE."""
    calendar = read_calendar(unfold(body))
    return any(part.all("ATTENDEE") for part in calendar.components)
