"""PROPPATCH with a true answer for every property (RFC 4918 9.2).

All or nothing: when one property cannot be changed, the others are answered 424 and none is.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from radicale import types

from storage_plugin.calendars import change_calendar, is_protected, read_wanted
from storage_plugin.collection import CalendarCollection
from storage_plugin.errors import DavError
from storage_plugin.multistatus import (
    href,
    multistatus,
    prefers_minimal,
    propstat,
    tag_of,
)
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
    storage: Storage, environ: Mapping[str, Any], base_prefix: str, path: str, root: Any
) -> types.WSGIResponse:
    """Change what may be changed and answer 207 per property; needs an open write unit."""
    if root is None:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "PROPPATCH needs a body.")
    found = next(iter(storage.discover(path)), None)
    if found is None:
        raise DavError(HTTPStatus.NOT_FOUND, "", "There is nothing at this address.")
    calendar = found if isinstance(found, CalendarCollection) else None
    steps = instructions(root)
    refused = {
        prop.tag for _set, prop in steps if calendar is None or is_protected(prop.tag, calendar.row)
    }
    if calendar is not None and not refused:
        change_calendar(storage.session(), calendar.row, read_wanted(steps))
    if not refused and prefers_minimal(environ):
        return HTTPStatus.OK, {"Preference-Applied": "return=minimal"}, None, None
    tags = list(dict.fromkeys(prop.tag for _set, prop in steps))
    if not refused:
        groups = [(tags, HTTPStatus.OK, "")]
    else:
        groups = [
            ([tag for tag in tags if tag in refused], HTTPStatus.FORBIDDEN, _CANNOT),
            ([t for t in tags if t not in refused], HTTPStatus.FAILED_DEPENDENCY, ""),
        ]
    stats = "".join(
        propstat("".join(tag_of(tag).empty for tag in names), status, error)
        for names, status, error in groups
        if names
    )
    return multistatus([f"<response><href>{href(base_prefix + path)}</href>{stats}</response>"])
