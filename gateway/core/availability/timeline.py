"""The engine of availability: what blocks a person over a span, and every answer about it.

Free/busy in JSON and iCalendar, Google's shape, slots, holds, bookings and explanations all ask a
:class:`Timeline`; so they cannot disagree (R23). It is made from rows, holds and sources that
somebody else read; nothing here waits, and nothing depends on anything but its arguments. Times
are UTC epoch seconds, ends exclusive.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.core.availability.merge import STATUS_OF, STRENGTH, BusyRow, BusyStatus, layer
from gateway.core.availability.policy import Policy
from gateway.core.availability.sources import Source, SourceState, judge_sources, next_judgement
from gateway.core.errors import PassingConflict
from gateway.core.intervals import Interval, clip, intersect, merge, overlaps

ALWAYS: Interval = (-(2**53), 2**53)
PLAIN = Policy()


@dataclass(frozen=True, slots=True)
class HeldTime:
    """Time that somebody holds until ``expires_at`` (UTC epoch seconds)."""

    start: int
    end: int
    id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class FreeBusy:
    """One answer: merged busy time of one person in a window, under a policy.

    ``busy`` holds ``(start, end, status)``, sorted and without overlaps. ``complete`` is false
    exactly when part of the window is unknown, whatever the policy made of it, or a source is
    catching up. ``holds`` are the ids of the living holds in the window: they end without a new
    ``revision``.
    """

    start: int
    end: int
    revision: int
    complete: bool
    policy: Policy
    busy: tuple[BusyRow, ...]
    sources: tuple[SourceState, ...]
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """What blocks one person over ``span``, merged; make it with :func:`build_timeline`.

    Row ``n`` is ``starts[n]``, ``ends[n]`` and ``STRENGTH[kinds[n]]``: plain arrays, because
    there are many rows of many people. Holds are in the rows; what the sources leave unknown is
    not, as it changes with time alone. ``hidden`` is tentative time behind unknown rows: some
    policies uncover it. ``coverage`` is the span over which everything is expanded;
    ``valid_until`` is when the first hold expires: from then on the rows say too much.
    """

    revision: int
    coverage: Interval
    span: Interval
    starts: "array[int]"
    ends: "array[int]"
    kinds: bytes
    hidden: tuple[Interval, ...]
    sources: tuple[Source, ...]
    holds: tuple[HeldTime, ...]
    valid_until: int

    @property
    def is_catching_up(self) -> bool:
        """Whether a source has members that could not be read yet: no answer is complete (R9)."""
        return any(source.is_catching_up for source in self.sources)

    def covers(self, window: Interval) -> bool:
        """Tell whether the rows say all there is about ``window``."""
        return self.span[0] <= window[0] and window[1] <= self.span[1]

    def between(self, window: Interval) -> range:
        """Return the numbers of the rows that touch ``window``."""
        return range(bisect_right(self.ends, window[0]), bisect_left(self.starts, window[1]))

    def row(self, number: int) -> BusyRow:
        """Return one row."""
        return self.starts[number], self.ends[number], STRENGTH[self.kinds[number]]

    def rows(self, window: Interval) -> list[BusyRow]:
        """Return the rows of ``window``, clipped to it: only the first and the last can need it."""
        touching = self.between(window)
        low, high = touching.start, touching.stop
        if low >= high:
            return []
        kinds = [STRENGTH[kind] for kind in self.kinds[low:high]]
        rows = list(zip(self.starts[low:high], self.ends[low:high], kinds, strict=True))
        start, end, status = rows[0]
        rows[0] = (max(start, window[0]), end, status)
        start, end, status = rows[-1]
        rows[-1] = (start, min(end, window[1]), status)
        return rows

    def held_in(self, window: Interval) -> tuple[HeldTime, ...]:
        """Return the holds that touch ``window``, by start."""
        return tuple(hold for hold in self.holds if overlaps((hold.start, hold.end), window))

    def verified(self, at: int) -> "Timeline":
        """Return the same busy time with calendars that were found current at ``at`` (R25)."""
        return replace(self, sources=tuple(source.verified(at) for source in self.sources))

    def judge(self, window: Interval, policy: Policy, *, now: int) -> list[SourceState]:
        """Say of each source how current it is and what of ``window`` it cannot answer (R25)."""
        return judge_sources(self.sources, window, self.coverage, policy, now=now)

    def judged_until(self, policy: Policy, *, now: int) -> int:
        """Return until when the states stay what they are now, but for their ages."""
        return min(self.valid_until, next_judgement(self.sources, policy, now=now))

    # --- what is asked ---

    def answer(self, window: Interval, policy: Policy = PLAIN, *, now: int) -> FreeBusy:
        """Say what is busy in ``window``, which must lie in ``span``, with the truth about it.

        Raises :class:`PassingConflict` ``availability-unknown`` when unknown time is to fail and
        the answer is not complete.
        """
        states = self.judge(window, policy, now=now)
        unknown = [span for state in states for span in state.unknown]
        exact = self._under(PLAIN, window, unknown)
        complete = not any(state.catching_up for state in states)
        complete = complete and "unknown" not in {row[2] for row in exact}
        if policy.on_unknown == "fail" and not complete:
            raise _refusal(states)
        return FreeBusy(
            start=window[0],
            end=window[1],
            revision=self.revision,
            complete=complete,
            policy=policy,
            busy=tuple(exact if policy.is_plain else self._under(policy, window, unknown)),
            sources=tuple(states),
            holds=tuple(hold.id for hold in self.held_in(window)),
        )

    def taken(self, window: Interval) -> list[Interval]:
        """Return what nobody may book in ``window``: all that is known to block, merged (R27)."""
        return merge((start, end) for start, end, _status in self.rows(window))

    def unknown(self, window: Interval, *, now: int) -> list[Interval]:
        """Return what the sources cannot answer in ``window``, merged."""
        states = self.judge(window, PLAIN, now=now)
        return merge(span for state in states for span in state.unknown)

    def _under(
        self, policy: Policy, window: Interval, unknown: Iterable[Interval]
    ) -> list[BusyRow]:
        """Return what shows under a policy: unknown time stays, is relabelled or dropped (R25)."""
        rows = self.rows(window)
        if policy.is_plain and not unknown:
            return rows
        spans: dict[BusyStatus, list[Interval]] = {status: [] for status in STRENGTH}
        for start, end, status in rows:
            spans[status].append((start, end))
        spans["unknown"] += clip(unknown, window)
        spans["tentative"] += clip(self.hidden, window)
        if policy.on_unknown == "tentative":
            spans["tentative"] += spans["unknown"]
        if policy.on_unknown in ("tentative", "ignore"):
            spans["unknown"] = []
        if policy.on_tentative == "free":
            spans["tentative"] = []
        return layer(spans)


def build_timeline(
    spans: Mapping[str, Iterable[Interval]],
    span: Interval,
    *,
    holds: Sequence[HeldTime] = (),
    sources: Sequence[Source] = (),
    coverage: Interval | None = None,
    revision: int = 0,
) -> Timeline:
    """Merge what was read into a timeline; linear in what there is but for sorting.

    ``spans`` are by FBTYPE, in any order. ``coverage`` None says that there is nothing to expand:
    nothing lies beyond it.
    """
    merged = {
        status: clip(merge(spans.get(fbtype, ())), span) for fbtype, status in STATUS_OF.items()
    }
    held = clip([(hold.start, hold.end) for hold in holds], span)
    if held:
        merged["busy"] = merge([*merged["busy"], *held])
    rows = layer(merged)
    hidden: list[Interval] = []
    if merged["unknown"] and merged["tentative"]:
        shown = [(start, end) for start, end, status in rows if status == "unknown"]
        hidden = intersect(merged["tentative"], shown)
    return Timeline(
        revision=revision,
        coverage=coverage or ALWAYS,
        span=span,
        starts=array("q", [row[0] for row in rows]),
        ends=array("q", [row[1] for row in rows]),
        kinds=bytes([_KINDS[row[2]] for row in rows]),
        hidden=tuple(hidden),
        sources=tuple(sources),
        holds=tuple(holds),
        valid_until=min((hold.expires_at for hold in holds), default=ALWAYS[1]),
    )


_KINDS = {status: number for number, status in enumerate(STRENGTH)}


def _refusal(states: Iterable[SourceState]) -> PassingConflict:
    names = ", ".join(state.calendar for state in states if state.unknown or state.catching_up)
    reason = f" Sources without current data: {names}." if names else ""
    return PassingConflict(
        f"Part of the asked time is unknown, and on_unknown is fail.{reason}",
        code="availability-unknown",
    )
