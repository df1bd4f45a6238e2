"""Properties: which resource has which, and how each is written.

A property function returns the rendered element, or None for "does not exist", which becomes an
empty element in a 404 propstat.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import quote

from gateway.lookalike.dav import markup as m
from gateway.lookalike.dav.call import Call
from gateway.lookalike.world.accounts import Account, Calendar, Kind
from gateway.lookalike.world.contents import Resource

_SAFE = "!$&'()*+,;=:~"


@dataclass(frozen=True)
class Node:
    """One resource in a PROPFIND answer."""

    kind: str
    href: str
    calendar: Calendar | None = None
    resource: Resource | None = None

    @property
    def cal(self) -> Calendar:
        """The calendar of a node that has one."""
        if self.calendar is None:
            raise LookupError(self.kind)
        return self.calendar


Getter = Callable[[Call, Node], str | None]


def calendar_href(account: Account, calendar: Calendar) -> str:
    """Path of a calendar collection, with its final slash."""
    return f"{account.home_path}{quote(calendar.id, safe=_SAFE)}/"


def resource_href(call: Call, calendar: Calendar, name: str) -> str:
    """Path of a calendar object; ``@`` percent-encoded when that variant is on."""
    safe = _SAFE if call.on("escaped-at") else _SAFE + "@"
    return calendar_href(call.owner, calendar) + quote(name, safe=safe)


def render_node(call: Call, node: Node, wanted: Iterable[str]) -> str:
    """Render one response with the wanted properties, found and missing ones apart."""
    getters = _TABLES[node.kind]
    found, missing = [], []
    for clark in wanted:
        getter = getters.get(clark)
        rendered = getter(call, node) if getter else _extra(node, clark)
        if rendered is None:
            missing.append(m.element(clark))
        else:
            found.append(rendered)
    parts = []
    if found:
        parts.append(m.propstat("".join(found), "HTTP/1.1 200 OK"))
    if missing:
        status = "" if call.on("empty-propstat-status") else "HTTP/1.1 404 Not Found"
        parts.append(m.propstat("".join(missing), status))
    return m.response(node.href, *parts)


def _extra(node: Node, clark: str) -> str | None:
    if node.kind != "calendar" or clark not in node.cal.extra:
        return None
    return node.cal.extra[clark]


# -- whoever asks ------------------------------------------------------------------------------


def _principal(clark: str) -> Getter:
    def render(call: Call, node: Node) -> str | None:
        if node.kind == "calendar" and call.on("no-principal-on-calendar"):
            return None
        return m.element(clark, m.href_element(call.owner.principal_path))

    return render


def _home_set(call: Call, node: Node) -> str:
    absolute = call.on("absolute-home-set")
    href = call.owner.home_url if absolute else call.owner.home_path
    return m.element(m.cal("calendar-home-set"), m.href_element(href))


def _addresses(call: Call, node: Node) -> str:
    account = call.owner
    first = f"<href xmlns=\"DAV:\" preferred='1'>mailto:{m.escape(account.email)}</href>"
    others = [f"mailto:{alias}" for alias in sorted(account.aliases)]
    others += [f"urn:uuid:{account.uuid}", account.principal_path]
    others.append(f"/principals/__uids__/{account.uuid}/")
    inner = first + "".join(m.href_element(href) for href in others)
    return m.element(m.cal("calendar-user-address-set"), inner)


def _email_set(call: Call, node: Node) -> str:
    address = m.text_element(m.cs("email-address"), call.owner.email)
    return m.element(m.cs("email-address-set"), address)


def _scheduling_url(clark: str, calendar_id: str) -> Getter:
    def render(call: Call, node: Node) -> str:
        return m.element(clark, m.href_element(f"{call.owner.home_path}{calendar_id}/"))

    return render


# -- names and types ---------------------------------------------------------------------------


def _display_name(call: Call, node: Node) -> str:
    name = node.cal.name if node.calendar else call.owner.name
    return m.text_element(m.dav("displayname"), name)


def _types_of(call: Call, calendar: Calendar) -> list[str]:
    if calendar.kind == Kind.SUBSCRIBED:
        types = [m.cs("subscribed")]
        return [m.cal("calendar"), *types] if call.on("subscription-with-calendar") else types
    if calendar.kind in (Kind.INBOX, Kind.OUTBOX):
        return [m.cal(f"schedule-{calendar.kind}")]
    if calendar.kind == Kind.NOTIFICATION:
        return [m.cs("notification")]
    types = [m.cal("calendar")]
    if calendar.mode != "owner":
        types.append(m.cs("shared"))
    elif calendar.shared_out:
        types.append(m.cs("shared-owner"))
    return types


def _resource_type(call: Call, node: Node) -> str:
    inner = "<collection/>"
    if node.kind == "principal":
        inner += "<principal/>"
    if node.calendar is not None:
        inner += "".join(m.element(clark) for clark in _types_of(call, node.calendar))
    return m.element(m.dav("resourcetype"), inner)


def _component_set(call: Call, node: Node) -> str | None:
    names = node.cal.components if node.calendar else ("VEVENT", "VTODO", "VFREEBUSY")
    if names is None:
        return None
    inner = "".join(f"<comp name='{name}'/>" for name in names)
    return m.element(m.cal("supported-calendar-component-set"), inner)


# -- change tags -------------------------------------------------------------------------------


def _ctag(call: Call, node: Node) -> str:
    ctag = "" if call.on("null-ctag") else node.cal.contents.ctag
    return m.text_element(m.cs("getctag"), ctag)


def sync_token_of(call: Call, calendar: Calendar) -> str:
    """Return the sync token as this account gets it: opaque, or the text of the ctag."""
    contents = calendar.contents
    return contents.ctag if call.on("token-is-ctag") else contents.sync_token


def _sync_token(call: Call, node: Node) -> str:
    return m.text_element(m.dav("sync-token"), sync_token_of(call, node.cal))


# -- rights and looks --------------------------------------------------------------------------

_WRITE = ("read", "write", "write-properties", "write-content", "bind", "unbind")


def _privileges(call: Call, node: Node) -> str:
    names: tuple[str, ...] = ("read",)
    if node.calendar is None or node.calendar.mode == "owner":
        names = ("all", *_WRITE, "read-current-user-privilege-set")
    elif node.calendar.mode == "write":
        names = _WRITE
    inner = "".join(f"<privilege><{name}/></privilege>" for name in names)
    return m.element(m.dav("current-user-privilege-set"), inner)


def _owner(call: Call, node: Node) -> str:
    path = call.owner.principal_path
    if node.calendar is not None and node.calendar.mode != "owner":
        other = call.world.accounts.get(node.calendar.contents.owner.casefold())
        path = (
            other.principal_path
            if other
            else f"/{node.calendar.contents.uuid.int % 10**10}/principal/"
        )
    return m.element(m.dav("owner"), m.href_element(path))


def _color(call: Call, node: Node) -> str:
    eight = call.on("eight-digit-colours")
    if not eight:
        return m.text_element(m.apple("calendar-color"), node.cal.color[:7])
    return m.text_element(
        m.apple("calendar-color"), node.cal.color, symbolic_color=node.cal.symbolic_color
    )


def _order(call: Call, node: Node) -> str:
    return m.text_element(m.apple("calendar-order"), str(node.cal.order))


def _source(call: Call, node: Node) -> str | None:
    source = node.cal.source
    if source is None or call.on("subscription-without-source"):
        return None
    return m.element(m.cs("source"), m.href_element(source))


def _reports(call: Call, node: Node) -> str:
    names = (m.cal("calendar-multiget"), m.cal("calendar-query"), m.dav("sync-collection"))
    inner = "".join(
        f"<supported-report><report>{m.element(name)}</report></supported-report>" for name in names
    )
    return m.element(m.dav("supported-report-set"), inner)


def _bulk_requests(call: Call, node: Node) -> str:
    inner = "<crud><max-resources>200</max-resources><max-bytes>10485760</max-bytes></crud>"
    return m.element(m.me("bulk-requests"), inner)


# -- calendar objects --------------------------------------------------------------------------


def _etag(call: Call, node: Node) -> str | None:
    if node.resource is None:
        return None
    return f'<getetag xmlns="DAV:">{m.escape(node.resource.etag)}</getetag>'


def _content_type(call: Call, node: Node) -> str:
    return m.text_element(m.dav("getcontenttype"), "text/calendar; charset=utf-8")


def _content_length(call: Call, node: Node) -> str | None:
    if node.resource is None:
        return None
    return m.text_element(m.dav("getcontentlength"), str(len(node.resource.data)))


def _last_modified(call: Call, node: Node) -> str | None:
    if node.resource is None:
        return None
    stamp = formatdate(node.resource.modified_at, usegmt=True)
    return m.text_element(m.dav("getlastmodified"), stamp)


_EVERYWHERE: dict[str, Getter] = {
    m.dav("current-user-principal"): _principal(m.dav("current-user-principal")),
    m.dav("resourcetype"): _resource_type,
}
_PRINCIPAL: dict[str, Getter] = {
    **_EVERYWHERE,
    m.dav("principal-URL"): _principal(m.dav("principal-URL")),
    m.dav("displayname"): _display_name,
    m.cal("calendar-home-set"): _home_set,
    m.cal("calendar-user-address-set"): _addresses,
    m.cs("email-address-set"): _email_set,
    m.cal("schedule-inbox-URL"): _scheduling_url(m.cal("schedule-inbox-URL"), "inbox"),
    m.cal("schedule-outbox-URL"): _scheduling_url(m.cal("schedule-outbox-URL"), "outbox"),
}
_HOME: dict[str, Getter] = {
    **_EVERYWHERE,
    m.dav("owner"): _owner,
    m.dav("current-user-privilege-set"): _privileges,
    m.cal("supported-calendar-component-set"): _component_set,
    m.me("bulk-requests"): _bulk_requests,
}
_CALENDAR: dict[str, Getter] = {
    **_HOME,
    m.dav("displayname"): _display_name,
    m.dav("sync-token"): _sync_token,
    m.dav("supported-report-set"): _reports,
    m.cs("getctag"): _ctag,
    m.cs("source"): _source,
    m.apple("calendar-color"): _color,
    m.apple("calendar-order"): _order,
}
_RESOURCE: dict[str, Getter] = {
    m.dav("getetag"): _etag,
    m.dav("getcontenttype"): _content_type,
    m.dav("getcontentlength"): _content_length,
    m.dav("getlastmodified"): _last_modified,
}
_TABLES: dict[str, dict[str, Getter]] = {
    "root": {**_EVERYWHERE, m.dav("principal-URL"): _principal(m.dav("principal-URL"))},
    "principal": _PRINCIPAL,
    "home": _HOME,
    "calendar": _CALENDAR,
    "resource": _RESOURCE,
}
