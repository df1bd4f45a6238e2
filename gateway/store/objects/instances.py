"""What blocks whom, and why: the calendars that count, and their instances in a window.

For :mod:`gateway.services.availability`, which makes answers of it; a contract keeps it the only
reader. Nothing here parses iCalendar. A read is one indexed range scan: no row is longer than
:data:`gateway.store.objects.objects.PIECE_S`, so it starts that much before the window.
"""

from collections.abc import Collection as AbstractCollection
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Select, and_, bindparam, false, func, or_, select, true

from gateway.core.availability.sources import Source
from gateway.core.intervals import Interval
from gateway.core.recurrence.model import NOT_UNDERSTOOD
from gateway.core.status import BLOCKING, FBType
from gateway.store.engine import Session, chunks, joined
from gateway.store.objects.freshness import synced_at
from gateway.store.objects.objects import PIECE_S
from gateway.store.tables import (
    collections,
    connections,
    instances,
    objects,
    upstream_calendars,
)

_ROLES = ("platform", "linked", "conflict", "local")


def list_sources(session: Session, principal_id: str, *, blocking: bool = True) -> list[Source]:
    """List the collections whose instances block the principal's time, by role, then by age.

    Without ``blocking``, also those whose busy time does not count for the principal.
    """
    unclear = _not_understood(session, principal_id)
    found = [
        Source(
            collection_id=row.id,
            calendar_id=row.calendar_id or row.id,
            role=row.role or row.kind,
            state=row.state or "ok",
            synced_at=row.synced_at,
            problem=row.problem,
            trust_for_s=row.trust_for_s,
            connection_state=row.connection_state,
            reached=None if row.reached_until is None else (row.reached_from, row.reached_until),
            catching_up=row.catching_up or 0,
            set_aside=row.set_aside or 0,
            not_understood=unclear.get(row.id),
        )
        for row in session.execute(_sources(blocking), {"b_principal": principal_id})
    ]
    return sorted(found, key=lambda source: _ROLES.index(source.role))


_NOT_UNDERSTOOD = (
    select(objects.c.collection_id, func.min(objects.c.problem + ": " + objects.c.id))
    .where(
        objects.c.principal_id == bindparam("b_principal"),
        objects.c.problem.is_not(None),
        objects.c.problem.in_(sorted(NOT_UNDERSTOOD)),
    )
    .group_by(objects.c.collection_id)
)


def _not_understood(session: Session, principal_id: str) -> dict[str, str]:
    """Name by collection an object that could not be understood: reason, colon, object id."""
    rows = session.execute(_NOT_UNDERSTOOD, {"b_principal": principal_id})
    return {row[0]: row[1] for row in rows}


@cache
def _sources(blocking: bool) -> Select[Any]:
    upstream = upstream_calendars.c
    is_opaque = collections.c.transparent == false() if blocking else true()
    is_chosen = upstream.blocks == true() if blocking else true()
    wanted = or_(
        collections.c.kind == "platform",
        and_(collections.c.kind == "local", is_opaque),
        and_(upstream.role.in_(("linked", "conflict")), is_chosen),
    )
    return (
        select(
            collections.c.id,
            upstream.id.label("calendar_id"),
            collections.c.kind,
            upstream.role,
            upstream.state,
            synced_at(),
            upstream.problem,
            connections.c.trust_for_s,
            connections.c.state.label("connection_state"),
            upstream.reached_from,
            upstream.reached_until,
            upstream.catching_up,
            upstream.set_aside,
        )
        .select_from(
            collections.outerjoin(upstream_calendars).outerjoin(
                connections, connections.c.id == upstream.connection_id
            )
        )
        .where(collections.c.principal_id == bindparam("b_principal"), wanted)
        .order_by(collections.c.kind != "platform", collections.c.created_at, collections.c.id)
    )


_LENGTH_BITS = 20
assert PIECE_S < 1 << _LENGTH_BITS


class TooManyRows(Exception):
    """More rows block than the caller wants to keep."""


