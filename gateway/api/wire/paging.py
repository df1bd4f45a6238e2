"""Cursor paging: a page says where the next one starts, in the body and as ``Link`` (RFC 8288)."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from aiohttp import web

from gateway.api.wire.shapes import PageQuery


class Identified(Protocol):
    """Anything that is listed by creation."""

    @property
    def id(self) -> str:
        """Opaque id."""
        ...

    @property
    def created_at(self) -> int:
        """UTC epoch seconds."""
        ...


R = TypeVar("R", bound=Identified)


def cut_page(rows: Sequence[R], query: PageQuery) -> tuple[list[R], str | None]:
    """Split ``limit + 1`` rows into a page and the cursor of the next one."""
    page = list(rows[: query.limit])
    more = len(rows) > query.limit
    return page, f"{page[-1].created_at}-{page[-1].id}" if more else None


def link_next(request: web.Request, cursor: str | None) -> dict[str, Any]:
    """Return the ``Link`` header of a page, empty for the last one.

    The target is relative to the request, so it holds behind a proxy with a prefix too.
    """
    if cursor is None:
        return {}
    query = request.rel_url.update_query(cursor=cursor).raw_query_string
    return {"Link": f'<?{query}>; rel="next"'}
