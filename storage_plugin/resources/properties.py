"""Live and dead properties of the four kinds of resources, each written in one place.

A property is a function from a resource to inner XML, None where the resource has none (404).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from gateway.settings import Settings
from gateway.store.access.principals import Principal, get_principal
from gateway.store.booking.bookings import owner_addresses
from gateway.store.engine import Session
from gateway.store.objects.collections import Collection, mirror_orders
from storage_plugin.http.effort import Effort
from storage_plugin.http.multistatus import element, href, text
from storage_plugin.resources.calendars import TRANSPARENCY
from storage_plugin.resources.etags import ctag_of, http_date, quoted, token_of
from storage_plugin.resources.find import OUTBOX_NAME, Resource
from storage_plugin.resources.working_hours import TAGS, read_property

D, C, CS = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}", "{http://calendarserver.org/ns/}"
A = "{http://apple.com/ns/ical/}"

CALENDAR_DATA = f"{C}calendar-data"
ORDER = f"{A}calendar-order"
COLOR = f"{A}calendar-color"
PLATFORM_COLOR = "#0E61B9FF"
"""What ``platform/`` has until somebody colours it; clients paint an uncoloured one at random."""

MAX_NAMES = 256
MAX_NAMES_LENGTH = 16 * 1024
DEAR = 16
"""How many properties, of how many letters together, clients name; more of them count so often."""

_MAIL = re.compile(r"[^\s/:@]+@[^\s/:@]+")
_READ = ("<read/>", "<read-current-user-privilege-set/>", "<C:read-free-busy/>")
_WRITE = ("<write/>", "<write-content/>", "<write-properties/>", "<bind/>", "<unbind/>")
_CALENDAR_REPORTS = (
    "<C:calendar-query/>",
    "<C:calendar-multiget/>",
    "<C:free-busy-query/>",
    "<sync-collection/>",
)


@dataclass
class Viewer:
    """Who asks, and what properties need beside the resource itself."""

    principal_id: str
    base_prefix: str
    settings: Settings
    session: Callable[[], Session]
    _dead: dict[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def principal(self) -> Principal:
        """The principal, read once and only when a property wants it."""
        return get_principal(self.session(), self.principal_id)

    @cached_property
    def addresses(self) -> list[str]:
        """The person's mail addresses: the one given here, then those of the iCloud account."""
        given = self.principal.email or ""
        known = owner_addresses(self.session(), self.principal_id)
        return [a for a in (given, *sorted(known - {given.casefold()})) if _MAIL.fullmatch(a)]

    @cached_property
    def orders(self) -> Mapping[str, int]:
        """The places iCloud gives the mirrored calendars, by collection; read once, if at all."""
        return mirror_orders(self.session(), self.principal_id)

    def dead(self, row: Collection) -> Mapping[str, str]:
        """Return the dead properties of a calendar by Clark name, read once in a request."""
        if row.id not in self._dead:
            self._dead[row.id] = {clark(key): value for key, value in row.properties.items()}
        return self._dead[row.id]

    def link(self, path: str) -> str:
        """Write an href element of a path on this server."""
        return f"<href>{href(self.base_prefix + path)}</href>"

    @property
    def home(self) -> str:
        """The path of the principal, which is its calendar home."""
        return f"/{self.principal_id}/"


Property = Callable[[Resource, Viewer], str | None]


_PREFIXES = {
    "C": C,
    "CS": CS,
    "D": D,
    "ICAL": A,
    "CR": "{urn:ietf:params:xml:ns:carddav}",
    "ME": "{http://me.com/_namespace/}",
    "RADICALE": "{http://radicale.org/ns/}",
}
"""In which properties were stored once, and are by mirrors."""


def clark(name: str) -> str:
    """Return a property name in Clark notation; one without any namespace stays as it is."""
    prefix, colon, local = name.partition(":")
    if name.startswith("{") or not colon:
        return name
    return f"{_PREFIXES.get(prefix, '{}')}{local}"


def asked(props: Iterable[Any]) -> list[str]:
    """Return the properties that elements name, each once."""
    return list(dict.fromkeys(prop.tag for prop in props))


