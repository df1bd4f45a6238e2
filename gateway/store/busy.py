"""Reading instances: who is busy when, and which objects lie in a time range.

Nothing here parses iCalendar. A read is one indexed range scan: no row is longer than
:data:`gateway.store.objects.PIECE_S`, so it starts that much before the window.
"""

from collections.abc import Collection as AbstractCollection
from dataclasses import dataclass

from sqlalchemy import and_, false, or_, select, true

from gateway.core.fbtype import FBType
from gateway.core.intervals import Interval
from gateway.store.engine import Session
from gateway.store.objects import PIECE_S
from gateway.store.tables import collections, instances, objects, upstream_calendars


@dataclass(frozen=True, slots=True)
class Source:
    """A calendar that counts for availability, with what is known about its freshness.

    ``role`` is ``linked``, ``conflict``, ``platform`` or ``local``; ``synced_at`` is UTC epoch
    seconds of the last good sync, None when there was none; local sources are always current.
    """

    collection_id: str
    calendar_id: str
    role: str
    state: str
    synced_at: int | None
    problem: str | None


def list_sources(session: Session, principal_id: str) -> list[Source]:
    """List the collections whose instances block the principal's time."""
    upstream = upstream_calendars.c
    blocking = or_(
        collections.c.kind == "platform",
        and_(collections.c.kind == "local", collections.c.transparent == false()),
        and_(upstream.role.in_(("linked", "conflict")), upstream.blocks == true()),
    )
    query = (
        select(
            collections.c.id,
            upstream.id.label("calendar_id"),
            collections.c.kind,
            upstream.role,
            upstream.state,
            upstream.synced_at,
            upstream.problem,
        )
        .select_from(collections.outerjoin(upstream_calendars))
        .where(collections.c.principal_id == principal_id, blocking)
        .order_by(collections.c.created_at, collections.c.id)
    )
    return [
        Source(
            collection_id=row.id,
            calendar_id=row.calendar_id or row.id,
            role=row.role or row.kind,
            state=row.state or "ok",
            synced_at=row.synced_at,
            problem=row.problem,
        )
        for row in session.execute(query)
    ]


def busy_rows(
    session: Session,
    principal_id: str,
    window: Interval,
    collection_ids: AbstractCollection[str],
) -> list[tuple[int, int, FBType, str]]:
    """Return (start, end, FBTYPE, collection id) of the blocking rows that touch the window.

    Times are widened by travel, UTC epoch seconds, ordered by start and not clipped.
    """
    start, end = window
    query = (
        select(
            instances.c.busy_start,
            instances.c.busy_end,
            instances.c.fbtype,
            instances.c.collection_id,
        )
        .where(
            instances.c.principal_id == principal_id,
            instances.c.busy_start > start - PIECE_S - 1,
            instances.c.busy_start < end,
            instances.c.busy_end > start,
            instances.c.collection_id.in_(list(collection_ids)),
            instances.c.fbtype != str(FBType.FREE),
        )
        .order_by(instances.c.busy_start)
    )
    return [(row[0], row[1], FBType(row[2]), row[3]) for row in session.execute(query)]


def names_in_range(
    session: Session, collection_id: str, start: int | None, end: int | None
) -> set[str]:
    """Return the names of members with an instance in the range (RFC 4791 9.9), FREE included.

    None is an open end. An instance without length counts where it starts.
    """
    conditions = [instances.c.collection_id == collection_id]
    if start is not None:
        touches = or_(
            instances.c.end > start,
            and_(instances.c.end == instances.c.start, instances.c.start >= start),
        )
        conditions += [instances.c.start > start - PIECE_S - 1, touches]
    if end is not None:
        conditions.append(instances.c.start < end)
    query = select(objects.c.name).where(
        objects.c.id.in_(select(instances.c.object_id).where(*conditions))
    )
    return {row.name for row in session.execute(query)}
