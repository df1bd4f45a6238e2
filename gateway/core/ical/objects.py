"""Calendar objects: what a client or iCloud may store under one name (RFC 4791 4.1)."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.document import OBJECT_COMPONENTS, Component
from gateway.core.ical.lines import Property, unfold
from gateway.core.ical.reader import TEXTS, RawCalendar, read_calendar
from gateway.core.ical.rules import parse_rule
from gateway.core.ical.values import moment_of, moments_of, parse_duration

MAX_BODY = 20 * 1024 * 1024
"""Bytes; what iCloud allows with attachments."""

_UID_LINE = re.compile(r"^[ \t]*UID[ \t]*(?:;[^:\n]*)?:([^\n]*)", re.MULTILINE | re.IGNORECASE)

_READERS: dict[str, Callable[[Property], object]] = {
    "DTSTART": moment_of,
    "DTEND": moment_of,
    "RECURRENCE-ID": moment_of,
    "RDATE": moments_of,
    "EXDATE": moments_of,
    "FREEBUSY": moments_of,
    "DURATION": lambda prop: parse_duration(prop.value),
    "RRULE": lambda prop: parse_rule(prop.value),
}


@dataclass(frozen=True, slots=True)
class CalendarObject:
    """A checked calendar object: ``component`` is VEVENT, VTODO, ...; ``etag`` is quoted.

    ``calendar`` is what was read of it: times, and the texts a write looks at.
    """

    uid: str
    component: str
    body: bytes
    etag: str
    calendar: RawCalendar = field(compare=False, repr=False)

    @property
    def master(self) -> Component:
        """The component without RECURRENCE-ID, or the first when there are overrides only."""
        parts = self.calendar.components
        return next((part for part in parts if part.first("RECURRENCE-ID") is None), parts[0])


def etag_of(body: bytes) -> str:
    """Return the strong etag of a body as we serve it: a quoted, shortened SHA-256."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def parse_calendar_object(body: bytes) -> CalendarObject:
    """Check a body against RFC 4791 4.1; raises InvalidCalendarData with a sentence for a person.

    One VCALENDAR, one component type beside VTIMEZONE, one UID, at most one master, times that can
    be read. A METHOD is forgiven (some clients leave it in); it is not ours to reject mail by.
    """
    if len(body) > MAX_BODY:
        raise InvalidCalendarData("The calendar object is larger than 20 MB.")
    calendar = read_calendar(unfold(body), texts=True)
    if not calendar.has_calendar:
        raise InvalidCalendarData("The body is not iCalendar: there is no BEGIN:VCALENDAR.")
    uid, component = _identity(calendar)
    for part in calendar.components:
        _check_component(part)
    return CalendarObject(uid, component, body, etag_of(body), calendar)


def _identity(calendar: RawCalendar) -> tuple[str, str]:
    if not calendar.components:
        raise InvalidCalendarData(
            f"The calendar object holds none of {', '.join(OBJECT_COMPONENTS[:4])}."
        )
    names = {part.name for part in calendar.components}
    if len(names) > 1:
        raise InvalidCalendarData(
            f"One calendar object holds one kind of component, not {' and '.join(sorted(names))}."
        )
    uids = {part.text("UID") for part in calendar.components}
    if "" in uids:
        raise InvalidCalendarData("A component has no UID.")
    if len(uids) > 1:
        raise InvalidCalendarData("The components of one calendar object must share one UID.")
    masters = [part for part in calendar.components if "RECURRENCE-ID" not in part.properties]
    if len(masters) > 1:
        raise InvalidCalendarData("There are two components without RECURRENCE-ID for one UID.")
    return uids.pop(), names.pop()


def _check_component(part: Component) -> None:
    if not part.closed:
        raise InvalidCalendarData(f"The body ends before END:{part.name}.")
    broken = part.broken.keys() - set(TEXTS)  # those are prose, whatever their form
    if broken:
        raise InvalidCalendarData(f"{min(broken)} is not a property line.")
    if part.name == "VEVENT" and "DTSTART" not in part.properties:
        raise InvalidCalendarData("An event has no DTSTART.")
    for name in ("DTSTART", "DTEND", "DURATION"):  # of those that differ a mirror would keep one
        if len({prop.line() for prop in part.all(name)}) > 1:
            raise InvalidCalendarData(f"An event has several {name}s that differ.")
    for name, read in _READERS.items():
        for prop in part.all(name):
            try:
                read(prop)
            except (ValueError, OverflowError) as error:
                raise InvalidCalendarData(f"{name} cannot be read: {error}.") from None


def peek_uid(body: bytes) -> str | None:
    """Return the first UID in a body, without reading the rest; None when there is none."""
    match = _UID_LINE.search(unfold(body))
    uid = match[1].strip() if match else ""
    return uid or None