def count_missing(effort: Effort, tags: Sequence[str], missing: Sequence[str]) -> None:
    """Count what is told of properties a resource has not; raises 507 when that is too much.

    Every member is told of each. Somebody who names more than any client does pays many times.
    """
    size = sum(map(len, missing))
    is_dear = len(tags) > MAX_NAMES or size > MAX_NAMES_LENGTH
    effort.tick(DEAR * size if is_dear else size)


def write_properties(
    resource: Resource, viewer: Viewer, tags: Iterable[str]
) -> tuple[str, list[str]]:
    """Return the written properties and the tags of those the resource has not."""
    found: list[str] = []
    missing: list[str] = []
    for tag in tags:
        live = LIVE.get(tag)
        inner = live(resource, viewer) if live is not None else _dead(resource, viewer, tag)
        if inner is None:
            missing.append(tag)
        else:
            found.append(element(tag, inner))
    return "".join(found), missing


def all_tags(resource: Resource, viewer: Viewer) -> list[str]:
    """Return what ``allprop`` means: the properties of RFC 4918 and the dead ones."""
    if resource.kind != "calendar" or resource.row is None:
        return list(_ALLPROP)
    return [*_ALLPROP, *viewer.dead(resource.row)]


def names_of(resource: Resource, viewer: Viewer) -> list[str]:
    """Return what ``propname`` lists."""
    tags = dict.fromkeys([*LIVE, *all_tags(resource, viewer)])
    missing = set(write_properties(resource, viewer, tags)[1])
    return [tag for tag in tags if tag not in missing]


def _dead(resource: Resource, viewer: Viewer, tag: str) -> str | None:
    if resource.kind != "calendar" or resource.row is None:
        return None
    value = viewer.dead(resource.row).get(tag)
    if value is None and tag == COLOR and resource.row.kind == "platform":
        value = PLATFORM_COLOR
    if value is None and tag == ORDER and resource.row.kind == "mirror":
        place = viewer.orders.get(resource.row.id)
        value = None if place is None else str(place)
    return None if value is None else text(value)


# --- live properties ---


def _resource_type(resource: Resource, _viewer: Viewer) -> str:
    return {
        "root": "<collection/>",
        "home": "<collection/><principal/>",
        "outbox": "<collection/><C:schedule-outbox/>",
        "calendar": "<collection/><C:calendar/>",
        "object": "",
    }[resource.kind]


def _display_name(resource: Resource, viewer: Viewer) -> str | None:
    if resource.kind == "calendar" and resource.row is not None:
        return text(resource.row.display_name)
    return text(viewer.principal.name) if resource.kind == "home" else None


def _privileges(resource: Resource, viewer: Viewer) -> str:
    """Return what this login may really do here (RFC 3744 5.4)."""
    row = resource.row
    may: tuple[str, ...]
    if resource.kind == "outbox":
        may = (*_READ[:2], "<C:schedule-send/>", "<C:schedule-send-freebusy/>")
    elif row is None:
        may = _READ if resource.kind == "home" else _READ[:2]
        if resource.kind == "home" and viewer.settings.local_calendars:
            may = (*may, "<bind/>", "<unbind/>")
    elif row.kind == "mirror":
        may = _READ
    else:
        may = (*_READ, *_WRITE)
    return "".join(f"<privilege>{privilege}</privilege>" for privilege in may)


def _reports(resource: Resource, _viewer: Viewer) -> str:
    known: tuple[str, ...] = ("<expand-property/>", "<principal-property-search/>")
    known = (*known, "<principal-search-property-set/>")
    if resource.kind == "calendar":
        known = (*known, *_CALENDAR_REPORTS)
    elif resource.kind == "home":
        known = (*known, "<C:free-busy-query/>")
    return "".join(
        f"<supported-report><report>{report}</report></supported-report>" for report in known
    )


def _addresses(resource: Resource, viewer: Viewer) -> str | None:
    if resource.kind != "home":
        return None
    mails = "".join(f"<href>{text(f'mailto:{address}')}</href>" for address in viewer.addresses)
    return mails + viewer.link(viewer.home)


def _mail_addresses(viewer: Viewer) -> str:
    return "".join(
        f"<CS:email-address>{text(address)}</CS:email-address>" for address in viewer.addresses
    )


