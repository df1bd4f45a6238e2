"""PROPFIND (RFC 4918 9.1) on the root, a home, a calendar or an object."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from radicale import types
from radicale.item import Item
from radicale.storage import BaseCollection

from gateway.store.objects.objects import list_objects
from storage_plugin.http.errors import DavError
from storage_plugin.http.handlers import nothing_here
from storage_plugin.http.multistatus import (
    multistatus,
    prefers_minimal,
    response,
    tag_of,
)
from storage_plugin.http.state import current_state
from storage_plugin.resources.collection import CalendarCollection, CalendarItem
from storage_plugin.resources.home import Outbox
from storage_plugin.resources.properties import (
    D,
    Resource,
    Viewer,
    all_tags,
    asked,
    count_missing,
    names_of,
    write_properties,
)
from storage_plugin.storage import Storage

DEPTHS = ("0", "1")


def answer(
    storage: Storage, environ: Mapping[str, Any], base_prefix: str, path: str, root: Any
) -> types.WSGIResponse:
    """Answer; needs an open read unit."""
    depth = environ.get("HTTP_DEPTH", "0").strip().lower()
    if depth not in DEPTHS:
        raise DavError(HTTPStatus.FORBIDDEN, "<propfind-finite-depth/>", "Ask with Depth 0 or 1.")
    if root is not None and root.tag != f"{D}propfind":
        raise DavError(HTTPStatus.BAD_REQUEST, "", "PROPFIND needs a D:propfind.")
    resources = resources_at(storage, path, deep=depth == "1")
    if not resources:
        raise nothing_here()
    viewer = viewer_of(storage, base_prefix)
    minimal = prefers_minimal(environ)
    headers = {"Preference-Applied": "return=minimal"} if minimal else {}
    lines = list(_responses(resources, viewer, root, minimal=minimal))
    return multistatus(lines, headers={**headers, "Vary": "Brief, Prefer"})


def viewer_of(storage: Storage, base_prefix: str) -> Viewer:
    """Return the viewer of this request."""
    return Viewer(
        principal_id=current_state().principal_id,
        base_prefix=base_prefix,
        settings=storage.gateway.settings,
        session=storage.session,
    )


def resources_at(storage: Storage, path: str, *, deep: bool) -> list[Resource]:
    """Return what is at a path, with its children when ``deep``; no Radicale items are built."""
    found = [_resource_of(item) for item in storage.discover(path, "0")]
    if not found or not deep:
        return found
    top = found[0]
    if top.kind == "calendar" and top.row is not None:
        members = list_objects(storage.session(), top.row.id)
        return [top, *(Resource("object", top.path + m.name, top.row, m) for m in members)]
    return [_resource_of(item) for item in storage.discover(path, "1")]


def _resource_of(found: BaseCollection | Item) -> Resource:
    if isinstance(found, CalendarItem):
        calendar = found.calendar
        return Resource("object", f"/{calendar.path}/{found.href}", calendar.row, found.stored)
    if isinstance(found, CalendarCollection):
        return Resource("calendar", f"/{found.path}/", found.row)
    if isinstance(found, Outbox):
        return Resource("outbox", f"/{found.path}/")
    assert isinstance(found, BaseCollection)
    return Resource("home", f"/{found.path}/") if found.path else Resource("root", "/")


def _responses(
    resources: list[Resource], viewer: Viewer, root: Any, *, minimal: bool
) -> Iterator[str]:
    """Write a response for each resource: what is named, or all, or only the names."""
    effort = current_state().effort
    prop, include, only_names = (
        root.find(f"{D}{name}") if root is not None else None
        for name in ("prop", "include", "propname")
    )
    wanted = asked(prop) if prop is not None else None
    more = asked(include) if include is not None else []
    for resource in resources:
        if only_names is not None:
            found = "".join(tag_of(t).empty for t in names_of(resource, viewer))
            missing: list[str] = []
        elif wanted is not None:
            found, missing = write_properties(resource, viewer, wanted)
        else:
            tags = dict.fromkeys([*all_tags(resource, viewer), *more])
            found, missing = write_properties(resource, viewer, tags)[0], []
        path = viewer.base_prefix + resource.path
        line = response(path, found, () if minimal else missing)
        count_missing(effort, wanted or more, missing)
        effort.tick(len(line))
        yield line
