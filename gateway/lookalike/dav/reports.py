"""REPORT: sync-collection, calendar-multiget, calendar-query; free-busy-query is refused."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from urllib.parse import unquote, urlsplit

from lxml import etree

from gateway.lookalike.dav import markup as m
from gateway.lookalike.dav.answers import bare, html, precondition, xml
from gateway.lookalike.dav.call import Answer, Call
from gateway.lookalike.dav.properties import (
    Node,
    calendar_href,
    render_node,
    resource_href,
    sync_token_of,
)
from gateway.lookalike.world.accounts import Calendar, Kind
from gateway.lookalike.world.contents import Resource
from gateway.lookalike.world.ical import parse_moment
from gateway.lookalike.world.spans import span_of

_OK = "HTTP/1.1 200 OK"
_NOT_FOUND = "HTTP/1.1 404 Not Found"
_GETETAG = m.dav("getetag")
_DATA = m.cal("calendar-data")


def answer_report(call: Call) -> Answer:
    """Answer any REPORT on a calendar; on anything else it is a bare 403."""
    root = m.parse_xml(call.body)
    call.report = m.split_clark(str(root.tag))[1]
    calendar = call.calendar
    if calendar is None or call.name is not None:
        return bare(403)
    if root.tag == m.cal("free-busy-query") and call.on("free-busy-400"):
        return html(400)
    handler = _REPORTS.get(str(root.tag))
    if handler is None:
        return bare(403)
    if calendar.kind == Kind.SUBSCRIBED and call.on("subscription-empty"):
        return xml(m.multistatus([]))
    answer = handler(call, calendar, root)
    if call.on("empty-multistatus"):
        return xml(m.multistatus([]))
    return answer


# -- what can be read at this moment -----------------------------------------------------------


def visible(call: Call, resource: Resource) -> tuple[bytes, str] | None:
    """Return body and ETag as this request sees them; None while a new object lags."""
    if call.on("lag"):
        after = float(call.param("lag", "after", 5))
        if resource.modified_at + after > call.world.now():
            return resource.previous
    return resource.data, resource.etag


def ghost_status(call: Call, name: str) -> int | None:
    """Return the status that stands for a member that is never handed over, or None; 0: silence."""
    if not call.on("ghost"):
        return None
    named = call.param("ghost", "member")
    if named is not None and name not in str(named).split(","):
        return None
    return int(call.param("ghost", "status", 404))


def listed_error(call: Call, name: str) -> int | None:
    """Return the status with which a listing names a member, when that is an error."""
    status = ghost_status(call, name)
    return status if status and call.param("ghost", "listed") == "error" else None


# -- sync-collection ---------------------------------------------------------------------------


def _sync_collection(call: Call, calendar: Calendar, root: etree._Element) -> Answer:
    token = (root.findtext(m.dav("sync-token")) or "").strip()
    contents = calendar.contents
    revision = _revision_of(call, calendar, token) if token else 0
    if revision is None:
        return _token_refusal(call)
    changes = contents.changes_since(revision)
    if not token:
        changes = [change for change in changes if not change[1]]
    elif call.on("passed-untold"):
        changes = [
            (name, gone)
            for name, gone in changes
            if not gone or contents.existed_at(name, revision)
        ]
    new_token = sync_token_of(call, calendar)
    if call.on("sync-empty"):
        changes = []
    parts = []
    if call.on("sync-truncated"):
        limit = int(call.param("sync-truncated", "limit", 50))
        if len(changes) > limit:
            changes = changes[:limit]
            new_token = contents.token_at(contents.changes[changes[-1][0]][0])
            href = calendar_href(call.owner, calendar)
            parts.append(m.status_response(href, "HTTP/1.1 507 Insufficient Storage"))
    members = [_sync_member(call, calendar, name, deleted) for name, deleted in changes]
    if call.on("duplicate-hrefs") and len(members) > 2:
        members.append(members[0])
    if call.on("self-entry"):
        members.insert(0, _self_entry(call, calendar))
    return xml(m.multistatus(parts + members, sync_token=new_token))


def _revision_of(call: Call, calendar: Calendar, token: str) -> int | None:
    contents = calendar.contents
    if call.on("token-is-ctag"):
        prefix, _, number = token.rpartition("@S=")
        known = prefix == contents.ctag.rpartition("@S=")[0] and number.isdigit()
        return int(number) if known and int(number) <= contents.revision else None
    lifetime = None
    if call.on("token-lifetime"):
        lifetime = float(call.param("token-lifetime", "age", 86400))
    return contents.parse_token(token, call.world.now(), lifetime_s=lifetime)


def _token_refusal(call: Call) -> Answer:
    form = call.param("token-refusal", "form", "") if call.on("token-refusal") else ""
    if form == "element":
        return precondition(403, m.dav("valid-sync-token"))
    return bare(int(form) if form in ("410", "412") else 403)


def _sync_member(call: Call, calendar: Calendar, name: str, deleted: bool) -> str:
    href = resource_href(call, calendar, name)
    resource = calendar.resources.get(name)
    if deleted or resource is None:
        return m.status_response(href, _NOT_FOUND)
    error = listed_error(call, name)
    if error is not None:
        return m.status_response(href, f"HTTP/1.1 {error} Error")
    etag = f'<getetag xmlns="DAV:">{m.escape(resource.etag)}</getetag>'
    return m.response(href, m.propstat(etag, _OK))


def _self_entry(call: Call, calendar: Calendar) -> str:
    href = calendar_href(call.owner, calendar)
    form = call.param("self-entry", "form", "alternate")
    if form == "no-slash" or (form == "alternate" and calendar.contents.revision % 2):
        href = href.rstrip("/")
    etag = m.text_element(_GETETAG, f'"{calendar.contents.ctag}"')
    return m.response(href, m.propstat(etag, _OK))


# -- bodies ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    """Which properties a multiget or query asks for, and how it wants the data."""

    names: tuple[str, ...]
    partial: bool
    expand: bool


def _wanted(root: etree._Element) -> _Wanted:
    prop = root.find(m.dav("prop"))
    names = () if prop is None else tuple(str(child.tag) for child in prop)
    data = root.find(f"{m.dav('prop')}/{_DATA}")
    partial = data is not None and data.find(m.cal("comp")) is not None
    expand = data is not None and data.find(m.cal("expand")) is not None
    return _Wanted(names, partial, expand)


def _render(call: Call, calendar: Calendar, resource: Resource, wanted: _Wanted) -> str | None:
    """Render one member; None while it cannot be read yet."""
    shown = visible(call, resource)
    if shown is None:
        return None
    data, etag = shown
    href = resource_href(call, calendar, resource.name)
    found = ""
    rest = []
    for name in wanted.names:
        if name == _GETETAG:
            found += f'<getetag xmlns="DAV:">{m.escape(etag)}</getetag>'
        elif name == _DATA:
            found += _data_element(call, data, wanted.partial)
        else:
            rest.append(name)
    if rest:
        return _with_rest(call, Node("resource", href, calendar, resource), found, rest)
    return m.response(href, m.propstat(found, _OK))


def _with_rest(call: Call, node: Node, found: str, rest: list[str]) -> str:
    rendered = render_node(call, node, rest)
    return rendered.replace("</href>", f"</href>{m.propstat(found, _OK)}", 1) if found else rendered


# A fold before a continuation byte is inside a character; XML has no way to carry that.
_FOLD_INSIDE = re.compile(rb"\r?\n[ \t](?=[\x80-\xbf])")


def _data_element(call: Call, data: bytes, partial: bool) -> str:
    if partial and call.on("partial-data-empty"):
        data = b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    text = _FOLD_INSIDE.sub(b"", data).decode("utf-8", "replace")
    inner = m.cdata(text) if call.on("cdata") else m.escape(text)
    return f'<calendar-data xmlns="{m.CALDAV}">{inner}</calendar-data>'


# -- calendar-multiget -------------------------------------------------------------------------


def _multiget(call: Call, calendar: Calendar, root: etree._Element) -> Answer:
    hrefs = [(element.text or "").strip() for element in root.iterfind(m.dav("href"))]
    limit = int(call.param("multiget-limit", "max", 200))
    if call.on("multiget-limit") and len(hrefs) > limit:
        return bare(403)
    if call.on("multiget-fewer"):
        hrefs = hrefs[: int(call.param("multiget-fewer", "keep", len(hrefs) // 2))]
    wanted = _wanted(root)
    base = f"{call.owner.home_path}{calendar.id}/"
    parts = []
    for href in hrefs:
        path = unquote(urlsplit(href).path)
        name = path.removeprefix(base) if path.startswith(base) else ""
        resource = calendar.resources.get(name)
        ghost = ghost_status(call, name) if resource else None
        if ghost is not None:
            parts += [m.status_response(href, f"HTTP/1.1 {ghost} Error")] if ghost else []
            continue
        rendered = _render(call, calendar, resource, wanted) if resource else None
        parts.append(rendered or m.status_response(href, _NOT_FOUND))
    return xml(m.multistatus(parts))


# -- calendar-query ----------------------------------------------------------------------------


def _query(call: Call, calendar: Calendar, root: etree._Element) -> Answer:
    filters = root.find(f"{m.cal('filter')}/{m.cal('comp-filter')}")
    inner = [] if filters is None else filters.findall(m.cal("comp-filter"))
    if root.find(f".//{m.cal('prop-filter')}") is not None and call.on("prop-filter-412"):
        return bare(412)
    if not inner and call.on("query-needs-component"):
        return html(500)
    kinds = {(element.get("name") or "").upper() for element in inner}
    wanted = _wanted(root)
    if len(kinds) > 1 or (wanted.expand and call.on("expand-empty")):
        return xml(m.multistatus([]))
    window = _window(inner)
    if call.on("old-range-403"):
        oldest = call.world.now() - 86400.0 * float(call.param("old-range-403", "days", 365))
        if window is None or window[0] < oldest:
            return bare(403)
    members = _matching(calendar, kinds, window)
    rendered = (_render(call, calendar, resource, wanted) for resource in members)
    return xml(m.multistatus([part for part in rendered if part is not None]))


def _window(inner: list[etree._Element]) -> tuple[float, float] | None:
    """Return the time range in UTC seconds; None without one. Raises BadXmlError."""
    for element in inner:
        found = element.find(m.cal("time-range"))
        if found is None:
            continue
        try:
            start = _seconds(found.get("start"), float("-inf"))
            return start, _seconds(found.get("end"), float("inf"))
        except ValueError as error:
            raise m.BadXmlError(str(error)) from None
    return None


def _seconds(value: str | None, otherwise: float) -> float:
    return otherwise if value is None else parse_moment(value).replace(tzinfo=UTC).timestamp()


def _matching(
    calendar: Calendar, kinds: set[str], window: tuple[float, float] | None
) -> Iterable[Resource]:
    for resource in list(calendar.resources.values()):
        if kinds and resource.kind not in kinds:
            continue
        if window is not None:
            if resource.kind != "VEVENT":
                continue  # a time range finds nothing but events
            if resource.span is None:
                resource.span = span_of(resource.data)
            start, end = resource.span
            if start >= window[1] or (end <= window[0] and start < window[0]):
                continue
        yield resource


_REPORTS = {
    m.dav("sync-collection"): _sync_collection,
    m.cal("calendar-multiget"): _multiget,
    m.cal("calendar-query"): _query,
}
