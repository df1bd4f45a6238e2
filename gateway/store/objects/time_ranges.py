"""Which members of a calendar lie in a time range (RFC 4791 9.9): what CalDAV queries ask.

Every instance counts here, FREE ones too, with its own start and end and not with travel time.
"""

from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select

from gateway.store.engine import Session
from gateway.store.objects.objects import PIECE_S, get_coverage
from gateway.store.tables import instances, objects


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


@dataclass(frozen=True, slots=True)
class Span:
    """The outer bounds of a member, UTC epoch seconds; an open end is far away."""

    name: str
    recurring: bool
    first_start: int
    last_end: int


def spans_beyond(
    session: Session, principal_id: str, collection_id: str, start: int, end: int
) -> list[Span]:
    """List the members whose bounds touch the part of a range they are not expanded over.

    Members without a known start (VTODO without dates, what could not be understood) are in every
    range: nothing proves that they are not. Inside the covered span there are no others.
    """
    bounds = objects.c
    covered = get_coverage(session, principal_id)
    if covered is not None and covered[0] <= start and end <= covered[1]:
        query = select(bounds.name).where(
            bounds.collection_id == collection_id, bounds.first_start.is_(None), bounds.served
        )
        return [Span(row[0], False, start, end) for row in session.execute(query)]
    low, high = func.coalesce(bounds.first_start, start), func.coalesce(bounds.last_end, end)
    beyond = or_(
        bounds.first_start.is_(None),
        and_(bounds.expanded_from > start, low < bounds.expanded_from),
        and_(bounds.expanded_until < end, high > bounds.expanded_until),
        and_(bounds.expanded_until < end, bounds.open_ended),
    )
    query = select(bounds.name, bounds.recurring, low, high).where(
        bounds.collection_id == collection_id,
        bounds.served,
        beyond,
        low < end,
        or_(high > start, and_(low == high, low >= start), bounds.open_ended),
    )
    return [
        Span(row[0], row[1] and row[2] is not None, row[2], row[3])
        for row in session.execute(query)
    ]
