"""207 answers as text: namespaces, escaping, and one response per resource.

Built by joining strings: the three listings that clients ask all day are linear in their rows and
nothing else.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from storage_plugin.http.errors import DECLARATIONS, PREFIXES, Answer

_BY_NAMESPACE = {uri: prefix for prefix, uri in PREFIXES.items()}
# What XML 1.0 cannot carry at all; one such character would break the answer for everybody.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Tag(NamedTuple):
    """An element name ready to be written."""

    opening: str
    closing: str
    empty: str


@lru_cache(maxsize=512)
def tag_of(clark: str) -> Tag:
    """Return how to write an element given in Clark notation."""
    namespace, _, name = clark.removeprefix("{").rpartition("}")
    prefix = _BY_NAMESPACE.get(namespace)
    if prefix == "D":
        return Tag(f"<{name}>", f"</{name}>", f"<{name}/>")
    if prefix is not None:
        return Tag(f"<{prefix}:{name}>", f"</{prefix}:{name}>", f"<{prefix}:{name}/>")
    if namespace:
        head = f"<x:{name} xmlns:x={quoteattr(namespace)}"
        return Tag(f"{head}>", f"</x:{name}>", f"{head}/>")
    head = f'<{name} xmlns=""'
    return Tag(f"{head}>", f"</{name}>", f"{head}/>")


def text(value: str) -> str:
    """Escape text; what XML cannot carry is left out, a CR survives the parser."""
    if _ILLEGAL.search(value):
        value = _ILLEGAL.sub("", value)
    return escape(value, {"\r": "&#13;"})


def href(path: str) -> str:
    """Return a path as the content of an href element."""
    return escape(quote(path))


def element(clark: str, inner: str) -> str:
    """Write one element; ``inner`` is XML."""
    tag = tag_of(clark)
    return f"{tag.opening}{inner}{tag.closing}" if inner else tag.empty


def propstat(inner: str, status: HTTPStatus, extra: str = "") -> str:
    """Write one propstat over written properties."""
    line = f"<status>HTTP/1.1 {status.value} {status.phrase}</status>"
    return f"<propstat><prop>{inner}</prop>{line}{extra}</propstat>"


def response(path: str, found: str, missing: Iterable[str] = ()) -> str:
    """Write one response: properties found, and the tags of those that are not there."""
    stats = propstat(found, HTTPStatus.OK) if found else ""
    lost = "".join(tag_of(clark).empty for clark in missing)
    if lost or not found:
        stats += propstat(lost, HTTPStatus.NOT_FOUND) if lost else propstat("", HTTPStatus.OK)
    return f"<response><href>{href(path)}</href>{stats}</response>"


def gone(path: str, status: HTTPStatus = HTTPStatus.NOT_FOUND, error: str = "") -> str:
    """Write the response of a resource that is not there."""
    line = f"<status>HTTP/1.1 {status.value} {status.phrase}</status>"
    return f"<response><href>{href(path)}</href>{line}{error}</response>"


def multistatus(
    responses: Iterable[str], tail: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    """Return the whole answer."""
    body = "".join(
        (
            '<?xml version="1.0" encoding="utf-8"?>\n<multistatus',
            DECLARATIONS,
            ">",
            *responses,
            tail,
            "</multistatus>\n",
        )
    )
    return (
        HTTPStatus.MULTI_STATUS,
        {"Content-Type": "application/xml", **(headers or {})},
        body,
        None,
    )


def prefers_minimal(environ: Mapping[str, object]) -> bool:
    """Tell whether the client wants no list of what is missing (RFC 8144, and the older Brief)."""
    prefer = str(environ.get("HTTP_PREFER", "")).replace(" ", "").lower()
    brief = str(environ.get("HTTP_BRIEF", "")).strip().lower()
    return "return=minimal" in prefer.split(",") or brief == "t"
