"""From an upstream body to what the mirror stores: parse, strip, expand. Pure, and picklable.

:mod:`gateway.expansion.worker` decides where it runs: on the loop, or in the worker process, which
loads this module and what it imports.
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.core.appointments.mirror import serve_mirrored
from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.objects import etag_of, parse_calendar_object, peek_uid
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import BusyRules, Expansion, Instance, expand
from gateway.core.recurrence.model import Problem
from gateway.core.status import FBType

FULL_BUDGET_S = 2.0
TOO_BIG = "too-many-instances"
"""What the engine says of an object that it could not expand within its budget."""

FAILED = "expansion-failed"
"""What is said of an object that broke our own reading of it."""

SERVED_COMPONENT = "VEVENT"
_HARMLESS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+=-]{0,180}\.ics", re.ASCII)


@dataclass(frozen=True, slots=True)
class RawObject:
    """An object as fetched: decoded last path segment, ETag and body."""

    name: str
    etag: str | None
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MirrorRules:
    """How the objects of one calendar are mirrored."""

    busy: BusyRules
    window: Interval
    detail: Literal["full", "busy"]


@dataclass(frozen=True, slots=True)
class PreparedMember:
    """An object ready to be stored. ``raw`` is set when it could not be understood."""

    upstream_name: str
    upstream_etag: str | None
    name: str
    uid: str
    component: str
    etag: str
    body: bytes = field(repr=False)
    expansion: Expansion = field(repr=False)
    served: bool = True
    raw: bytes | None = field(default=None, repr=False)


def local_name(upstream_name: str) -> str:
    """Return the name an object has in its mirror: its own when harmless, else a digest."""
    if _HARMLESS_NAME.fullmatch(upstream_name):
        return upstream_name
    return hashlib.sha256(upstream_name.encode("utf-8", "replace")).hexdigest()[:40] + ".ics"


def prepare_mirrored(
    raw: RawObject, rules: MirrorRules, *, cpu_budget_s: float = FULL_BUDGET_S
) -> PreparedMember:
    """Prepare one mirrored object; what cannot be understood is kept, its span is unknown.

    Past ``cpu_budget_s`` seconds of CPU the rest of its span is unknown too. An object that breaks
    our own reading is kept the same way: it stops no other.
    """
    try:
        return _prepare(raw, rules, cpu_budget_s)
    except Exception as error:
        detail = f"Reading this object failed ({type(error).__name__})."
        unknown = unknown_expansion(rules.window, FAILED, detail)
        return not_servable(raw, unknown, detail)


def _prepare(raw: RawObject, rules: MirrorRules, cpu_budget_s: float) -> PreparedMember:
    expansion = expand(raw.body, rules.window, rules.busy, cpu_budget_s=cpu_budget_s)
    try:
        parsed = parse_calendar_object(raw.body)
    except InvalidCalendarData as error:
        return not_servable(raw, expansion, error.detail)
    served = serve_mirrored(raw.body, rules.busy.owner_addresses, detail=rules.detail)
    return PreparedMember(
        upstream_name=raw.name,
        upstream_etag=raw.etag,
        name=local_name(raw.name),
        uid=parsed.uid,
        component=parsed.component,
        etag=etag_of(served),
        body=served,
        expansion=expansion,
        served=parsed.component == SERVED_COMPONENT,
    )


def not_servable(raw: RawObject, expansion: Expansion, detail: str) -> PreparedMember:
    """Keep what no CalDAV client could be given (RFC 4791 4.1); times the engine read count.

    A resource with two UIDs or none is such a case: its events are busy where they are, and one
    odd object does not make a whole year of somebody's time unknown.
    """
    if not expansion.problems:
        expansion = replace(expansion, problems=(Problem("not-servable", detail, None, None),))
    return PreparedMember(
        upstream_name=raw.name,
        upstream_etag=raw.etag,
        name=local_name(raw.name),
        uid=peek_uid(raw.body) or raw.name,
        component=SERVED_COMPONENT,
        etag=hashlib.sha256(raw.body).hexdigest()[:32],
        body=b"",
        expansion=expansion,
        served=False,
        raw=raw.body,
    )


def unknown_expansion(window: Interval, code: str, detail: str) -> Expansion:
    """Return an expansion that says: this object may be anywhere in the window."""
    instance = Instance(window[0], window[1], FBType.UNKNOWN, window[0], window[1], code)
    return Expansion((instance,), (Problem(code, detail, window[0], window[1]),), window)


def expand_one(job: tuple[bytes, BusyRules], window: Interval) -> Expansion:
    """Expand one stored body under its rules; this too is what the worker process runs."""
    body, rules = job
    try:
        return expand(body, window, rules)
    except Exception as error:
        detail = f"Reading this object failed ({type(error).__name__})."
        return unknown_expansion(window, FAILED, detail)
