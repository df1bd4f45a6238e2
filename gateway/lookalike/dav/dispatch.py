"""The pipeline every DAV request walks: edge, credentials, faults, handler, faults.

Each step is a small function that may answer (and so end the walk) or stay silent. A new quirk
is an entry in `quirks.QUIRKS` and one question (`call.on`, `call.param`) in the step it concerns.
"""

from collections.abc import Callable

from lxml import etree

from gateway.lookalike.dav import faultsteps
from gateway.lookalike.dav.answers import DAV_HEADER, bare, html, unauthorized
from gateway.lookalike.dav.auth import authenticate, read_basic
from gateway.lookalike.dav.call import Answer, Call
from gateway.lookalike.dav.markup import BadXmlError, parse_xml
from gateway.lookalike.dav.propfind import answer_propfind, answer_proppatch
from gateway.lookalike.dav.reports import answer_report
from gateway.lookalike.dav.writes import (
    answer_delete,
    answer_get,
    answer_mkcalendar,
    answer_put,
)

Step = Callable[[Call], Answer | None]
_XML_METHODS = {"PROPFIND", "PROPPATCH", "REPORT", "MKCALENDAR", "MKCOL"}


def answer_call(call: Call) -> Answer:
    """Walk a request through all steps and return its answer; never raises on bad input."""
    _claim(call)
    try:
        answer = next((answer for step in _STEPS if (answer := step(call)) is not None), bare(404))
    except BadXmlError:
        answer = html(400)
    for after in faultsteps.AFTER:
        answer = after(call, answer)
    return answer


def _claim(call: Call) -> None:
    pair = read_basic(call.headers.get("Authorization"))
    call.claimed = pair[0] if pair else None


# -- the edge ----------------------------------------------------------------------------------


def _check_edge(call: Call) -> Answer | None:
    if call.method == "GET" and call.path == "/" and call.on("get-root-400"):
        return bare(400)
    if not call.headers.get("User-Agent") and call.on("user-agent-required"):
        return bare(403)
    return None


def _check_partition(call: Call) -> Answer | None:
    """Tell whether a host serves an account: a partition its own, the entry all."""
    account = call.owner
    if call.listener in ("entry", account.partition):
        return None
    how = account.former_partitions.get(call.listener, "401")
    call.quirks.append("partition-moved")
    if how == "connect":
        return Answer(0, abort=True)
    return bare(404) if how == "404" else unauthorized(call)


def _check_xml(call: Call) -> Answer | None:
    if call.method not in _XML_METHODS or not call.body:
        return None
    if call.body[:1].isspace() and call.on("leading-blanks"):
        return html(400)
    if call.body.strip() and _mixes_prefixes(call) and call.on("mixed-prefixes"):
        return html(400)
    return None


def _mixes_prefixes(call: Call) -> bool:
    root = parse_xml(call.body.lstrip())
    return root.prefix is not None and any(
        isinstance(element, etree._Element) and element.prefix is None
        for element in root.iter(etree.Element)
    )


# -- where it goes -----------------------------------------------------------------------------


def _place(call: Call) -> tuple[str, str | None]:
    """Fill in calendar and name from the path; return the kind of place and a free last segment."""
    path = call.path
    if path == "/":
        return "root", None
    if path.rstrip("/") == "/.well-known/caldav":
        return "well-known", None
    parts = path.strip("/").split("/")
    if call.account is None or parts[0] != call.account.dsid:
        return "elsewhere", None
    rest = parts[1:]
    if rest == ["principal"]:
        return "principal", None
    if rest == ["calendars"]:
        return "home", None
    if len(rest) in (2, 3) and rest[0] == "calendars":
        call.calendar = call.account.calendars.get(rest[1])
        call.name = rest[2] if len(rest) == 3 else None
        return ("calendar" if call.calendar else "nowhere"), rest[1]
    return "nowhere", None


def _resolve(call: Call) -> Answer | None:
    _place(call)
    return None


def _route(call: Call) -> Answer | None:
    place, segment = _place(call)
    if place == "elsewhere":
        return bare(403)
    if call.method in ("MKCALENDAR", "MKCOL"):
        return answer_mkcalendar(call, segment)
    if place == "nowhere":
        return bare(404)
    if call.method == "OPTIONS":
        return bare(200).add_header("DAV", DAV_HEADER)
    if call.method == "PROPFIND":
        return answer_propfind(call, place)
    handler = _HANDLERS.get(call.method)
    return handler(call) if handler else bare(405)


def _refuse_move(call: Call) -> Answer:
    return bare(412) if call.on("move-412") else bare(403)


_HANDLERS: dict[str, Callable[[Call], Answer]] = {
    "REPORT": answer_report,
    "GET": answer_get,
    "HEAD": answer_get,
    "PUT": answer_put,
    "DELETE": answer_delete,
    "PROPPATCH": answer_proppatch,
    "MOVE": _refuse_move,
    "COPY": _refuse_move,
}

_STEPS: tuple[Step, ...] = (
    faultsteps.check_down,
    _check_edge,
    authenticate,
    _resolve,
    *faultsteps.BEFORE,
    _check_partition,
    _check_xml,
    _route,
)
