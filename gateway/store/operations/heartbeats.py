"""Which processes run: each says so every few seconds, part by part, and when it ends.

One small row, outside every trigger that tells readers about changes. A process that was killed
leaves its row behind, which grows old: that is how its death is known.
"""

import os
import socket

from sqlalchemy import delete, func, select

from gateway.store.engine import Session, upsert
from gateway.store.tables import heartbeats

BEAT_EVERY_S = 15.0
ALIVE_FOR_S = 60
"""So long after its last beat a process counts as alive."""

FORGET_AFTER_S = 86_400
PARTS = ("api", "caldav", "worker")


def beat(session: Session, part: str, *, now: int) -> None:
    """Say that this process runs a part; rows of a day ago are forgotten."""
    host, pid = socket.gethostname(), os.getpid()
    row = {"id": _own_id(part), "part": part, "host": host, "pid": pid, "beat_at": now}
    upsert(session, heartbeats, [row], keys=("id",))
    session.execute(delete(heartbeats).where(heartbeats.c.beat_at < now - FORGET_AFTER_S))


def end(session: Session, part: str) -> None:
    """Say that this process stops running a part, as it was told to."""
    session.execute(delete(heartbeats).where(heartbeats.c.id == _own_id(part)))


def last_beat(session: Session, part: str, *, host: str | None = None) -> int | None:
    """Return when a part was last heard of, on one host or on any (UTC epoch seconds)."""
    query = select(func.max(heartbeats.c.beat_at)).where(heartbeats.c.part == part)
    if host is not None:
        query = query.where(heartbeats.c.host == host)
    found = session.execute(query).scalar()
    return None if found is None else int(found)


def _own_id(part: str) -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{part}"
