"""What never changes while a process lives: the OpenAPI document and the page made of it.

Each is rendered once and has a strong ETag; who has it already gets 304.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from functools import cache

from aiohttp import web

from gateway.api.description.docs_page import DOCS_POLICY, render_docs
from gateway.api.wire.etags import has_etag


@dataclass(frozen=True, slots=True)
class Page:
    """Bytes that are sent as they are."""

    body: bytes
    media: str
    etag: str
    policy: str | None = None

    def answer(self, request: web.Request) -> web.Response:
        """Return the page, or 304."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if self.policy is not None:
            headers["Content-Security-Policy"] = self.policy
        if has_etag(request, self.etag):
            return web.Response(status=304, headers=headers)
        text = "utf-8" if self.media.startswith("text/") else None
        return web.Response(body=self.body, content_type=self.media, charset=text, headers=headers)


class Pages:
    """The pages of one application; the one for people is rendered when it is first asked for."""

    def __init__(self, document: bytes) -> None:
        self.document = Page(document, "application/json", _etag(document))

    async def docs(self) -> Page:
        """Return the page for people."""
        return await asyncio.to_thread(_docs, self.document.body)


PAGES = web.AppKey("pages", Pages)


@cache
def _docs(document: bytes) -> Page:
    body = render_docs(document).encode()
    return Page(body, "text/html", _etag(body), DOCS_POLICY)


def _etag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
