"""How many accounts were refused of late: counted once for a wave, not once for each (R4).

The guard against outages asks at every 401 how many others there are. A wave of them would walk
through all connections each time; so what was counted is kept for a moment and brought forward by
what this process sees itself. Other processes' polls come in with the next count.
"""

import threading
from dataclasses import dataclass

from gateway.store.accounts import leases
from gateway.store.accounts.accounts import Connection
from gateway.store.engine import Session

KEPT_S = 2.0
"""How long a count stands, in seconds of the clock."""


@dataclass
class _Count:
    """Accounts polled since ``since``, those of them that were refused, and declared dead."""

    at: float
    since: int
    polled: int
    turned: int
    dead: int

    def holds(self, connection: Connection) -> tuple[bool, bool]:
        """Tell whether an account is among those polled, and among those refused."""
        polled = connection.polled_at is not None and connection.polled_at >= self.since
        return polled, polled and leases.is_turned(connection)


class Refusals:
    """The counts of one process; used by the loop and by the thread that writes."""

    def __init__(self) -> None:
        self._counts: dict[int, _Count] = {}
        self._lock = threading.Lock()

    def others(
        self, session: Session, refused: Connection, *, now: float, span: int
    ) -> tuple[int, int]:
        """Return how many others were polled within ``span`` seconds, and how many of them turned.

        ``refused`` is as the database has it before this refusal is written.
        """
        with self._lock:
            count = self._counts.get(span)
            if count is None or not count.at <= now < count.at + KEPT_S:
                since = int(now) - span
                found = leases.count_refusals(session, since=since)
                count = self._counts[span] = _Count(now, since, *found)
            polled, turned = count.holds(refused)
            return max(0, count.polled - polled), max(0, count.turned - turned)

    def has_dead(self, span: int) -> bool:
        """Tell whether any of the last count was declared dead that an outage must bring back."""
        count = self._counts.get(span)
        return count is None or count.dead > 0

    def revived(self) -> None:
        """Take in that all of them were brought back."""
        with self._lock:
            for count in self._counts.values():
                count.dead = 0

    def note(self, before: Connection, *, now: float, is_refused: bool, is_dead: bool) -> None:
        """Take in a poll of this process; ``before`` is the account as it was until then."""
        with self._lock:
            self._counts = {k: c for k, c in self._counts.items() if c.at <= now < c.at + KEPT_S}
            for count in self._counts.values():
                polled, turned = count.holds(before)
                count.polled += not polled
                count.turned += is_refused - turned
                count.dead += is_dead
