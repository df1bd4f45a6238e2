"""PROPFIND (RFC 4918 9.1) on the root, a home, a calendar or an object."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from storage_plugin.http.errors import Answer, DavError
from storage_plugin.http.handlers import Address, nothing_here
from storage_plugin.http.multistatus import (
    multistatus,
    prefers_minimal,
    response,
    tag_of,
)
from storage_plugin.http.state import current_state
from storage_plugin.requests import Request
from storage_plugin.resources.find import Resource
from storage_plugin.resources.properties import (
    D,
    Viewer,
    all_tags,
    asked,
    count_missing,
    names_of,
    write_properties,
)

DEPTHS = ("0", "1")


def answer(request: Request, root: Any) -> Answer:
    """Answer a PROPFIND."""
    depth = request.environ.get("HTTP_DEPTH", "0").strip().lower()
    if depth not in DEPTHS:
        raise DavError(HTTPStatus.FORBIDDEN, "<propfind-finite-depth/>", "Ask with Depth 0 or 1.")
    if root is not None and root.tag != f"{D}propfind":
        raise DavError(HTTPStatus.BAD_REQUEST, "", "PROPFIND needs a D:propfind.")
    resources = resources_at(request, deep=depth == "1")
    if not resources:
        raise nothing_here()
    minimal = prefers_minimal(request.environ)
    headers = {"Preference-Applied": "return=minimal"} if minimal else {}
    lines = list(_responses(resources, viewer_of(request), root, minimal=minimal))
    return multistatus(lines, headers={**headers, "Vary": "Brief, Prefer"})


def viewer_of(request: Request) -> Viewer:
    """Return the viewer of this request."""
    return Viewer(
        principal_id=request.user,
        base_prefix=request.base_prefix,
        settings=request.gateway.settings,
        session=request.session,
    )


def resources_at(request: Request, address: Address | None = None, *, deep: bool) -> list[Resource]:
    """Return what is at an address, with its children when ``deep``."""
    found = request.find(address)
    if found is None:
        return []
    return [found, *(request.find_children(found) if deep else ())]


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
