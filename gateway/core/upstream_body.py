"""What of an appointment goes to iCloud (R15), and what comes back from it (R17).

iCloud answers a body it dislikes with 404, 403 or silence, never with a reason, and mails the
guests of whatever carries ATTENDEE. So the body is built anew from the few properties below rather
than passed on: CRLF, a UUID as UID, DTSTAMP in UTC, both DTSTART and DTEND, one IANA TZID with its
VTIMEZONE, BYDAY in weekly rules, plain text, upper-case STATUS and TRANSP.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.core.budget import Budget
from gateway.core.content_lines import (
    escape_text,
    fold,
    unescape_text,
    unfold,
)
from gateway.core.errors import InvalidCalendarData
from gateway.core.meaning import adopt_times, same_meaning, same_times
from gateway.core.plain_text import strip_html
from gateway.core.reader import Component, read_calendar
from gateway.core.rows import BusyRules
from gateway.core.rules import WEEKDAYS, Rule
from gateway.core.values import (
    DAY,
    Form,
    Moment,
    Period,
    date_of,
    format_moment,
)
from gateway.core.vevent import Event, UnreadableError, read_event
from gateway.core.vtimezone import object_zones, write_vtimezone
from gateway.core.zones import IanaZone, Zone, ZoneTable

__all__ = ["adopt_times", "build_upstream_body", "has_guests", "same_meaning", "same_times"]

PRODID = "-//icloud-caldav-gateway//EN"
ZONE_YEARS_AHEAD = 2

_TEXTS = ("SUMMARY", "LOCATION", "DESCRIPTION")
_KEPT_AS_IS = ("X-APPLE-TRAVEL-DURATION", "X-APPLE-TRAVEL-RETURN-DURATION", "URL", "CLASS", "GEO")
_STATUSES = ("CONFIRMED", "TENTATIVE", "CANCELLED")


def build_upstream_body(
    body: bytes, *, uid: str, now: datetime, zone: ZoneInfo, sequence: int = 0
) -> bytes:
    """The body to PUT for a local appointment; raises InvalidCalendarData when none can be made.

    ``uid`` is the upstream UID of the ledger, ``now`` (aware) becomes DTSTAMP and LAST-MODIFIED,
    ``zone`` is the principal's: floating times are pinned to it. Overrides stay in the same body.
    """
    calendar = read_calendar(unfold(body), full=True)
    events = [part for part in calendar.components if part.name == "VEVENT"]
    if not events:
        raise InvalidCalendarData("Only events can be written to iCloud.")
    latest = int(now.timestamp()) + 50 * 366 * DAY
    zones = object_zones(calendar.zone_blocks, zone, latest, Budget(2.0))
    writer = _Writer(zones, BusyRules(zone), uid, now, sequence)
    lines: list[str] = []
    for part in sorted(events, key=lambda part: "RECURRENCE-ID" in part.properties):
        lines += writer.event(part)
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{PRODID}", "CALSCALE:GREGORIAN"]
    whole = [*head, *writer.zone_lines(), *lines, "END:VCALENDAR"]
    return b"".join(map(fold, whole))


class _Writer:
    """Writes VEVENTs and remembers which zones, in which years, they need."""

    def __init__(
        self, zones: ZoneTable, rules: BusyRules, uid: str, now: datetime, sequence: int
    ) -> None:
        self._zones = zones
        self._rules = rules
        self._uid = uid
        self._now = now.astimezone(UTC)
        self._sequence = sequence
        self._needed: dict[str, tuple[ZoneInfo, int, int]] = {}

    def zone_lines(self) -> Iterator[str]:
        """The VTIMEZONEs of every TZID that was written."""
        for tzid, (info, first, last) in self._needed.items():
            yield from write_vtimezone(info, tzid, first, last)

    def event(self, part: Component) -> Iterator[str]:
        """One VEVENT, master or override."""
        event = self._read(part)
        stamp = self._now.strftime("%Y%m%dT%H%M%SZ")
        yield "BEGIN:VEVENT"
        yield f"UID:{self._uid}"
        yield f"DTSTAMP:{stamp}"
        yield f"CREATED:{_utc_or(part.text('CREATED'), stamp)}"
        yield f"LAST-MODIFIED:{stamp}"
        yield f"SEQUENCE:{max(self._sequence, _number(part.text('SEQUENCE')))}"
        yield from self._times(event)
        yield from self._recurrence(event)
        for name in _TEXTS:
            text = unescape_text(part.text(name))
            if name == "DESCRIPTION":
                text = strip_html(text)
            if text.strip():
                yield f"{name}:{escape_text(text)}"
        status = part.text("STATUS").upper()
        yield f"STATUS:{status if status in _STATUSES else 'CONFIRMED'}"
        transparent = part.text("TRANSP").upper() == "TRANSPARENT"
        yield f"TRANSP:{'TRANSPARENT' if transparent else 'OPAQUE'}"
        for name in _KEPT_AS_IS:
            prop = part.first(name)
            if prop is not None:
                yield prop.line()
        yield "END:VEVENT"

    def _read(self, part: Component) -> Event:
        try:
            event = read_event(part, self._zones, self._rules)
        except UnreadableError as error:
            raise InvalidCalendarData(f"The event cannot be written to iCloud: {error}.") from None
        wrong = event.doubt or event.broken_tail
        if wrong:
            detail = next((d for code, d in event.notes if code == wrong), wrong)
            raise InvalidCalendarData(f"The event cannot be written to iCloud: {detail}.")
        return event

    # -- times ---------------------------------------------------------------------------------

    def _times(self, event: Event) -> Iterator[str]:
        if event.all_day:
            days = event.length.days
            yield f"DTSTART;VALUE=DATE:{format_moment(event.start, date_only=True)}"
            yield f"DTEND;VALUE=DATE:{format_moment(event.start + days * DAY, date_only=True)}"
            return
        end = event.end_of(event.start)
        yield self._stamp("DTSTART", event, event.start_of(event.start), event.recurring)
        yield self._stamp("DTEND", event, end, event.recurring)

    def _stamp(self, name: str, event: Event, instant: int, recurring: bool) -> str:
        """A time in the event's zone; one in UTC stays UTC, in a series with a TZID of its own."""
        zone = event.zone
        if isinstance(zone, IanaZone):
            self._need(zone.info, zone.name, instant)
            return f"{name};TZID={zone.name}:{format_moment(zone.to_wall(instant))}"
        if recurring:
            self._need(ZoneInfo("UTC"), "UTC", instant)
            return f"{name};TZID=UTC:{format_moment(instant)}"
        return f"{name}:{format_moment(instant, utc=True)}"

    def _need(self, info: ZoneInfo, tzid: str, instant: int) -> None:
        year = date_of(instant // DAY).year
        _, first, last = self._needed.get(tzid, (info, year, year))
        self._needed[tzid] = (info, min(first, year), max(last, year))

    def _recurrence(self, event: Event) -> Iterator[str]:
        for rule, prop in zip(event.rules, event.component.all("RRULE"), strict=True):
            yield f"RRULE:{rule_text(prop.value, rule, event)}"
        for moment in event.exdates:
            yield self._date("EXDATE", event, moment)
        for item in event.rdates:
            if isinstance(item, Period):
                raise InvalidCalendarData("An RDATE with a period cannot be written to iCloud.")
            yield self._date("RDATE", event, item)
        if event.recurrence_id is not None:
            ranged = ";RANGE=THISANDFUTURE" if event.this_and_future else ""
            yield self._date("RECURRENCE-ID", event, event.recurrence_id, ranged)

    def _date(self, name: str, event: Event, moment: Moment, more: str = "") -> str:
        """One EXDATE, RDATE or RECURRENCE-ID, in the form of DTSTART."""
        if moment.form is Form.DATE:
            return f"{name}{more};VALUE=DATE:{format_moment(moment.wall, date_only=True)}"
        zone: Zone | None = event.zone
        if moment.form is Form.ZONED:
            zone = self._zones.find(moment.tzid or "")
        if zone is None:
            raise InvalidCalendarData(f"{name} is in an unknown time zone.")
        instant = moment.wall if moment.form is Form.UTC else zone.to_utc(moment.wall)
        recurring = event.recurring or event.recurrence_id is not None
        return self._stamp(name + more, event, instant, recurring)


def rule_text(value: str, rule: Rule, event: Event) -> str:
    """An RRULE as iCloud wants it: upper case, BYDAY in weekly rules, UNTIL in the form of DTSTART.

    A weekly rule without BYDAY is accepted by iCloud and then silently loses its repetition.
    """
    if rule.until is not None and rule.count is not None:
        raise InvalidCalendarData("A recurrence rule may have COUNT or UNTIL, not both.")
    parts = []
    for item in value.upper().split(";"):
        name, _, text = item.strip().partition("=")
        if not name or name in ("UNTIL", "RSCALE", "SKIP"):
            continue
        if name == "COUNT" and rule.count is None:
            continue
        parts.append(f"{name}={text.strip()}")
    if rule.until is not None:
        parts.append(f"UNTIL={_until_text(rule.until, event)}")
    if rule.freq == "WEEKLY" and not rule.byday:
        parts.append(f"BYDAY={WEEKDAYS[date_of(event.start // DAY).weekday()]}")
    return ";".join(parts)


def _until_text(until: Moment, event: Event) -> str:
    """UNTIL is a DATE for an all-day series, else UTC (RFC 5545 3.3.10)."""
    if event.all_day:
        wall = until.wall
        if until.form is Form.UTC and wall % DAY:
            wall = event.zone.to_wall(wall)
        return format_moment(wall, date_only=True)
    if until.form is Form.UTC:
        return format_moment(until.wall, utc=True)
    wall = until.wall + (DAY - 1 if until.form is Form.DATE else 0)
    return format_moment(event.zone.to_utc(wall), utc=True)


def _utc_or(value: str, otherwise: str) -> str:
    return value if len(value) == 16 and value.endswith("Z") else otherwise


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def has_guests(body: bytes) -> bool:
    """Whether a body carries an ATTENDEE: iCloud would mail them on a PUT or DELETE."""
    calendar = read_calendar(unfold(body))
    return any(part.all("ATTENDEE") for part in calendar.components)
