"""From an upstream body to what the mirror stores: parse, strip, expand. Pure, and picklable.

Big batches run in one worker process, so that the event loop stays responsive; small ones run
here, where starting over a process boundary would cost more than the work.
"""

import asyncio
import hashlib
import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, ParamSpec, TypeVar

from gateway.core.errors import InvalidCalendarData
from gateway.core.fbtype import FBType
from gateway.core.instances import BusyRules, Expansion, Instance, expand
from gateway.core.intervals import Interval
from gateway.core.mirror import serve_mirrored
from gateway.core.objects import etag_of, parse_calendar_object, peek_uid
from gateway.core.rows import Problem

P = ParamSpec("P")
T = TypeVar("T")

INLINE_LIMIT = 20
INLINE_BYTES = 200_000
INLINE_S = 0.05
"""Up to this many objects, bytes and seconds are prepared on the loop, the rest apart from it."""

FULL_BUDGET_S = 2.0
TOO_BIG = "too-many-instances"
"""What the engine says of an object that it could not expand within its budget."""

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
class Ready:
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
) -> Ready:
    """Prepare one mirrored object; what cannot be understood is kept, its span is unknown.

    Past ``cpu_budget_s`` seconds of CPU the rest of its span is unknown too.
    """
    expansion = expand(raw.body, rules.window, rules.busy, cpu_budget_s=cpu_budget_s)
    try:
        parsed = parse_calendar_object(raw.body)
    except InvalidCalendarData as error:
        return _not_servable(raw, expansion, error.detail)
    served = serve_mirrored(raw.body, rules.busy.owner_addresses, detail=rules.detail)
    return Ready(
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


def _not_servable(raw: RawObject, expansion: Expansion, detail: str) -> Ready:
    """Keep what no CalDAV client could be given (RFC 4791 4.1); times the engine read count.

    A resource with two UIDs or none is such a case: its events are busy where they are, and one
    odd object does not make a whole year of somebody's time unknown.
    """
    if not expansion.problems:
        expansion = replace(expansion, problems=(Problem("not-servable", detail, None, None),))
    return Ready(
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


def prepare_batch(raws: Sequence[RawObject], rules: MirrorRules) -> list[Ready]:
    """Prepare objects in order; this is what the worker process runs."""
    return [prepare_mirrored(raw, rules) for raw in raws]


def expand_batch(jobs: Sequence[tuple[bytes, BusyRules]], window: Interval) -> list[Expansion]:
    """Expand bodies in order; this too is what the worker process runs."""
    return [expand(body, window, rules) for body, rules in jobs]


class Expander:
    """One worker process for the heavy half of a sync, started when first needed."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def prepare(self, raws: Sequence[RawObject], rules: MirrorRules) -> list[Ready]:
        """Prepare a batch, inline when it is small.

        An object that kills the worker (memory, a crash in a library) is marked unknown; the
        others of its batch are prepared as usual.
        """
        if len(raws) > INLINE_LIMIT or sum(len(raw.body) for raw in raws) > INLINE_BYTES:
            return await self._apart(raws, rules)
        started = time.monotonic()
        done: dict[str, Ready] = {}
        for raw in raws:
            if time.monotonic() - started > INLINE_S:
                break
            ready = prepare_mirrored(raw, rules, cpu_budget_s=INLINE_S)
            if not any(problem.code == TOO_BIG for problem in ready.expansion.problems):
                done[raw.name] = ready
        heavy = [raw for raw in raws if raw.name not in done]
        done.update((ready.upstream_name, ready) for ready in await self._apart(heavy, rules))
        return [done[raw.name] for raw in raws]

    async def _apart(self, raws: Sequence[RawObject], rules: MirrorRules) -> list[Ready]:
        if not raws:
            return []
        try:
            return await self._run(raws, rules)
        except BrokenProcessPool:
            return [await self._alone(raw, rules) for raw in raws]

    async def _alone(self, raw: RawObject, rules: MirrorRules) -> Ready:
        try:
            return (await self._run([raw], rules))[0]
        except BrokenProcessPool:
            detail = "Reading this object broke the expansion worker."
            return _not_servable(
                raw, unknown_expansion(rules.window, "expansion-failed", detail), detail
            )

    async def expand(
        self, jobs: Sequence[tuple[bytes, BusyRules]], window: Interval
    ) -> list[Expansion]:
        """Expand stored bodies over a window, each under its own rules."""
        if len(jobs) <= INLINE_LIMIT:
            return expand_batch(jobs, window)
        return await self._in_worker(expand_batch, jobs, window)

    async def _run(self, raws: Sequence[RawObject], rules: MirrorRules) -> list[Ready]:
        return await self._in_worker(prepare_batch, raws, rules)

    async def _in_worker(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context)
        pool = self._pool
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(pool, partial(work, *args, **kwargs))
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
            pool.shutdown(wait=False)
            raise

    def close(self) -> None:
        """Stop the worker process."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
