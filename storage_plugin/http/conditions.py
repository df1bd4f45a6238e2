"""Conditional requests as RFC 9110 section 13 has them: lists, weak tags, ``*``."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from storage_plugin.http.errors import DavError
from storage_plugin.http.handlers import path_of

_TAG = re.compile(r'\s*(W/)?("[^"]*"|[^\s,"]+)\s*(?:,|$)')

# Blanks are single by then, and each has one place: these patterns never backtrack far.
_CONDITION = re.compile(r' ?(Not ?)?(?:<[^<> ]+>|\[((?:W/)?"[^"]*")\])', re.IGNORECASE)
_LIST = re.compile(
    rf" ?(?:<(?P<about>[^<> ]+)> ?)?\((?P<conditions>(?:{_CONDITION.pattern})+) ?\)",
    re.IGNORECASE,
)


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


def check_write(environ: Mapping[str, Any], path: str, etag: str | None) -> None:
    """Raise 412 unless the conditions of a write hold; ``etag`` is None for what is not there.

    ``path`` is the resource as the client names it, for the tagged lists of ``If``.
    """
    if_match = environ.get("HTTP_IF_MATCH")
    if if_match is not None and not matches_strongly(if_match, etag):
        raise precondition_failed("It was changed or deleted meanwhile; load it again.")
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None and matches_weakly(if_none_match, etag):
        raise precondition_failed("There is something at this address already.")
    header = environ.get("HTTP_IF")
    if header is not None and not _if_holds(header, path, etag):
        raise precondition_failed("It is not what was expected; load it again.")


def precondition_failed(text: str) -> DavError:
    """412."""
    return DavError(HTTPStatus.PRECONDITION_FAILED, "", text)


def _if_holds(header: str, path: str, etag: str | None) -> bool:
    """Tell whether one list of an If header holds (RFC 4918 10.4).

    There are no locks, so no state token is ever valid; a list about another resource does not
    hold. Raises 400 for what is no such header.
    """
    header = " ".join(header.split())
    lists = list(_LIST.finditer(header))
    if not lists or _LIST.sub("", header).strip():
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The If header cannot be understood.")
    about = path
    for found in lists:
        about = _path_of_tag(found["about"]) if found["about"] else about
        conditions = _CONDITION.findall(found["conditions"])
        if about == path and all(
            bool(negated) != matches_strongly(tag, etag) if tag else bool(negated)
            for negated, tag in conditions
        ):
            return True
    return False


def _path_of_tag(url: str) -> str:
    try:
        return path_of(url)
    except ValueError:
        return ""


def _tags(header: str) -> list[tuple[bool, str]]:
    """Return (weak, tag with quotes) of a list; some clients forget the quotes."""
    return [
        (bool(weak), tag if tag.startswith('"') else f'"{tag}"')
        for weak, tag in _TAG.findall(header)
    ]
