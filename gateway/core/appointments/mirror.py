"""What of a mirrored event is stored and served (R10): times yes, other people no.

Works on content lines, so that everything not named here stays as iCloud wrote it (recurrence,
zones, properties we do not know). The output is strict iCalendar even where the input was odd.
"""

from collections.abc import Iterator
from typing import Literal

from gateway.core.ical.lines import fold, split_line, unfold
from gateway.core.ical.reader import Component, RawCalendar, read_calendar
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
    """The body of a mirrored object as we store and serve it.

    ``owner_addresses`` are lower case without ``mailto:``; the owner's own ATTENDEE stays, reduced
    to address and PARTSTAT. ``X-CALENDARSERVER-ACCESS`` lowers the detail to what it allows: the
    access levels of Apple's caldav-privateevents. Never raises; CRLF, folded, UTF-8.
    """
    calendar = read_calendar(unfold(body), full=True)
    allowed = _allowed(calendar, detail)
    lines = [*_header(calendar)]
    for block in calendar.zone_blocks.values():
        lines += [prop.line() for line in block.split("\n") if (prop := split_line(line))]
    for component in calendar.components:
        lines += _component(component, owner_addresses, allowed)
    lines.append("END:VCALENDAR")
    return b"".join(map(fold, lines))


def _allowed(calendar: RawCalendar, detail: Detail) -> frozenset[str] | None:
    """The properties that may stay, or None for all but people."""
    if detail == "busy":
        return TIME_ONLY
    access = calendar.header.get("X-CALENDARSERVER-ACCESS")
    return _LEVELS.get(access.value.strip().upper(), TIME_ONLY) if access else None


def _header(calendar: RawCalendar) -> Iterator[str]:
    """VCALENDAR with VERSION and PRODID whatever the input had; no METHOD (RFC 4791 4.1)."""
    yield "BEGIN:VCALENDAR"
    yield "VERSION:2.0"
    product = calendar.header.get("PRODID")
    yield product.line() if product else "PRODID:-//icloud-caldav-gateway//EN"
    for name in ("CALSCALE", "X-CALENDARSERVER-ACCESS"):
        if name in calendar.header:
            yield calendar.header[name].line()


def _component(
    component: Component, owner_addresses: frozenset[str], allowed: frozenset[str] | None
) -> Iterator[str]:
    """One component without people, alarms and whatever else it nested."""
    yield f"BEGIN:{component.name}"
    for name, properties in component.properties.items():
        if _may_stay(name, allowed):
            yield from (prop.line() for prop in properties[: 1 if name in _ONCE else None])
    if "DTSTAMP" not in component.properties:
        yield f"DTSTAMP:{_some_stamp(component)}"
    if allowed is TIME_ONLY and component.name != "VFREEBUSY":
        yield "SUMMARY:Busy"
    yield from _own_attendance(component, owner_addresses)
    yield f"END:{component.name}"


def _may_stay(name: str, allowed: frozenset[str] | None) -> bool:
    if name in PEOPLE or (name[:2] == "X-" and any(word in name for word in _PEOPLE_WORDS)):
        return False
    return allowed is None or name in allowed or name.startswith("X-GATEWAY-")


def _own_attendance(component: Component, owner_addresses: frozenset[str]) -> Iterator[str]:
    """The owner's answer; an organiser's open answer is written as ACCEPTED.

    Without the ORGANIZER line his unanswered ATTENDEE would read as an open invitation, although
    an organiser attends his own event.
    """
    organizer = component.first("ORGANIZER")
    organizes = organizer is not None and is_own_address(organizer, owner_addresses)
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
        yield f"ATTENDEE;PARTSTAT={answer}:{address}"


def _some_stamp(component: Component) -> str:
    """A DTSTAMP for a component that lost its own: a time it does carry, else the epoch."""
    for name in ("LAST-MODIFIED", "CREATED"):
        value = component.text(name)
        if value.endswith("Z"):
            return value
    return "19700101T000000Z"
