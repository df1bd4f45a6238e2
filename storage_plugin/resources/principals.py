"""Reports about people: expand-property, principal-property-search, principal-search-property-set.

Nobody but the asker is ever found (R18). Apple's clients expand the principal's properties to learn
of calendars shared by others; there are none, and the answer says so.
"""

import re
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import unescape

from storage_plugin.http.errors import DECLARATIONS, Answer, DavError
from storage_plugin.http.handlers import Address, path_of
from storage_plugin.http.multistatus import multistatus, response
from storage_plugin.requests import Request
from storage_plugin.resources.find import Resource
from storage_plugin.resources.properties import (
    C,
    D,
    Viewer,
    asked,
    write_properties,
)
from storage_plugin.resources.propfind import resources_at

EXPAND = f"{D}expand-property"
SEARCH = f"{D}principal-property-search"
SEARCHABLE = f"{D}principal-search-property-set"
REPORTS = (EXPAND, SEARCH, SEARCHABLE)

_SEARCHED = {
    f"{D}displayname": ("<displayname/>", "Name"),
    f"{C}calendar-user-address-set": ("<C:calendar-user-address-set/>", "Address"),
}
_PARTS = {f"{D}property-search", f"{D}prop", f"{D}apply-to-principal-collection-set"}
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_HREF = re.compile(r"<href>([^<]*)</href>")
_MARKUP = re.compile(r"<[^>]*>")


def answer(
    request: Request, viewer: Viewer, resources: list[Resource], root: Any, *, minimal: bool
) -> Answer:
    """Answer one of :data:`REPORTS` on ``resources``.

    ``minimal`` leaves out of an expansion what is missing (RFC 8144).
    """
    if root.tag == SEARCHABLE:
        return _searchable()
    if root.tag == SEARCH:
        return multistatus(
            _search(viewer, resources_at(request, Address(request.user), deep=False), root)
        )
    expansion = _Expansion(request, viewer, minimal=minimal)
    return multistatus(expansion.response(resource, root) for resource in resources)


class _Expansion:
    """One expand-property report (RFC 3253 3.8)."""

    def __init__(self, request: Request, viewer: Viewer, *, minimal: bool) -> None:
        self._request = request
        self._viewer = viewer
        self._minimal = minimal
        self._effort = request.state.effort

    def response(self, resource: Resource, wanted: Any) -> str:
        """Write a resource's properties; an href whose own are wanted becomes a response."""
        self._effort.check()
        found, missing = "", []
        for prop in wanted.findall(f"{D}property"):
            self._effort.tick()
            written, lost = write_properties(resource, self._viewer, [_tag(prop)])
            if prop.find(f"{D}property") is not None:
                written = _HREF.sub(partial(self._expanded, prop), written)
            found += written
            missing += lost
        path = self._viewer.base_prefix + resource.path
        return response(path, found, () if self._minimal else missing)

    def _expanded(self, wanted: Any, match: re.Match[str]) -> str:
        """Return the response an href stands for; one that names nothing here stays."""
        try:
            path = path_of(unescape(match[1])).removeprefix(self._viewer.base_prefix)
            address = Address.parse(path)
        except (ValueError, DavError):  # mail addresses are links too
            return match[0]
        if address.principal not in ("", self._request.user):
            return match[0]
        for resource in resources_at(self._request, address, deep=False):
            return self.response(resource, wanted)
        return match[0]


def _tag(prop: Any) -> str:
    name = prop.get("name") or ""
    if not _NAME.fullmatch(name):
        raise DavError(HTTPStatus.BAD_REQUEST, "", "A property has no usable name.")
    return f"{{{prop.get('namespace', 'DAV:')}}}{name}"


def _search(viewer: Viewer, own: list[Resource], root: Any) -> Iterable[str]:
    """Answer with the asker, when every text is found (RFC 3744 9.4; Apple's ``test="anyof"``).

    python-caldav asks for properties beside ``prop`` too, and for everybody without any text.
    """
    searches = root.findall(f"{D}property-search")
    combine = any if root.get("test") == "anyof" and searches else all
    named = [*(prop for props in root.findall(f"{D}prop") for prop in props), *root]
    tags = asked(prop for prop in named if prop.tag not in _PARTS)
    for resource in own:
        if combine(_is_found(resource, viewer, search) for search in searches):
            path = viewer.base_prefix + resource.path
            yield response(path, *write_properties(resource, viewer, tags))


def _is_found(resource: Resource, viewer: Viewer, search: Any) -> bool:
    wanted = (search.findtext(f"{D}match") or "").strip().casefold()
    tags = [prop.tag for props in search.findall(f"{D}prop") for prop in props]
    values = [
        unescape(_MARKUP.sub(" ", write_properties(resource, viewer, [tag])[0])).casefold()
        for tag in tags
        if tag in _SEARCHED
    ]
    return len(values) == len(tags) > 0 and all(wanted in value for value in values)


def _searchable() -> Answer:
    """Tell what can be searched (RFC 3744 9.5)."""
    entries = "".join(
        f"<principal-search-property><prop>{element}</prop>"
        f'<description xml:lang="en">{label}</description></principal-search-property>'
        for element, label in _SEARCHED.values()
    )
    body = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<principal-search-property-set{DECLARATIONS}>{entries}"
        "</principal-search-property-set>\n"
    )
    return HTTPStatus.OK, {"Content-Type": "application/xml"}, body, None
