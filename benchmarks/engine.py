"""Our engine alone against the libraries it replaces: CPU per event, text in, intervals out.

``plain`` is what anybody writes first: ``Calendar.from_ical`` and ``recurring_ical_events.of(…)
.between(…)``. ``tuned`` uses that library's extension point, so that no component is built per
occurrence.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import recurring_ical_events
from icalendar import Calendar
from recurring_ical_events import ComponentsWithName, Occurrence

from benchmarks.events import OWNER, ZONE, Mix, make_events
from benchmarks.measure import Ratio, in_turns, median_ratio, own_cpu
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import expand
from gateway.core.recurrence.model import BusyRules

DAY = 86_400
COUNT = 2000
PLAIN, TUNED = "from_ical + recurring-ical-events", "the same, tuned"


def windows(now: int) -> dict[str, Interval]:
    """Return the windows: four weeks from today, and the rolling one of the store."""
    today = now - now % DAY
    return {
        "4 weeks": (today, today + 28 * DAY),
        "431 days": (today - 31 * DAY, today + 400 * DAY),
    }


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both windows over every second of 2,000 events, every eighth when ``quick``."""
    today = datetime.now(UTC).date()
    step = 8 if quick else 2
    bodies = [made.body for made in make_events(Mix(), today=today)][::step]
    for name, window in windows(int(time.time())).items():
        costs = in_turns(
            {
                "ours": _cost(bodies, window, ours),
                PLAIN: _cost(bodies, window, plain),
                TUNED: _cost(bodies, window, tuned),
            },
            rounds=3,
        )
        for against in (PLAIN, TUNED):
            yield Ratio(
                part="engine",
                case=f"expand over {name}",
                against=against,
                value=median_ratio(costs["ours"], costs[against]),
                ours=min(costs["ours"]) * 1000,
                theirs=min(costs[against]) * 1000,
                per="event",
            )


Work = Callable[[bytes, Interval], object]


def _cost(bodies: Sequence[bytes], window: Interval, work: Work) -> Callable[[], float]:
    def cost() -> float:
        return own_cpu(lambda: [work(body, window) for body in bodies]) / len(bodies)

    return cost


RULES = BusyRules(ZoneInfo(ZONE), frozenset({OWNER}))


def ours(body: bytes, window: Interval) -> object:
    """Expand with our engine: busy rules, widening and bounds included."""
    return expand(body, window, RULES)


def plain(body: bytes, window: Interval) -> list[tuple[Any, Any]]:
    """Expand as the manuals of the libraries show it."""
    start, end = (datetime.fromtimestamp(at, UTC) for at in window)
    occurrences = recurring_ical_events.of(Calendar.from_ical(body)).between(start, end)
    return [(event.get("DTSTART"), event.get("DTEND")) for event in occurrences]


class _Bare(Occurrence):
    """An occurrence as a pair of times."""

    def as_component(self, keep_recurrence_attributes: bool) -> Any:
        """Return start and end instead of a component of its own."""
        return (self.start, self.end)


_ONLY_TIMES = [ComponentsWithName("VEVENT", occurrence=_Bare)]


def tuned(body: bytes, window: Interval) -> list[tuple[date, date]]:
    """Expand without a component per occurrence."""
    start, end = (datetime.fromtimestamp(at, UTC) for at in window)
    query = recurring_ical_events.of(Calendar.from_ical(body), components=_ONLY_TIMES)
    return list(query.between(start, end))
