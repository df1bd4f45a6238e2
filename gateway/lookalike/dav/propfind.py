"""PROPFIND and PROPPATCH: discovery in place, the home listing, collections and objects."""

from lxml import etree

from gateway.lookalike.dav import markup as m
from gateway.lookalike.dav.answers import bare, html, xml
from gateway.lookalike.dav.call import Answer, Call
from gateway.lookalike.dav.properties import Node, calendar_href, render_node, resource_href
from gateway.lookalike.dav.reports import listed_error
from gateway.lookalike.world.accounts import Kind

_FALLBACK = [m.dav("resourcetype"), m.dav("displayname"), m.dav("getetag")]


def wanted_properties(call: Call) -> list[str] | None:
    """Return the Clark names asked for; None when they are not asked for by name."""
    if not call.body.strip():
        return None
    root = m.parse_xml(call.body)
    prop = root.find(m.dav("prop"))
    if root.tag != m.dav("propfind") or prop is None:
        return None
    return [str(child.tag) for child in prop if isinstance(child.tag, str)]


def answer_propfind(call: Call, place: str) -> Answer:
    """Answer a PROPFIND on ``root``, ``well-known``, ``principal``, ``home``, … (`dispatch`)."""
    wanted = wanted_properties(call)
    if wanted is None:
        if call.on("allprop-refused"):
            return html(400)
        wanted = _FALLBACK
    depth = call.depth or "infinity"
    if place in ("root", "well-known"):
        return _discover(call, wanted)
    if depth == "infinity" or (depth == "1" and place == "principal"):
        return html(400)
    nodes = {"principal": _principal_nodes, "home": _home_nodes}.get(place, _calendar_nodes)
    listed = nodes(call, depth == "1")
    if not listed:
        return bare(404)
    if depth == "1" and place not in ("principal", "home") and call.on("empty-multistatus"):
        return xml(m.multistatus([]))
    return xml(m.multistatus([_rendered(call, node, wanted) for node in listed]))


def _rendered(call: Call, node: Node, wanted: list[str]) -> str:
    error = listed_error(call, node.resource.name) if node.resource is not None else None
    if error is not None:
        return m.status_response(node.href, f"HTTP/1.1 {error} Error")
    return render_node(call, node, wanted)


def _discover(call: Call, wanted: list[str]) -> Answer:
    form = call.param("discovery-form", "form", "")
    if str(form).startswith("30") and call.listener == "entry":
        host = call.world.partitions[call.owner.partition].rstrip("/")
        return Answer(int(form)).add_header("Location", host + call.path)
    href = call.owner.principal_path
    if form == "root-href":
        href = "/"
    elif not call.on("discovery-in-place"):
        href = call.path
    return xml(m.multistatus([render_node(call, Node("root", href), wanted)]))


def _principal_nodes(call: Call, deep: bool) -> list[Node]:
    return [Node("principal", call.owner.principal_path)]


def _home_nodes(call: Call, deep: bool) -> list[Node]:
    account = call.owner
    nodes = []
    if call.on("home-contents") or not deep:
        nodes.append(Node("home", account.home_path))
    if deep:
        nodes += [
            Node("calendar", calendar_href(account, calendar), calendar)
            for calendar in list(account.calendars.values())
        ]
    return nodes


def _calendar_nodes(call: Call, deep: bool) -> list[Node]:
    calendar = call.calendar
    if calendar is None:
        return []
    if call.name is not None:
        found = call.resource
        href = resource_href(call, calendar, call.name)
        return [Node("resource", href, calendar, found)] if found else []
    nodes = [Node("calendar", calendar_href(call.owner, calendar), calendar)]
    if deep and calendar.kind != Kind.SUBSCRIBED:
        nodes += [
            Node("resource", resource_href(call, calendar, resource.name), calendar, resource)
            for resource in list(calendar.resources.values())
        ]
    return nodes


def answer_proppatch(call: Call) -> Answer:
    """Set name, colour, order (or an unknown property) of an own calendar; others are 403."""
    calendar = call.calendar
    if calendar is None or call.name is not None:
        return bare(404)
    root = m.parse_xml(call.body)
    allowed = calendar.mode != "read"
    inner = ""
    for prop in root.iterfind(f"{m.dav('set')}/{m.dav('prop')}/*"):
        clark = str(prop.tag)
        if allowed:
            _set_property(call, clark, prop)
        inner += m.element(clark)
    status = "HTTP/1.1 200 OK" if allowed else "HTTP/1.1 403 Forbidden"
    href = calendar_href(call.owner, calendar)
    return xml(m.multistatus([m.response(href, m.propstat(inner, status))]))


def _set_property(call: Call, clark: str, prop: etree._Element) -> None:
    calendar = call.calendar
    text = (prop.text or "").strip()
    if calendar is None:
        return
    if clark == m.dav("displayname"):
        calendar.name = text
    elif clark == m.apple("calendar-color"):
        calendar.color = text if len(text) == 9 else f"{text}FF"
    elif clark == m.apple("calendar-order"):
        calendar.order = int(text) if text.isdigit() else calendar.order
    else:
        calendar.extra[clark] = etree.tostring(prop, encoding="unicode", with_tail=False)
