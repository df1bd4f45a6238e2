"""PROPPATCH with a true answer for every property (RFC 4918 9.2).

All or nothing: when one property cannot be changed, the others are answered 424 and none is.
"""

from http import HTTPStatus
from typing import Any

from gateway.services.local_calendars import change_calendar
from gateway.services.schedules.working_hours import change_as_written
from gateway.store.objects.collections import Collection
from storage_plugin.http.errors import DECLARATIONS, Answer, DavError
from storage_plugin.http.handlers import nothing_here
from storage_plugin.http.multistatus import (
    href,
    multistatus,
    prefers_minimal,
    propstat,
    tag_of,
)
from storage_plugin.requests import Request
from storage_plugin.resources.calendars import (
    COMPONENT_SET,
    DISPLAY_NAME,
    RESOURCE_TYPE,
    TRANSPARENCY,
    invalid_values,
    read_wanted,
)
from storage_plugin.resources.properties import LIVE
from storage_plugin.resources.working_hours import TAGS

_D = "{DAV:}"
_INVALID = "<error><C:valid-calendar-data/></error>"
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


def is_protected(tag: str, row: Collection) -> bool:
    """Tell whether clients cannot change this property of this collection (RFC 4918 15).

    What is no live property of ours is kept as it is, in whatever namespace: Apple's clients store
    alarms and the like in CalDAV's own.
    """
    if row.kind == "mirror":
        return True
    if tag == TRANSPARENCY:
        return row.kind != "local"
    return tag != DISPLAY_NAME and (tag in LIVE or tag.startswith(_D))


def refused_at_birth(steps: list[tuple[bool, Any]]) -> list[str]:
    """Return the properties a new calendar cannot be given (RFC 4791 5.3.1, RFC 5689 3)."""
    settable = (DISPLAY_NAME, RESOURCE_TYPE, COMPONENT_SET, TRANSPARENCY)
    tags = dict.fromkeys(prop.tag for _set, prop in steps)
    invalid = invalid_values(steps)
    return [
        t for t in tags if t in invalid or (t not in settable and (t in LIVE or t.startswith(_D)))
    ]


def creation_refused(steps: list[tuple[bool, Any]], *, is_calendar: bool) -> Answer:
    """Answer that nothing was made, and which properties are the reason."""
    stats = _propstats(steps, set(refused_at_birth(steps)))
    name = "C:mkcalendar-response" if is_calendar else "mkcol-response"
    body = f'<?xml version="1.0" encoding="utf-8"?>\n<{name}{DECLARATIONS}>{stats}</{name}>\n'
    return HTTPStatus.FORBIDDEN, {"Content-Type": "application/xml"}, body, None


def answer(request: Request, root: Any) -> Answer:
    """Change what may be changed and answer 207 per property."""
    if root is None or root.tag != f"{_D}propertyupdate":
        raise DavError(HTTPStatus.BAD_REQUEST, "", "PROPPATCH needs a D:propertyupdate.")
    found = request.find()
    if found is None:
        raise nothing_here()
    row = found.row if found.kind == "calendar" else None
    steps = instructions(root)
    if not steps:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "PROPPATCH names no property.")
    settable = TAGS if found.kind == "home" else ()
    refused = {
        prop.tag
        for _set, prop in steps
        if (prop.tag not in settable if row is None else is_protected(prop.tag, row))
    }
    if row is not None:
        refused |= invalid_values(steps)
    if not refused:
        with request.writing() as session:
            if row is not None:
                wanted = read_wanted(steps).change
                change_calendar(session, request.user, row.id, wanted, now=request.now())
            else:
                texts = [(prop.text or "") if is_set else None for is_set, prop in steps]
                change_as_written(session, request.user, texts, now=request.now())
    if not refused and prefers_minimal(request.environ):
        return HTTPStatus.OK, {"Preference-Applied": "return=minimal"}, None, None
    stats = _propstats(steps, refused)
    return multistatus([f"<response><href>{href(request.full_path)}</href>{stats}</response>"])


def _propstats(steps: list[tuple[bool, Any]], refused: set[str]) -> str:
    """Write the fate of each property: all changed, or none (RFC 4918 9.2)."""
    tags = list(dict.fromkeys(prop.tag for _set, prop in steps))
    if not refused:
        groups = [(tags, HTTPStatus.OK, "")]
    else:
        invalid = refused & invalid_values(steps)
        groups = [
            ([t for t in tags if t in refused - invalid], HTTPStatus.FORBIDDEN, _CANNOT),
            ([t for t in tags if t in invalid], HTTPStatus.FORBIDDEN, _INVALID),
            ([t for t in tags if t not in refused], HTTPStatus.FAILED_DEPENDENCY, ""),
        ]
    return "".join(
        propstat("".join(tag_of(tag).empty for tag in names), status, error)
        for names, status, error in groups
        if names
    )