def busy_spans(
    session: Session,
    principal_id: str,
    window: Interval,
    collection_ids: AbstractCollection[str],
    *,
    most: int | None = None,
    without_object: str | None = None,
    only_object: str | None = None,
) -> dict[str, list[Interval]]:
    """Return the blocking time that touches the window, as merged (start, end) by FBTYPE.

    Times are widened by travel, UTC epoch seconds, and not clipped. One object can be left out (an
    appointment does not collide with itself) or be the only one. Raises :class:`TooManyRows`
    beyond ``most`` rows, before anything is done with them: counting them in the database first
    would cost half as much again for everybody.

    Start and length travel as one number each, all numbers of an FBTYPE as one text: rows would
    cost more than everything that is done with them.
    """
    values = {
        "b_principal": principal_id,
        "b_first": window[0] - PIECE_S - 1,
        "b_start": window[0],
        "b_end": window[1],
        "b_collections": list(collection_ids),
    }
    if without_object is not None:
        values["b_without"] = without_object
    if only_object is not None:
        values["b_only"] = only_object
    statement = _spans(session.dialect.name, without_object is not None, only_object is not None)
    found = session.execute(statement, values).one()
    if most is not None and sum(text.count(",") + 1 for text in found if text) > most:
        raise TooManyRows
    return {
        str(fbtype): _decode(text) for fbtype, text in zip(BLOCKING, found, strict=True) if text
    }


@cache
def _spans(dialect: str, without_object: bool, only_object: bool) -> Select[Any]:
    """Return the statement, built once: building it costs a tenth of running it."""
    length = instances.c.busy_end - instances.c.busy_start
    code = instances.c.busy_start * (1 << _LENGTH_BITS) + length
    texts: list[Any] = [
        joined(dialect, code).filter(instances.c.fbtype == str(fbtype)) for fbtype in BLOCKING
    ]
    statement = select(*texts).where(
        instances.c.principal_id == bindparam("b_principal"),
        instances.c.busy_start > bindparam("b_first"),
        instances.c.busy_start < bindparam("b_end"),
        instances.c.busy_end > bindparam("b_start"),
        instances.c.collection_id.in_(bindparam("b_collections", expanding=True)),
        instances.c.fbtype != str(FBType.FREE),
    )
    if without_object:
        statement = statement.where(instances.c.object_id != bindparam("b_without"))
    if only_object:
        statement = statement.where(instances.c.object_id == bindparam("b_only"))
    return statement


def _decode(text: str) -> list[Interval]:
    """Read the numbers and join what overlaps or touches, in one pass without a pair per row."""
    mask = (1 << _LENGTH_BITS) - 1
    codes: list[int] = orjson.loads(f"[{text}]")
    codes.sort()  # by start, then by length; they come nearly sorted
    found: list[Interval] = []
    low = codes[0] >> _LENGTH_BITS
    high = low
    for code in codes:
        start = code >> _LENGTH_BITS
        if start > high:
            found.append((low, high))
            low = high = start
        end = start + (code & mask)
        if end > high:
            high = end
    found.append((low, high))
    return found


def count_blocking(
    session: Session, principal_ids: Sequence[str], window: Interval, *, most: int
) -> int:
    """Count the rows that may block these people in the window, up to ``most``: one index alone."""
    found = 0
    for part in chunks(principal_ids):
        rows = (
            select(instances.c.principal_id)
            .where(
                instances.c.principal_id.in_(part),
                instances.c.busy_start > window[0] - PIECE_S - 1,
                instances.c.busy_start < window[1],
                instances.c.busy_end > window[0],
                instances.c.fbtype != str(FBType.FREE),
            )
            .limit(most - found)
        )
        found += session.scalar(select(func.count()).select_from(rows.subquery())) or 0
        if found >= most:
            break
    return found


@dataclass(frozen=True, slots=True)
class Reason:
    """One row that blocks or may block: a span, how it counts and why; never a title."""

    start: int
    end: int
    fbtype: FBType
    collection_id: str
    object_id: str
    kind: str
    reason: str


def reasons_in(
    session: Session,
    principal_id: str,
    window: Interval,
    collection_ids: AbstractCollection[str],
    *,
    limit: int,
) -> list[Reason]:
    """Return every row that touches the window, FREE included, ordered by start."""
    start, end = window
    query = (
        select(
            instances.c.busy_start,
            instances.c.busy_end,
            instances.c.fbtype,
            instances.c.collection_id,
            instances.c.object_id,
            objects.c.kind,
            instances.c.reason,
        )
        .join(objects, objects.c.id == instances.c.object_id)
        .where(
            instances.c.principal_id == principal_id,
            instances.c.busy_start > start - PIECE_S - 1,
            instances.c.busy_start < end,
            instances.c.busy_end > start,
            instances.c.collection_id.in_(list(collection_ids)),
        )
        .order_by(instances.c.busy_start, instances.c.id)
        .limit(limit)
    )
    rows = session.execute(query)
    return [Reason(row[0], row[1], FBType(row[2]), *row[3:]) for row in rows]
