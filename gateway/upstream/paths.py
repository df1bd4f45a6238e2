"""Paths of resources, decoded for the store and encoded for the wire. Pure."""

import re
from urllib.parse import quote, unquote_to_bytes

_AUTHORITY = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")
_NEEDS_CARE = re.compile(r"[%?#\\]|//")
# RFC 3986 3.3: what may stand in a path segment as it is, the rest is percent-encoded.
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"
_ESCAPE = re.compile("(%[0-9A-Fa-f]{2})")
# What of a decoded segment stays encoded: surrogates stand for bytes that are not UTF-8.
_UNSAFE = re.compile("%(?=[0-9A-Fa-f]{2})|[\x00-\x1f/\x7f\udc80-\udcff]")


def decode_path(path: str) -> str:
    """Return a path with each segment decoded as far as it can be told from others and stored.

    An encoded slash, control characters and bytes that are not UTF-8 stay encoded, and so does a
    percent sign that would otherwise look like the beginning of one of these: two names are
    equal exactly when their hrefs mean the same resource (RFC 3986 6.2.2.2).
    """
    return "/".join(_decode_segment(part) if "%" in part else part for part in path.split("/"))


def _decode_segment(segment: str) -> str:
    text = unquote_to_bytes(segment).decode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def encode_path(path: str) -> str:
    """Undo :func:`decode_path` for use in a request."""
    return "/".join(_encode_segment(part) for part in path.split("/"))


def _encode_segment(segment: str) -> str:
    if "%" not in segment:
        return quote(segment, safe=_SEGMENT_SAFE)
    parts = _ESCAPE.split(segment)  # every other one is an escape, which stays
    return "".join(
        part if index % 2 else quote(part, safe=_SEGMENT_SAFE) for index, part in enumerate(parts)
    )


def path_of(href: str) -> str:
    """Return the decoded path of an href, which may be a whole URL.

    Cut by hand, for ``urlsplit`` raises where an authority cannot be one: one bad href among
    thousands must not stop a listing. The host an href names is never used without being checked.
    """
    href = href.strip()
    if href.startswith("/") and not _NEEDS_CARE.search(href):
        return href  # a full listing has ten thousand of these
    return decode_path(_AUTHORITY.sub("", href, count=1).partition("#")[0].partition("?")[0])
