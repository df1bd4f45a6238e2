"""How a free/busy answer is written and digested: shared by the long way and the fast path."""

import hashlib
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from gateway.api.times import render_known
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


def make_etag(question: tuple[Any, ...], states: bytes) -> str:
    """Digest all an answer depends on into a weak ETag (RFC 9110 8.8.1)."""
    digest = hashlib.blake2b(orjson.dumps(question) + states, digest_size=15).hexdigest()
    return f'W/"{digest}"'
