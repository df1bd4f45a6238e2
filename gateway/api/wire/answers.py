"""How a free/busy answer is written and digested: shared by the long way and the fast path."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web

from gateway.api.wire.times import render_known
from gateway.core.intervals import Interval
from gateway.services.availability import SourceState


def render_source(source: SourceState, zone: ZoneInfo) -> dict[str, Any]:
    """Shape one source of an answer."""
    return {
        "calendar": source.calendar,
        "role": source.role,
        "state": source.state,
        "synced_at": render_known(source.synced_at, zone),
        "age_s": source.age_s,
        "problem": source.problem,
    }


def digest_states(sources: Iterable[SourceState]) -> bytes:
    """Return what an ETag has to know of the sources; ages are left out."""
    return orjson.dumps([(s.calendar, s.role, s.state, s.problem, s.unknown) for s in sources])


def digest_question(
    time_zone: str,
    revision: int,
    on_unknown: str,
    on_tentative: str,
    group_by: str | None,
    states: bytes,
) -> str:
    """Digest all an answer depends on beside its window, for :func:`make_etag`."""
    question = orjson.dumps((time_zone, revision, on_unknown, on_tentative, group_by))
    return hashlib.blake2b(question + states, digest_size=12).hexdigest()


def make_etag(window: Interval, digest: str, *, complete: bool, holds: Sequence[str]) -> str:
    """Return a weak ETag (RFC 9110 8.8.1): the window as it is, the rest as a digest.

    ``holds`` are the ids of the living holds in the window.
    """
    held = hashlib.blake2b(orjson.dumps(holds), digest_size=6).hexdigest() if holds else ""
    return f'W/"{digest}.{window[0]:x}.{window[1]:x}{"" if complete else "u"}{held}"'


def has_etag(request: web.Request, etag: str) -> bool:
    """Tell whether If-None-Match names the answer (weak comparison, RFC 9110 13.1.2)."""
    given = request.headers.get("If-None-Match", "")
    opaque = etag.removeprefix("W/")
    listed = (part.strip().removeprefix("W/") for part in given.split(","))
    return given.strip() == "*" or opaque in listed
