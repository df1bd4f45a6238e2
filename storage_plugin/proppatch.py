"""PROPPATCH with a true answer for every property (RFC 4918 9.2).

All or nothing: when one property cannot be changed, the others are answered 424 and none is.
"""

from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from radicale import types
from radicale.xmlutils import make_href

from storage_plugin.calendars import change_calendar, is_protected, read_wanted
from storage_plugin.collection import CalendarCollection
from storage_plugin.errors import DECLARATIONS, DavError
from storage_plugin.storage import Storage

_D = "{DAV:}"
_CANNOT = "<error><cannot-modify-protected-property/></error>"


def instructions(root: Any) -> list[tuple[bool, Any]]:
    """Return (set or remove, property) in document order."""
    return [
        (step.tag == f"{_D}set", prop)
        for step in root
        if step.tag in (f"{_D}set", f"{_D}remove")
        for props in step.findall(f"{_D}prop")
        for prop in props
    ]


def answer(
    storage: Storage, base_prefix: str, path: str, calendar: CalendarCollection | None, root: Any
) -> types.WSGIResponse:
    """Change what may be changed and answer 207 per property; needs an open write unit."""
    if root is None:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "PROPPATCH needs a body.")
    steps = instructions(root)
    refused = {
        prop.tag for _set, prop in steps if calendar is None or is_protected(prop.tag, calendar.row)
    }
    if calendar is not None and not refused:
        change_calendar(storage.session(), calendar.row, read_wanted(steps))
    tags = list(dict.fromkeys(prop.tag for _set, prop in steps))
    if not refused:
        groups = [(tags, HTTPStatus.OK, "")]
    else:
        groups = [
            ([tag for tag in tags if tag in refused], HTTPStatus.FORBIDDEN, _CANNOT),
            ([t for t in tags if t not in refused], HTTPStatus.FAILED_DEPENDENCY, ""),
        ]
    stats = "".join(_propstat(names, status, error) for names, status, error in groups if names)
    href = escape(make_href(base_prefix, path))
    body = (
        f'<?xml version="1.0" encoding="utf-8"?>\n<multistatus{DECLARATIONS}>'
        f"<response><href>{href}</href>{stats}</response></multistatus>\n"
    )
    return HTTPStatus.MULTI_STATUS, {"Content-Type": "application/xml", "DAV": "1"}, body, None


def _propstat(tags: list[str], status: HTTPStatus, error: str) -> str:
    props = "".join(_empty(tag) for tag in tags)
    line = f"<status>HTTP/1.1 {status.value} {status.phrase}</status>"
    return f"<propstat><prop>{props}</prop>{line}{error}</propstat>"


def _empty(tag: str) -> str:
    namespace, _, name = tag.removeprefix("{").rpartition("}")
    return f"<x:{name} xmlns:x={quoteattr(namespace)}/>" if namespace else f"<{name} xmlns=''/>"
