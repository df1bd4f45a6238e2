"""Requests of the running minute by caller, added up by all API processes (docs/api.md)."""

from collections.abc import Mapping

from sqlalchemy import delete, select

from gateway.store.booking_tables import rate_counts
from gateway.store.engine import Session, chunks, upsert


def add_counts(session: Session, window: int, counts: Mapping[str, int]) -> dict[str, int]:
    """Add what one process counted in a minute; returns what all counted of these callers.

    ``window`` numbers the minutes since 1970; earlier ones are forgotten.
    """
    session.execute(delete(rate_counts).where(rate_counts.c.window < window))
    rows = [
        {"caller": caller, "window": window, "requests": count}
        for caller, count in sorted(counts.items())  # one order for all: no deadlock
    ]
    upsert(session, rate_counts, rows, keys=("caller", "window"), adding=("requests",))
    totals: dict[str, int] = {}
    for part in chunks(counts):
        found = select(rate_counts.c.caller, rate_counts.c.requests).where(
            rate_counts.c.window == window, rate_counts.c.caller.in_(part)
        )
        totals.update((row.caller, row.requests) for row in session.execute(found))
    return totals
