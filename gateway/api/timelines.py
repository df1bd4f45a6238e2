"""The fast path of free/busy: timelines in memory, rendered once, sliced per question.

An entry is used only while :mod:`gateway.store.live` names the same version it was built under;
on any doubt it is built anew or the question goes the long way. Entries are bounded by bytes, the
least recently used go first. The bytes are exactly those of the long way (a differential test).
"""

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import NamedTuple
from zoneinfo import ZoneInfo

import orjson

from gateway.api.answers import digest_states, make_etag, render_source
from gateway.api.times import render_instant
from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.services.timeline import Timeline, build_timeline
from gateway.store.live import Live, Version
from gateway.store.threads import StoreThreads

DEFAULT_BYTES = 64 * 1024 * 1024
_ENTRY_OVERHEAD = 2_000


class Rendered:
    """One timeline with the JSON of its periods; ``size`` is its bytes in memory, roughly."""

    def __init__(self, timeline: Timeline, version: Version) -> None:
        self.timeline = timeline
        self.version = version
        self.zone = ZoneInfo(timeline.time_zone)
        self._starts = array("q", (row[0] for row in timeline.rows))
        self._ends = array("q", (row[1] for row in timeline.rows))
        self._unknown = array("q", (n for n, r in enumerate(timeline.rows) if r[2] == "unknown"))
        parts = [self._period(*row) for row in timeline.rows]
        self._offsets = array("q", [0])
        position = 0
        for part in parts:
            position += len(part) + 1
            self._offsets.append(position)
        self._text = b",".join(parts)
        self._middle = (
            f'"time_zone":"{timeline.time_zone}","revision":{timeline.revision},"complete":'
        )
        self._judged: _Judged | None = None
        self.size = _ENTRY_OVERHEAD + len(self._text) + 200 * len(parts)

    def _period(self, start: int, end: int, status: str) -> bytes:
        first, last = render_instant(start, self.zone), render_instant(end, self.zone)
        return f'{{"start":"{first}","end":"{last}","status":"{status}"}}'.encode()

    def answer(self, window: Interval, *, now: int, fresh_for_s: int) -> tuple[str, bytes] | None:
        """Return the weak ETag and the JSON of the answer, or None: ask the long way."""
        coverage = self.timeline.coverage
        if not coverage[0] <= window[0] < window[1] <= coverage[1]:
            return None
        if self._judged is None or self._judged.key != (now, fresh_for_s):
            self._judged = self._judge(now, fresh_for_s)
        if self._judged.states is None:
            return None
        low = bisect_right(self._ends, window[0])
        high = bisect_left(self._starts, window[1])
        complete = not self._has_unknown(low, high)
        held = [
            name
            for start, end, name in self.timeline.holds
            if start < window[1] and end > window[0]
        ]
        question = (
            *window,
            self.timeline.time_zone,
            self.timeline.revision,
            complete,
            "block",
            "block",
            None,
            held,
        )
        etag = make_etag(question, self._judged.states)
        return etag, self._render(window, complete, self._slice(low, high, window))

    def _judge(self, now: int, fresh_for_s: int) -> "_Judged":
        """Judge and render the sources; true for this second, whatever the window."""
        states = self.timeline.states(self.timeline.coverage, now=now, fresh_for_s=fresh_for_s)
        if states is None:
            return _Judged((now, fresh_for_s), None, b"")
        rendered = orjson.dumps([render_source(state, self.zone) for state in states])
        return _Judged((now, fresh_for_s), digest_states(states), rendered)

    def _has_unknown(self, low: int, high: int) -> bool:
        if not self._unknown:
            return False
        position = bisect_left(self._unknown, low)
        return position < len(self._unknown) and self._unknown[position] < high

    def _slice(self, low: int, high: int, window: Interval) -> bytes:
        """Return the periods from ``low`` to ``high``; only first and last may need clipping."""
        if low >= high:
            return b""
        first_cut = self._starts[low] < window[0]
        last_cut = self._ends[high - 1] > window[1]
        if not first_cut and not last_cut:
            return self._text[self._offsets[low] : self._offsets[high] - 1]
        inner_low, inner_high = low + first_cut, high - last_cut
        parts = []
        if first_cut:
            parts.append(self._clipped(low, window))
        if inner_low < inner_high:
            parts.append(self._text[self._offsets[inner_low] : self._offsets[inner_high] - 1])
        if last_cut and (high - 1 > low or not first_cut):
            parts.append(self._clipped(high - 1, window))
        return b",".join(parts)

    def _clipped(self, number: int, window: Interval) -> bytes:
        start, end, status = self.timeline.rows[number]
        return self._period(max(start, window[0]), min(end, window[1]), status)

    def _render(self, window: Interval, complete: bool, busy: bytes) -> bytes:
        assert self._judged is not None
        start, end = (render_instant(moment, self.zone) for moment in window)
        head = f'{{"start":"{start}","end":"{end}",{self._middle}{"true" if complete else "false"}'
        policy = b',"policy":{"on_unknown":"block","on_tentative":"block"},"busy":['
        return b"".join((head.encode(), policy, busy, b'],"sources":', self._judged.rendered, b"}"))


class _Judged(NamedTuple):
    """The sources as they stand in one second; ``states`` None when one is not believed."""

    key: tuple[int, int]
    states: bytes | None
    rendered: bytes


class TimelineCache:
    """The timelines of one process; ``capacity`` is in bytes. Belongs to one event loop."""

    def __init__(self, live: Live, threads: StoreThreads, *, capacity: int = DEFAULT_BYTES) -> None:
        self._live = live
        self._threads = threads
        self._capacity = capacity
        self._entries: OrderedDict[str, Rendered] = OrderedDict()
        self._building: dict[str, asyncio.Future[Rendered | None]] = {}
        self.bytes = 0

    async def find(self, principal_id: str, *, now: int) -> Rendered | None:
        """Return a timeline that is current as of the last ``live.refresh()``, built if need be.

        None when none can be trusted, or when there is no such principal.
        """
        version = self._live.version(principal_id)
        if version is None:
            self._drop(principal_id)
            return None
        entry = self._entries.get(principal_id)
        if entry is not None and entry.version == version and now < entry.timeline.valid_until:
            self._entries.move_to_end(principal_id)
            return entry
        return await self._build_once(principal_id, version, now)

    async def _build_once(self, principal_id: str, version: Version, now: int) -> Rendered | None:
        running = self._building.get(principal_id)
        if running is None:
            running = asyncio.ensure_future(self._build(principal_id, version, now))
            self._building[principal_id] = running
            running.add_done_callback(lambda _: self._building.pop(principal_id, None))
        built = await asyncio.shield(running)
        return built if built is not None and built.version == version else None

    async def _build(self, principal_id: str, version: Version, now: int) -> Rendered | None:
        """Build under one version; if it moved meanwhile, nothing is kept."""
        try:
            timeline = await self._threads.read(build_timeline, principal_id, now=now)
        except NotFound:
            self._drop(principal_id)
            return None
        self._live.refresh()
        if self._live.version(principal_id) != version:
            return None
        entry = Rendered(timeline, version)
        self._drop(principal_id)
        self._entries[principal_id] = entry
        self.bytes += entry.size
        while self.bytes > self._capacity and self._entries:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= oldest.size
        return entry

    def _drop(self, principal_id: str) -> None:
        entry = self._entries.pop(principal_id, None)
        if entry is not None:
            self.bytes -= entry.size
