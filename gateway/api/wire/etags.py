"""Conditional answers: whether a caller has already what would be sent (RFC 9110 13)."""

from aiohttp import web


def has_etag(request: web.Request, etag: str) -> bool:
    """Tell whether If-None-Match names the answer (weak comparison, RFC 9110 13.1.2)."""
    given = request.headers.get("If-None-Match", "")
    opaque = etag.removeprefix("W/")
    listed = (part.strip().removeprefix("W/") for part in given.split(","))
    return given.strip() == "*" or opaque in listed
