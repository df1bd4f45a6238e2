"""Local calendars (R18): made, changed and deleted by devices; and properties of collections.

Properties are kept under their Clark name. What a client may change is a short list; everything
else of the protected kind is refused per property, because macOS stops syncing a calendar whose
PROPPATCH is answered by a bare 403.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from xml.etree import ElementTree

from gateway.core.ical.document import parse
from gateway.core.subscriptions import has_subscription_scheme
from gateway.settings import Settings
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import (
    Collection,
    create_collection,
    find_collection,
    get_collection,
    list_collections,
    update_collection,
)
from gateway.store.objects.objects import bump_generation
from gateway.store.operations.erasing import retire_collections
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
MAX_LOCAL_CALENDARS = 100
MAX_PROPERTY_SIZE = 64 * 1024
MAX_PROPERTIES_SIZE = 256 * 1024
MAX_PROPERTIES = 200
"""All kept properties of one calendar: every look at a home reads them."""

_SUBSCRIPTION_HOSTS = ("calendarserver.org", "apple.com")
_OBSERVANCES = ("STANDARD", "DAYLIGHT")
_TEXTS = (DISPLAY_NAME, f"{_C}calendar-description")


@dataclass
class Wanted:
    """What MKCALENDAR, extended MKCOL or PROPPATCH wants a collection to have."""

    display_name: str | None = None
    transparent: bool | None = None
    components: tuple[str, ...] | None = None
    is_calendar: bool = False
    is_other: bool = False
    dead: dict[str, str | None] = field(default_factory=dict)


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
    wanted = Wanted()
    for is_set, element in props:
        tag = element.tag
        if tag == DISPLAY_NAME:
            wanted.display_name = (element.text or "") if is_set else ""
        elif tag == TRANSPARENCY:
            wanted.transparent = is_set and element.find(f"{_C}transparent") is not None
        elif tag == COMPONENT_SET:
            wanted.components = tuple(
                (child.get("name") or "").upper() for child in element if child.tag == f"{_C}comp"
            )
        elif tag == RESOURCE_TYPE:
            wanted.is_calendar = element.find(f"{_C}calendar") is not None
            wanted.is_other = any(
                child.tag not in (f"{_C}calendar", f"{_D}collection") for child in element
            )
        else:
            wanted.dead[tag] = _value(element) if is_set else None
    return wanted


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


def make_local_calendar(session: Session, principal_id: str, name: str, wanted: Wanted) -> None:
    """Make a local calendar; raises :class:`DavError` where none may be."""
    components = wanted.components if wanted.components is not None else COMPONENTS
    if not components or any(component not in COMPONENTS for component in components):
        raise DavError(
            HTTPStatus.FORBIDDEN,
            "<C:supported-calendar-component/>",
            f"A calendar can hold {', '.join(COMPONENTS)}.",
        )
    lock_principal(session, principal_id)
    _check_room(session, principal_id, name)
    create_collection(
        session,
        principal_id=principal_id,
        name=name,
        kind="local",
        display_name=wanted.display_name or name,
        properties=_kept(wanted.dead),
        components=components,
        transparent=bool(wanted.transparent),
        now=int(time.time()),
    )
    bump_generation(session, principal_id)


def change_calendar(session: Session, row: Collection, wanted: Wanted) -> None:
    """Write the properties a client may change."""
    lock_principal(session, row.principal_id)
    fresh = get_collection(session, row.id)
    dead: Mapping[str, str | None] = {**fresh.properties, **wanted.dead}
    transparent = fresh.transparent if wanted.transparent is None else wanted.transparent
    name = fresh.display_name if wanted.display_name is None else wanted.display_name
    update_collection(
        session,
        row.id,
        display_name=name or row.name,
        properties=_kept(dead, before=fresh.properties),
        transparent=transparent,
        now=int(time.time()),
    )
    if transparent != fresh.transparent:
        bump_generation(session, row.principal_id)


def delete_local_calendar(
    session: Session, principal_id: str, name: str, check: Callable[[Collection | None], None]
) -> None:
    """Delete a local calendar with all its members; the others cannot be deleted (R18)."""
    lock_principal(session, principal_id)
    row = find_collection(session, principal_id, name)
    check(row)
    if row is None or row.kind != "local":
        raise need_privileges(
            f"/{principal_id}/",
            "unbind",
            "This calendar belongs to the gateway and cannot be deleted; hide it in the app.",
        )
    retire_collections(session, [row.id])
    bump_generation(session, principal_id)


def _check_room(session: Session, principal_id: str, name: str) -> None:
    if find_collection(session, principal_id, name) is not None:
        raise DavError(
            HTTPStatus.CONFLICT, "<resource-must-be-null/>", "There is something at this address."
        )
    if len(list_collections(session, principal_id)) >= MAX_LOCAL_CALENDARS:
        raise DavError(
            HTTPStatus.INSUFFICIENT_STORAGE,
            "<quota-not-exceeded/>",
            "There are too many calendars.",
        )


def _kept(
    dead: Mapping[str, str | None], *, before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the properties that have a value; raises 507 when they are too many or too large.

    A calendar that has more of them from earlier may always lose some.
    """
    kept = {tag: text for tag, text in dead.items() if text is not None}
    before = before or {}
    is_many = len(kept) > max(MAX_PROPERTIES, len(before))
    if is_many or _size(kept) > max(MAX_PROPERTIES_SIZE, _size(before)):
        raise DavError(
            HTTPStatus.INSUFFICIENT_STORAGE,
            "<quota-not-exceeded/>",
            "The properties of this calendar are too many, or too large together.",
        )
    return kept


def _size(properties: Mapping[str, str]) -> int:
    return sum(len(tag) + len(text) for tag, text in properties.items())


def _value(element: Any) -> str:
    """Return the text of a property, or its whole content as XML when it has children."""
    has_children = len(element) > 0
    text = ElementTree.tostring(element, encoding="unicode") if has_children else element.text or ""
    if len(text) > MAX_PROPERTY_SIZE:
        raise DavError(HTTPStatus.INSUFFICIENT_STORAGE, "", "A property is too large.")
    return text