def _components(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.row is None or resource.kind != "calendar":
        return None
    return "".join(f'<C:comp name="{name}"/>' for name in resource.row.components)


def _etag(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.member is not None:
        return text(quoted(resource.member.etag))
    return _ctag(resource, _viewer)


def _ctag(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.kind != "calendar" or resource.row is None:
        return None
    return ctag_of(resource.row)


def _sync_token(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.kind != "calendar" or resource.row is None:
        return None
    return token_of(resource.row)


def _modified(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.member is not None:
        return http_date(resource.member.updated_at)
    return http_date(resource.row.updated_at) if resource.row is not None else None


def _created(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.member is None:
        return None
    at = datetime.fromtimestamp(resource.member.created_at, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _content_type(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.member is not None:
        return f"text/calendar;charset=utf-8;component={resource.member.component}"
    return "text/calendar" if resource.kind == "calendar" else None


def _length(resource: Resource, _viewer: Viewer) -> str | None:
    return str(resource.member.size) if resource.member is not None else None


def _transparency(resource: Resource, _viewer: Viewer) -> str | None:
    if resource.row is None or resource.kind != "calendar":
        return None
    return "<C:transparent/>" if resource.row.transparent else "<C:opaque/>"


def _calendar_only(inner: str) -> Property:
    return lambda resource, _viewer: inner if resource.kind == "calendar" else None


def _home_only(written: Callable[[Viewer], str]) -> Property:
    return lambda resource, viewer: written(viewer) if resource.kind == "home" else None


def _working_hours(resource: Resource, viewer: Viewer) -> str | None:
    if resource.kind != "home":
        return None
    found = read_property(viewer.session(), viewer.principal_id)
    return None if found is None else text(found)


LIVE: dict[str, Property] = {
    **dict.fromkeys(TAGS, _working_hours),
    f"{D}resourcetype": _resource_type,
    f"{D}displayname": _display_name,
    f"{D}getetag": _etag,
    f"{D}getlastmodified": _modified,
    f"{D}getcontenttype": _content_type,
    f"{D}getcontentlength": _length,
    f"{D}creationdate": _created,
    f"{D}sync-token": _sync_token,
    f"{D}current-user-principal": lambda _r, viewer: viewer.link(viewer.home),
    f"{D}current-user-privilege-set": _privileges,
    f"{D}principal-URL": _home_only(lambda viewer: viewer.link(viewer.home)),
    f"{D}principal-collection-set": lambda _r, viewer: viewer.link("/"),
    f"{D}owner": lambda r, viewer: None if r.kind == "root" else viewer.link(viewer.home),
    f"{D}supported-report-set": _reports,
    f"{CS}getctag": _ctag,
    f"{C}calendar-home-set": _home_only(lambda viewer: viewer.link(viewer.home)),
    f"{C}schedule-outbox-URL": _home_only(
        lambda viewer: viewer.link(f"{viewer.home}{OUTBOX_NAME}/")
    ),
    f"{C}calendar-user-address-set": _addresses,
    f"{CS}email-address-set": _home_only(_mail_addresses),
    f"{D}group-membership": _home_only(lambda _viewer: ""),
    f"{C}calendar-user-type": _home_only(lambda _viewer: "INDIVIDUAL"),
    f"{C}supported-calendar-component-set": _components,
    f"{C}supported-calendar-data": _calendar_only(
        '<C:calendar-data content-type="text/calendar" version="2.0"/>'
    ),
    f"{C}supported-collation-set": _calendar_only(
        "<C:supported-collation>i;ascii-casemap</C:supported-collation>"
        "<C:supported-collation>i;octet</C:supported-collation>"
        "<C:supported-collation>i;unicode-casemap</C:supported-collation>"
    ),
    f"{C}max-resource-size": lambda r, viewer: (
        str(viewer.settings.max_resource_size) if r.kind == "calendar" else None
    ),
    TRANSPARENCY: _transparency,
}

_ALLPROP = (
    f"{D}resourcetype",
    f"{D}displayname",
    f"{D}creationdate",
    f"{D}getetag",
    f"{D}getlastmodified",
    f"{D}getcontenttype",
    f"{D}getcontentlength",
)
