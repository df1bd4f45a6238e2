"""Request bodies: bytes as they came, XML without DTD, entities or towers of elements."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from xml.etree.ElementTree import ParseError, TreeBuilder, XMLParser

from storage_plugin.http.errors import DavError
from storage_plugin.http.state import current_state

MAX_DEPTH = 64
MAX_ELEMENTS = 10_000
MAX_HREFS = 100_000
"""Elements of a body; those of a multiget, which names the objects it wants."""
PIECE = 16 * 1024
"""Bytes that are parsed before others may compute."""
_MULTIGET = "{urn:ietf:params:xml:ns:caldav}calendar-multiget"


class _Builder(TreeBuilder):
    """Builds elements and counts how deep they stand."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._left = MAX_ELEMENTS

    def start(self, tag: str, attrs: dict[str, str], /) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise DavError(HTTPStatus.BAD_REQUEST, "", "The XML is nested too deeply.")
        if self._depth == 1 and tag == _MULTIGET:
            self._left = MAX_HREFS
        self._left -= 1
        if self._left < 0:
            raise _too_many()
        return super().start(tag, attrs)

    def doctype(self, name: str, pubid: str | None, system: str | None, /) -> None:
        """Refuse: without a DTD there are no entities to expand or to fetch."""
        raise DavError(HTTPStatus.BAD_REQUEST, "", "A DTD is not accepted.")

    def end(self, tag: str, /) -> Any:
        self._depth -= 1
        return super().end(tag)


def read_body(environ: Mapping[str, Any]) -> bytes:
    """Return the body; raises 400 when it is shorter than announced.

    The middleware has already refused odd lengths and bodies over the cap.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    if len(body) < length:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The body is shorter than announced.")
    return body


def parse_xml(body: bytes) -> Any | None:
    """Parse an XML body, None when there is none; raises 400."""
    if not body.strip():
        return None
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "A DTD is not accepted.")
    # Counting bytes costs nothing beside parsing; what is no start tag (a comment) is rare.
    most = MAX_HREFS if b"calendar-multiget" in body[:PIECE] else MAX_ELEMENTS
    if body.count(b"<") - body.count(b"</") > most:
        raise _too_many()
    effort = current_state().effort
    parser = XMLParser(target=_Builder())  # noqa: S314  (the builder refuses what is dangerous)
    try:
        for at in range(0, len(body), PIECE):
            if at:
                effort.check()
            parser.feed(body[at : at + PIECE])
        return parser.close()
    except (ParseError, ValueError, LookupError):
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The body is not the XML expected.") from None


def _too_many() -> DavError:
    return DavError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "", "The XML has too many elements.")
