"""PROPFIND (RFC 4918 9.1) on the root, a home, a calendar or an object."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from radicale import types
from radicale.item import Item
from radicale.storage import BaseCollection

from gateway.store.objects import list_objects
from storage_plugin.collection import CalendarCollection, CalendarItem
from storage_plugin.errors import DavError
from storage_plugin.handlers import nothing_here
from storage_plugin.home import Outbox
from storage_plugin.multistatus import (
    multistatus,
    prefers_minimal,
    response,
    tag_of,
)
from storage_plugin.properties import (
    D,
    Resource,
    Viewer,
    all_tags,
    names_of,
    write_properties,
)
from storage_plugin.state import current_state
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
    lines = [_response(resource, viewer, root, minimal=minimal) for resource in resources]
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


def _response(resource: Resource, viewer: Viewer, root: Any, *, minimal: bool) -> str:
    path = viewer.base_prefix + resource.path
    if root is not None and root.find(f"{D}propname") is not None:
        return response(path, "".join(tag_of(tag).empty for tag in names_of(resource, viewer)))
    wanted = root.find(f"{D}prop") if root is not None else None
    if wanted is not None:
        found, missing = write_properties(resource, viewer, _tags(wanted))
        return response(path, found, () if minimal else missing)
    include = root.find(f"{D}include") if root is not None else None
    tags = dict.fromkeys([*all_tags(resource), *(_tags(include) if include is not None else ())])
    return response(path, write_properties(resource, viewer, tags)[0])


def _tags(props: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(prop.tag for prop in props))
