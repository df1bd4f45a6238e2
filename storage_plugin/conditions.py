"""Conditional requests as RFC 9110 section 13 has them: lists, weak tags, ``*``."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from storage_plugin.errors import DavError

_TAG = re.compile(r'\s*(W/)?("[^"]*"|[^\s,"]+)\s*(?:,|$)')


def matches_strongly(header: str, etag: str | None) -> bool:
    """If-Match: strong comparison, so a weak tag never matches (RFC 9110 8.8.3.2)."""
    if etag is None:
        return False
    return header.strip() == "*" or (False, etag) in _tags(header)


def matches_weakly(header: str, etag: str | None) -> bool:
    """If-None-Match: weak comparison."""
    if etag is None:
        return False
    return header.strip() == "*" or etag in [tag for _weak, tag in _tags(header)]


def check_write(environ: Mapping[str, Any], etag: str | None) -> None:
    """Raise 412 unless the conditions of a write hold; ``etag`` is None for what is not there."""
    if_match = environ.get("HTTP_IF_MATCH")
    if if_match is not None and not matches_strongly(if_match, etag):
        raise precondition_failed("It was changed or deleted meanwhile; load it again.")
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None and matches_weakly(if_none_match, etag):
        raise precondition_failed("There is something at this address already.")


def precondition_failed(text: str) -> DavError:
    """412."""
    return DavError(HTTPStatus.PRECONDITION_FAILED, "", text)


def _tags(header: str) -> list[tuple[bool, str]]:
    """Return (weak, tag with quotes) of a list; some clients forget the quotes."""
    return [
        (bool(weak), tag if tag.startswith('"') else f'"{tag}"')
        for weak, tag in _TAG.findall(header)
    ]
