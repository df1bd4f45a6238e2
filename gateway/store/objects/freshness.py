"""How fresh the calendars of an account are: what a poll that found nothing new leaves behind.

Such a poll happens all day for every account. It writes one row, its connection's, in columns no
signal watches: ``verified_at`` says of every calendar in use that it was found current. Who keeps
answers in memory is told the time and keeps them.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, text

from gateway.store.engine import GENERATION_CHANNEL, Session, chunks
from gateway.store.tables import connections, upstream_calendars

VERIFIED = "verified"
"""The first word of a notification that names a time and the principals verified then."""

_NAMED_AT_ONCE = 200  # a notification holds 8,000 bytes
_calendar = upstream_calendars.c


def synced_at() -> ColumnElement[Any]:
    """Return the column of when a calendar was last found current; join ``connections`` to it.

    Its own pull, or a later poll that found all calendars as they were read. What was never read
    is not as fresh as the rest, nor what is gone or no longer in use.
    """
    verified = and_(
        _calendar.state.not_in(("gone", "never")),
        _calendar.role != "none",
        connections.c.verified_at > _calendar.synced_at,
    )
    return case((verified, connections.c.verified_at), else_=_calendar.synced_at).label("synced_at")


def tell_verified(session: Session, principal_ids: Sequence[str], *, at: int) -> None:
    """Tell other processes when these principals' calendars were found current, on commit.

    SQLite needs no telling: its readers read the row.
    """
    if session.dialect.name != "postgresql":
        return
    for part in chunks(principal_ids, _NAMED_AT_ONCE):
        session.execute(
            text("SELECT pg_notify(:channel, :payload)"),
            {"channel": GENERATION_CHANNEL, "payload": " ".join((VERIFIED, str(at), *part))},
        )
