"""What clients ask of a calendar by MKCALENDAR, extended MKCOL and PROPPATCH (R18): read, judged.

It is written by :mod:`gateway.services.local_calendars`. Properties are kept under their Clark
name. What a client may change is a short list; everything else of the protected kind is refused
per property, because macOS stops syncing a calendar whose PROPPATCH is answered by a bare 403.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from xml.etree import ElementTree

from gateway.core.ical.document import parse
from gateway.core.subscriptions import has_subscription_scheme
from gateway.services.local_calendars import CalendarChange
from gateway.settings import Settings
from storage_plugin.http.errors import DavError, calendar_subscribed, need_privileges

_D, _C = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
DISPLAY_NAME = f"{_D}displayname"
RESOURCE_TYPE = f"{_D}resourcetype"
TRANSPARENCY = f"{_C}schedule-calendar-transp"
COMPONENT_SET = f"{_C}supported-calendar-component-set"
TIME_ZONE = f"{_C}calendar-timezone"
COMPONENTS = ("VEVENT", "VTODO", "VJOURNAL")
MIRROR_PREFIX = "mirror-"
"""Names of mirrors begin so; clients cannot make calendars with such a name."""
RESERVED = ("inbox", "outbox")
MAX_PROPERTY_SIZE = 64 * 1024

_SUBSCRIPTION_HOSTS = ("calendarserver.org", "apple.com")
_OBSERVANCES = ("STANDARD", "DAYLIGHT")
_TEXTS = (DISPLAY_NAME, f"{_C}calendar-description")


@dataclass(frozen=True)
class Wanted:
    """What a body asks for: ``components`` and kind are those of a calendar to be made."""

    change: CalendarChange
    components: tuple[str, ...] | None = None
    is_calendar: bool = False
    is_other: bool = False


def refuse_subscriptions(root: Any) -> None:
    """Raise when a body asks for a subscription in any spelling (R8).

    Apple's elements count under either of its namespaces, however written, and so does a property
    whose value is such an address (``webcal:``, ``feed:``): some clients keep the source under a
    name of their own.
    """
    for element in root.iter():
        tag = str(element.tag).casefold()
        namespace, _, name = tag.rpartition("}")
        is_apples = any(host in namespace for host in _SUBSCRIPTION_HOSTS)
        has_address = element.tag not in _TEXTS and has_subscription_scheme(element.text or "")
        if (name in ("source", "subscribed") and is_apples) or has_address:
            raise calendar_subscribed()


def read_wanted(props: list[tuple[bool, Any]]) -> Wanted:
    """Read (set or remove, property element) pairs in order; protected ones are not looked at."""
    name: str | None = None
    transparent: bool | None = None
    properties: dict[str, str | None] = {}
    components: tuple[str, ...] | None = None
    is_calendar = is_other = False
    for is_set, element in props:
        tag = element.tag
        if tag == DISPLAY_NAME:
            name = (element.text or "") if is_set else ""
        elif tag == TRANSPARENCY:
            transparent = is_set and element.find(f"{_C}transparent") is not None
        elif tag == COMPONENT_SET:
            components = tuple(
                (child.get("name") or "").upper() for child in element if child.tag == f"{_C}comp"
            )
        elif tag == RESOURCE_TYPE:
            is_calendar = element.find(f"{_C}calendar") is not None
            is_other = any(
                child.tag not in (f"{_C}calendar", f"{_D}collection") for child in element
            )
        else:
            properties[tag] = _value(element) if is_set else None
    change = CalendarChange(name, transparent, properties)
    return Wanted(change, components, is_calendar, is_other)


def invalid_values(props: list[tuple[bool, Any]]) -> set[str]:
    """Return the properties whose value cannot be kept: a time zone that is none (RFC 4791 5.2.2).

    A valid one is kept and served back; floating times follow the person's zone all the same.
    """
    return {
        element.tag
        for is_set, element in props
        if is_set and element.tag == TIME_ZONE and not _is_time_zone(element)
    }


def _is_time_zone(element: Any) -> bool:
    """Tell whether a property is a whole iCalendar object with one VTIMEZONE alone, or empty.

    Some clients send the frame without a zone when they know none.
    """
    if len(element):
        return False
    if not (element.text or "").strip():
        return True
    document = parse(element.text.encode("utf-8", "replace"))
    if [(top.name, top.end is None) for top in document.children] != [("VCALENDAR", False)]:
        return False
    parts = document.children[0].children
    if not parts:
        return True
    # RFC 5545 3.6.5: a zone has a name and an observance; one that is empty says nothing.
    zone, observances = parts[0], parts[0].children
    is_whole = zone.end is not None and bool(observances) == ("TZID" in zone.properties)
    known = all(part.name in _OBSERVANCES and part.end is not None for part in observances)
    return len(parts) == 1 and zone.name == "VTIMEZONE" and is_whole and known


def check_can_be_made(name: str, principal_id: str, settings: Settings) -> None:
    """Raise :class:`DavError` where no calendar may be made."""
    path = f"/{principal_id}/"
    if not settings.local_calendars:
        raise need_privileges(path, "bind", "Calendars cannot be made here, only used.")
    if name.startswith((MIRROR_PREFIX, ".")) or name in RESERVED:
        raise need_privileges(path, "bind", "A calendar cannot have this address; take another.")


def components_of(wanted: Wanted) -> tuple[str, ...]:
    """Return what a new calendar is to hold, all kinds by default; raises 403 for others."""
    components = wanted.components if wanted.components is not None else COMPONENTS
    if not components or any(component not in COMPONENTS for component in components):
        raise DavError(
            HTTPStatus.FORBIDDEN,
            "<C:supported-calendar-component/>",
            f"A calendar can hold {', '.join(COMPONENTS)}.",
        )
    return components


def _value(element: Any) -> str:
    """Return the text of a property, or its whole content as XML when it has children."""
    has_children = len(element) > 0
    text = ElementTree.tostring(element, encoding="unicode") if has_children else element.text or ""
    if len(text) > MAX_PROPERTY_SIZE:
        raise DavError(HTTPStatus.INSUFFICIENT_STORAGE, "", "A property is too large.")
    return text
