"""What of a mirrored event is stored and served (R10): times yes, other people no.

Works on content lines, so that everything not named here stays as iCloud wrote it (recurrence,
zones, properties we do not know). The output is strict iCalendar even where the input was odd.
"""

from typing import Literal

from gateway.core.ical.document import Component, new_calendar, new_component, write
from gateway.core.ical.lines import Property, unfold
from gateway.core.ical.reader import RawCalendar, read_calendar
from gateway.core.recurrence.transparency import is_own_address, normal_address

Detail = Literal["full", "busy"]

PEOPLE = frozenset(
    {
        "ATTENDEE",
        "ORGANIZER",
        "ATTACH",
        "CONTACT",
        "REQUEST-STATUS",
        "X-CALENDARSERVER-ATTENDEE-COMMENT",
        "X-CALENDARSERVER-PRIVATE-COMMENT",
        "X-MS-OLK-SENDER",
    }
)
"""Properties that name other people or carry their files; never served."""

_PEOPLE_WORDS = ("ATTENDEE", "ORGANIZER", "INVITEE", "SENDER")

TIME_ONLY = frozenset(
    {
        "UID",
        "DTSTAMP",
        "DTSTART",
        "DTEND",
        "DUE",
        "DURATION",
        "RRULE",
        "RDATE",
        "EXDATE",
        "EXRULE",
        "RECURRENCE-ID",
        "SEQUENCE",
        "CREATED",
        "LAST-MODIFIED",
        "STATUS",
        "TRANSP",
        "CLASS",
        "COMPLETED",
        "PERCENT-COMPLETE",
        "FREEBUSY",
        "X-APPLE-TRAVEL-DURATION",
        "X-APPLE-TRAVEL-RETURN-DURATION",
        "X-MICROSOFT-CDO-BUSYSTATUS",
        "X-MICROSOFT-CDO-ALLDAYEVENT",
    }
)
"""All that is left of a component at the detail ``busy``."""

_SUMMARY_LEVEL = TIME_ONLY | {"SUMMARY", "LOCATION"}
_LEVELS = {
    "PUBLIC": None,
    "RESTRICTED": _SUMMARY_LEVEL,
    "CONFIDENTIAL": TIME_ONLY,
    "PRIVATE": TIME_ONLY,
}
_ONCE = frozenset({"DTSTAMP", "UID", "DTSTART", "DTEND", "DURATION", "SEQUENCE", "SUMMARY"})
"""Properties that some writers repeat although RFC 5545 forbids it; the first one stands."""


def serve_mirrored(
    body: bytes, owner_addresses: frozenset[str], *, detail: Detail = "full"
) -> bytes:
    """Return the body of a mirrored object as we store and serve it.

    ``owner_addresses`` are lower case without ``mailto:``; the owner's own ATTENDEE stays, reduced
    to address and PARTSTAT. ``X-CALENDARSERVER-ACCESS`` lowers the detail to what it allows: the
    access levels of Apple's caldav-privateevents. Never raises; CRLF, folded, UTF-8.
    """
    calendar = read_calendar(unfold(body), full=True)
    allowed = _allowed(calendar, detail)
    served = _frame(calendar)
    served.keep(*calendar.zones())
    served.keep(*(_component(one, owner_addresses, allowed) for one in calendar.components))
    return write(served, strict=True)


def _allowed(calendar: RawCalendar, detail: Detail) -> frozenset[str] | None:
    """Return the properties that may stay, or None for all but people."""
    if detail == "busy":
        return TIME_ONLY
    access = calendar.header.get("X-CALENDARSERVER-ACCESS")
    return _LEVELS.get(access.value.strip().upper(), TIME_ONLY) if access else None


def _frame(calendar: RawCalendar) -> Component:
    """VCALENDAR with VERSION and PRODID whatever the input had; no METHOD (RFC 4791 4.1)."""
    names = ("CALSCALE", "X-CALENDARSERVER-ACCESS")
    kept = (calendar.header[name] for name in names if name in calendar.header)
    return new_calendar(*kept, product=calendar.header.get("PRODID"))


def _component(
    component: Component, owner_addresses: frozenset[str], allowed: frozenset[str] | None
) -> Component:
    """One component without people, alarms and whatever else it nested."""
    served = new_component(component.name)
    for name, properties in component.properties.items():
        if _may_stay(name, allowed):
            served.keep(*(properties[:1] if name in _ONCE else properties))
    if "DTSTAMP" not in component.properties:
        served.keep(Property("DTSTAMP", "", _some_stamp(component)))
    if allowed is TIME_ONLY and component.name != "VFREEBUSY":
        served.keep(Property("SUMMARY", "", "Busy"))
    served.keep(*_own_attendance(component, owner_addresses))
    return served


def _may_stay(name: str, allowed: frozenset[str] | None) -> bool:
    if name in PEOPLE or (name[:2] == "X-" and any(word in name for word in _PEOPLE_WORDS)):
        return False
    return allowed is None or name in allowed or name.startswith("X-GATEWAY-")


def _own_attendance(component: Component, owner_addresses: frozenset[str]) -> list[Property]:
    """Return the owner's answer; an organiser's open answer is written as ACCEPTED.

    Without the ORGANIZER line his unanswered ATTENDEE would read as an open invitation, although
    an organiser attends his own event.
    """
    organizer = component.first("ORGANIZER")
    organizes = organizer is not None and is_own_address(organizer, owner_addresses)
    found = []
    for prop in component.all("ATTENDEE"):
        if not is_own_address(prop, owner_addresses):
            continue
        answer = (prop.parameter("PARTSTAT") or "NEEDS-ACTION").upper()
        if organizes and answer == "NEEDS-ACTION":
            answer = "ACCEPTED"
        email = prop.parameter("EMAIL")
        address = prop.value.strip()
        if normal_address(address) not in owner_addresses and email:
            address = f"mailto:{normal_address(email)}"
        found.append(Property("ATTENDEE", f";PARTSTAT={answer}", address))
    return found


def _some_stamp(component: Component) -> str:
    """Return a DTSTAMP for a component that lost its own: a time it carries, else the epoch."""
    for name in ("LAST-MODIFIED", "CREATED"):
        value = component.text(name)
        if value.endswith("Z"):
            return value
    return "19700101T000000Z"
