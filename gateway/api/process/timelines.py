"""The fast path of free/busy: timelines in memory, rendered when asked for, sliced per question.

An entry is used only while :mod:`gateway.store.signals` names the same version it was built under;
on any doubt it is built anew or the question goes the long way. Entries are bounded by bytes, the
least recently used go first. The bytes are exactly those of the long way (a differential test).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

import orjson

from gateway.api.wire.freebusy import (
    END,
    close_answer,
    digest_question,
    make_etag,
    open_answer,
    render_period,
    render_source,
)
from gateway.core.availability.merge import STRENGTH
from gateway.core.availability.policy import Policy
from gateway.core.availability.sources import SourceState
from gateway.core.availability.timeline import PLAIN, Timeline
from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.observe import metrics
from gateway.services.availability import USUAL_AFTER_S, USUAL_BEFORE_S, load_to_keep
from gateway.store.access.principals import Principal
from gateway.store.objects.instances import TooManyRows
from gateway.store.signals import ChangeSignals, StateVersion
from gateway.store.threads import StoreThreads

DEFAULT_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES, _SOURCE_BYTES, _ROW_BYTES, _TEXT_BYTES = 3_000, 1_500, 25, 40
"""What an entry, each source, each row and each rendered row take, beside the text itself."""
_MOST_REFUSED = 1_000
_WINDOW_BYTES, _MOST_WINDOWS, _LONGEST_KEPT = 400, 32, 64 * 1024
_AT_ONCE = 200
"""So many periods are rendered in one turn of the event loop: about a millisecond."""
_UNKNOWN = STRENGTH.index("unknown")


class KeptTimeline:
    """One timeline with the JSON of the periods that were asked for.

    ``size`` is its bytes in memory, roughly; ``on_growth`` is told how many more they become.
    """

    def __init__(
        self,
        principal: Principal,
        timeline: Timeline,
        version: StateVersion,
        policy: Policy = PLAIN,
    ) -> None:
        self.principal = principal
        self.timeline = timeline
        self.version = version
        self.zone = ZoneInfo(principal.time_zone)
        self._policy = policy
        self.on_growth: Callable[[int], None] | None = None
        self._verified_at = 0
        self._is_judged_late = False
        self._texts: list[bytes | None] = [None] * len(timeline.starts)
        self._judged: _Judged | None = None
        self._sources = (-1, b"")
        self._windows: dict[Interval, tuple[str, bytes]] = {}
        self.size = (
            _ENTRY_BYTES + _SOURCE_BYTES * len(timeline.sources) + _ROW_BYTES * len(self._texts)
        )

    def note_verified(self, at: int | None) -> None:
        """Take in that a poll found all calendars current: ages begin anew, the rest stands."""
        if at is None or at <= self._verified_at:
            return
        self._verified_at = at
        self.timeline = self.timeline.verified(at)
        self._is_judged_late = True

    async def prepare(self, window: Interval) -> None:
        """Render the periods of a window that nobody asked for yet; others have turns meanwhile."""
        if window in self._windows or not self.timeline.covers(window):
            return
        rows = self.timeline.between(window)
        for low in range(rows.start, rows.stop, _AT_ONCE):
            high = min(low + _AT_ONCE, rows.stop)
            if None in self._texts[low:high]:
                self._fill(low, high)
                await asyncio.sleep(0)

    def answer(self, window: Interval, *, now: int) -> tuple[str, bytes] | None:
        """Return the weak ETag and the JSON of the answer.

        None when the long way has to be asked, or :meth:`prepare` because there is much to render.
        """
        timeline = self.timeline
        if not timeline.covers(window) or self._is_much(window):
            return None
        judged = self._judged
        if judged is None or not judged.since <= now < judged.until or self._is_judged_late:
            before = judged
            judged = self._judged = self._judge(now)
            self._sources, self._is_judged_late = (-1, b""), False
            if before is None or before.digest != judged.digest:
                self._forget_windows()
        if judged.digest is None:
            return None
        known = self._windows.get(window) or self._render(window, judged.digest)
        if self._sources[0] != now:
            self._sources = (now, close_answer(judged.render(now)))
        return known[0], b"".join((known[1], self._sources[1], END))

    def _render(self, window: Interval, digest: str) -> tuple[str, bytes]:
        """Return the ETag and the JSON up to the sources; pages ask a few windows many times."""
        timeline = self.timeline
        rows = timeline.between(window)
        complete = not timeline.is_catching_up
        complete = complete and _UNKNOWN not in timeline.kinds[rows.start : rows.stop]
        held = [hold.id for hold in timeline.held_in(window)]
        head = open_answer(window, self.zone, timeline.revision, self._policy, complete=complete)
        busy = self._busy(rows, window) if rows else b""
        known = (
            make_etag(window, digest, complete=complete, holds=held),
            b"".join((head, b"[", busy, b"]")),
        )
        if len(known[1]) > _LONGEST_KEPT:
            return known  # the periods are kept, and joining them again is quick
        if len(self._windows) >= _MOST_WINDOWS:
            self._forget_windows()
        self._windows[window] = known
        self._grow(len(known[1]) + _WINDOW_BYTES)
        return known

    def _is_much(self, window: Interval) -> bool:
        """Tell whether more is to be rendered than one turn of the event loop should take."""
        if window in self._windows:
            return False
        rows = self.timeline.between(window)
        if len(rows) <= _AT_ONCE:
            return False
        return self._texts[rows.start : rows.stop].count(None) > _AT_ONCE

    def _forget_windows(self) -> None:
        freed = sum(len(text) + _WINDOW_BYTES for _, text in self._windows.values())
        self._windows.clear()
        self._grow(-freed)

    def _grow(self, more: int) -> None:
        self.size += more
        if self.on_growth is not None:
            self.on_growth(more)

    def _judge(self, now: int) -> "_Judged":
        """Judge the sources: true until time alone may change a state, whatever the window."""
        timeline, policy = self.timeline, self._policy
        states = timeline.judge(timeline.span, policy, now=now)
        until = timeline.judged_until(policy, now=now)
        if now >= timeline.valid_until or any(state.unknown for state in states):
            return _Judged(now, max(until, now + 1), None, ())
        digest = digest_question(self.zone.key, timeline.revision, policy, None, states)
        return _Judged(now, until, digest, _ageless(states, self.zone))

    def _busy(self, rows: range, window: Interval) -> bytes:
        """Return the periods; only the first and the last may need clipping."""
        low, high = rows.start, rows.stop
        texts = self._texts[low:high]
        if None in texts:
            texts = self._fill(low, high)
        if self.timeline.starts[low] < window[0]:
            texts[0] = self._clipped(low, window)
        if self.timeline.ends[high - 1] > window[1]:
            texts[-1] = self._clipped(high - 1, window)
        return b",".join(texts)  # type: ignore[arg-type]

    def _fill(self, low: int, high: int) -> list[bytes | None]:
        """Render the rows of a range that were not asked for before."""
        more = 0
        for number in range(low, high):
            if self._texts[number] is None:
                text = render_period(*self.timeline.row(number), self.zone)
                self._texts[number] = text
                more += len(text) + _TEXT_BYTES
        self._grow(more)
        return self._texts[low:high]

    def _clipped(self, number: int, window: Interval) -> bytes:
        start, end, status = self.timeline.row(number)
        return render_period(max(start, window[0]), min(end, window[1]), status, self.zone)


class _Judged(NamedTuple):
    """The sources as they stand from ``since`` to ``until``; no digest when one is not believed.

    ``parts`` are the JSON around the ages: (text before, when it was synced or None, text after).
    """

    since: int
    until: int
    digest: str | None
    parts: tuple[tuple[bytes, int | None], ...]

    def render(self, now: int) -> bytes:
        """Return the JSON of the sources with their ages in this second."""
        return b"".join(
            text if synced_at is None else b"%b%d" % (text, max(0, now - synced_at))
            for text, synced_at in self.parts
        )


def _ageless(states: Sequence[SourceState], zone: ZoneInfo) -> tuple[tuple[bytes, int | None], ...]:
    """Cut the JSON of the sources at the ages that go on by themselves."""
    parts: list[tuple[bytes, int | None]] = []
    text = b"["
    for number, state in enumerate(states):
        text += b"," if number else b""
        rendered = orjson.dumps(render_source(state, zone))
        if state.synced_at is None:
            text += rendered
            continue
        before, mark, after = rendered.partition(b'"age_s":')
        parts.append((text + before + mark, state.synced_at))
        text = after.lstrip(b"0123456789")
    return (*parts, (text + b"]", None))


class TimelineCache:
    """The timelines of one process, for plain questions under ``policy``.

    ``capacity`` is in bytes. Belongs to one event loop.
    """

    def __init__(
        self,
        signals: ChangeSignals,
        threads: StoreThreads,
        *,
        policy: Policy = PLAIN,
        capacity: int = DEFAULT_BYTES,
    ) -> None:
        self._signals = signals
        self._threads = threads
        self._policy = policy
        self._capacity = capacity
        self._entries: OrderedDict[str, KeptTimeline] = OrderedDict()
        self._too_large: dict[tuple[str, bool], StateVersion] = {}
        self._building: dict[tuple[str, bool], asyncio.Future[KeptTimeline | None]] = {}
        self.bytes = 0
        metrics().timeline_bytes.set_function(lambda: self.bytes)

    async def find(self, principal_id: str, window: Interval, *, now: int) -> KeptTimeline | None:
        """Return a timeline that is current as of the last ``refresh``, built if need be.

        It holds ``window`` as far as that is expanded. None when none can be trusted, or when
        there is no such principal.
        """
        found = self.peek(principal_id, window, now)
        version = self._signals.version(principal_id)
        if found is not None or version is None:
            return found
        usual = now - USUAL_BEFORE_S <= window[0] and window[1] <= now + USUAL_AFTER_S
        if usual:
            entry = self._entries.get(principal_id)
            usual = entry is None or entry.version != version or entry.timeline.covers(window)
        return await self._build_once(principal_id, version, now, usual)

    def peek(self, principal_id: str, window: Interval, now: int) -> KeptTimeline | None:
        """Return what :meth:`find` would return without building anything."""
        entry = self._entries.get(principal_id)
        if entry is None:
            return None
        version = self._signals.version(principal_id)
        if version is None:
            self._drop(principal_id)
            return None
        timeline = entry.timeline
        if entry.version != version or now >= timeline.valid_until:
            return None
        entry.note_verified(self._signals.verified_at(principal_id))
        if not timeline.covers(window) and timeline.span != timeline.coverage:
            return None
        self._entries.move_to_end(principal_id)
        return entry

    async def _build_once(
        self, principal_id: str, version: StateVersion, now: int, usual: bool
    ) -> KeptTimeline | None:
        if self._too_large.get((principal_id, usual)) == version:
            return None
        running = self._building.get((principal_id, usual))
        if running is None:
            running = asyncio.ensure_future(self._build(principal_id, version, now, usual))
            self._building[principal_id, usual] = running
            running.add_done_callback(lambda _: self._building.pop((principal_id, usual), None))
        built = await asyncio.shield(running)
        return built if built is not None and built.version == version else None

    async def _build(
        self, principal_id: str, version: StateVersion, now: int, usual: bool
    ) -> KeptTimeline | None:
        """Build under one version; if it moved meanwhile, nothing is kept."""
        try:
            found = await self._threads.read(load_to_keep, principal_id, now=now, usual=usual)
        except NotFound:
            self._drop(principal_id)
            return None
        except TooManyRows:  # known until something changes; the long way bounds its answers
            if len(self._too_large) >= _MOST_REFUSED:
                self._too_large.clear()
            self._too_large[principal_id, usual] = version
            return None
        self._signals.refresh()
        if self._signals.version(principal_id) != version:
            return None
        entry = KeptTimeline(*found, version, self._policy)
        self._drop(principal_id)
        self._entries[principal_id] = entry
        entry.on_growth = self._grow
        self._grow(entry.size)
        return entry

    def _grow(self, more: int) -> None:
        """Count bytes; the least recently used entries leave until all fit."""
        self.bytes += more
        while self.bytes > self._capacity and self._entries:
            self._drop(next(iter(self._entries)))

    def _drop(self, principal_id: str) -> None:
        entry = self._entries.pop(principal_id, None)
        if entry is not None:
            entry.on_growth = None
            self.bytes -= entry.size
