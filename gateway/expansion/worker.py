"""One worker process for the heavy half of a sync, so that the event loop goes on meanwhile.

A child of our own on two pipes and not a process pool: it loads the engine alone (half of the
pool's memory), no helper threads compete with the event loop for the interpreter, and results are
read one by one, so that no answer is long enough to be felt.
"""

import asyncio
import os
import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gateway.children import own_python
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import BusyRules, Expansion
from gateway.expansion.child import LENGTH, framed
from gateway.expansion.prepare import (
    FAILED,
    TOO_BIG,
    MirrorRules,
    PreparedMember,
    RawObject,
    expand_one,
    not_servable,
    prepare_mirrored,
    unknown_expansion,
)

T = TypeVar("T")
R = TypeVar("R")

INLINE_LIMIT = 20
INLINE_BYTES = 200_000
INLINE_S = 0.02
"""Up to this many objects, bytes and seconds are prepared on the loop, the rest apart from it."""

TURN_BYTES = 1_000_000
"""So much is prepared in one go, or one object: 5 MB of overrides take eight seconds."""

_START = "from gateway.expansion.child import main; main()"
_OWN_SETTINGS = "GATEWAY_"
_BROKE = "Reading this object broke the expansion worker."


class WorkerDied(Exception):
    """The worker process ended before it had answered."""


class Expander:
    """One worker process, started when first needed and again after it died."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._exchanges: set[asyncio.Task[Any]] = set()

    async def prepare(self, raws: Sequence[RawObject], rules: MirrorRules) -> list[PreparedMember]:
        """Prepare a batch, inline when it is small.

        An object that kills the worker (memory, a crash in a library) is marked unknown; the
        others of its batch are prepared as usual.
        """
        if len(raws) > INLINE_LIMIT or sum(len(raw.body) for raw in raws) > INLINE_BYTES:
            return await self._apart(raws, rules)
        started = time.monotonic()
        done: dict[str, PreparedMember] = {}
        for raw in raws:
            if time.monotonic() - started > INLINE_S:
                break
            ready = prepare_mirrored(raw, rules, cpu_budget_s=INLINE_S)
            if not any(problem.code == TOO_BIG for problem in ready.expansion.problems):
                done[raw.name] = ready
        heavy = [raw for raw in raws if raw.name not in done]
        done.update((ready.upstream_name, ready) for ready in await self._apart(heavy, rules))
        return [done[raw.name] for raw in raws]

    async def _apart(self, raws: Sequence[RawObject], rules: MirrorRules) -> list[PreparedMember]:
        return [ready for part in _turns(raws) for ready in await self._in_turn(part, rules)]

    async def _in_turn(self, raws: Sequence[RawObject], rules: MirrorRules) -> list[PreparedMember]:
        try:
            return await self._ask(prepare_mirrored, raws, rules)
        except WorkerDied:
            return [await self._alone(raw, rules) for raw in raws]

    async def _alone(self, raw: RawObject, rules: MirrorRules) -> PreparedMember:
        try:
            return (await self._ask(prepare_mirrored, [raw], rules))[0]
        except WorkerDied:
            return not_servable(raw, unknown_expansion(rules.window, FAILED, _BROKE), _BROKE)

    async def expand(
        self, jobs: Sequence[tuple[bytes, BusyRules]], window: Interval
    ) -> list[Expansion]:
        """Expand stored bodies over a window, each under its own rules.

        Never on the loop: this is done behind everybody's back, for many people at a time. One that
        kills the worker is unknown, the others are expanded as usual.
        """
        if not jobs:
            return []
        try:
            return await self._ask(expand_one, jobs, window)
        except WorkerDied:
            return [await self._expand_alone(job, window) for job in jobs]

    async def _expand_alone(self, job: tuple[bytes, BusyRules], window: Interval) -> Expansion:
        try:
            return (await self._ask(expand_one, [job], window))[0]
        except WorkerDied:
            return unknown_expansion(window, FAILED, _BROKE)

    async def close(self) -> None:
        """Stop the worker process; what it was asked stays unanswered."""
        for exchange in self._exchanges:
            exchange.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        await self._end()

    # --- the process ---

    async def _ask(self, work: Callable[..., R], items: Sequence[T], *shared: object) -> list[R]:
        """Let the worker call ``work(item, *shared)`` for every item; raises WorkerDied.

        A caller that is cancelled leaves the exchange to end by itself: the next one must not
        find the rest of its answers in the pipe.
        """
        if not items:
            return []
        exchange = asyncio.create_task(self._exchange(work, items, shared))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)
        exchange.add_done_callback(_look_at_error)
        return await asyncio.shield(exchange)

    async def _exchange(
        self, work: Callable[..., R], items: Sequence[T], shared: Sequence[object]
    ) -> list[R]:
        async with self._turn:
            if self._process is not None and self._process.returncode is not None:
                await self._end()  # it was killed while nobody asked
            process = self._process or await self._start()
            try:
                found = await _talk(process, framed((work, items, shared)), len(items))
            except (OSError, EOFError, asyncio.IncompleteReadError) as error:
                await self._end()
                raise WorkerDied from error
            except BaseException:  # the rest of its answers is in the pipe
                await self._end()
                raise
        for done, value in found:
            if not done:
                raise value
        return [value for _, value in found]

    async def _start(self) -> asyncio.subprocess.Process:
        settings = {
            name: value for name, value in os.environ.items() if not name.startswith(_OWN_SETTINGS)
        }
        self._process = await asyncio.create_subprocess_exec(
            *own_python(_START),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=settings,  # among ours may be the key
            start_new_session=True,  # Ctrl-C reaches the parent only
        )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _turns(raws: Sequence[RawObject]) -> list[list[RawObject]]:
    """Cut a batch where it gets long, so that other accounts have their turn in between."""
    parts: list[list[RawObject]] = []
    room = 0
    for raw in raws:
        if not parts or len(raw.body) > room:
            parts.append([])
            room = TURN_BYTES
        parts[-1].append(raw)
        room -= len(raw.body)
    return parts


async def _talk(
    process: asyncio.subprocess.Process, job: bytes, answers: int
) -> list[tuple[bool, Any]]:
    """Send one job and read its answers, letting others have the loop between them."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(job)
    await process.stdin.drain()
    found: list[tuple[bool, Any]] = []
    for _ in range(answers):
        head = await process.stdout.readexactly(LENGTH.size)
        frame = await process.stdout.readexactly(*LENGTH.unpack(head))
        found.append(pickle.loads(frame))  # noqa: S301 - from our own child
        await asyncio.sleep(0)
    return found


def _look_at_error(exchange: "asyncio.Task[Any]") -> None:
    """Take notice, so that an exchange whose caller left is not reported as forgotten."""
    if not exchange.cancelled():
        exchange.exception()
