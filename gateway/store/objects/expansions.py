"""Keeping instances ahead of the clock: which objects must be expanded further, and writing it.

Objects are expanded over a rolling window (docs/sync.md). As it moves on, those that reach beyond
what was expanded are done again; the others have nothing there. No revision is taken: what is
served does not change, only what is known of its times.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, or_, select, update

from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import ENGINE_VERSION, Expansion
from gateway.core.recurrence.model import AllDay
from gateway.store.engine import Session
from gateway.store.objects.collections import GOING
from gateway.store.objects.objects import bump_generation, insert_instances, set_coverage
from gateway.store.tables import (
    collections,
    generations,
    instances,
    objects,
    principals,
    upstream_calendars,
)

NEVER: Interval = (0, 0)
"""The coverage of a principal whose objects must be expanded anew before they are believed."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """An object whose instances do not reach far enough; ``body`` is empty when it is a secret.

    ``is_lost``: it is a secret that cannot be read any more.
    """

    id: str
    collection_id: str
    name: str
    kind: str
    etag: str
    served: bool
    all_day: AllDay
    body: bytes = field(repr=False)
    is_lost: bool = False


_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"  # of ids, in the order of texts
_PLACES = 6
_DAY_S = 86_400


def outdated_principals(
    session: Session,
    *,
    until: int,
    by_now: float = 1.0,
    limit: int,
    without: Collection[str] = (),
) -> list[str]:
    """List principals whose objects are not expanded up to ``until`` (UTC epoch seconds).

    The last day of it is asked of a share of the principals only, ``by_now`` (0 to 1): ids are
    random, so those below a boundary are spread over a day that begins with 0 and ends with 1.
    """
    covered = generations.c.covered_until
    turn_has_come = generations.c.principal_id < _boundary(by_now)
    query = (
        select(generations.c.principal_id)
        .where(
            covered < until,
            or_(covered < until - _DAY_S, turn_has_come),
            generations.c.principal_id.not_in(without),
        )
        .order_by(covered, generations.c.principal_id)
        .limit(limit)
    )
    return [row.principal_id for row in session.execute(query)]


def _boundary(share: float) -> str:
    """Return the id below which this share of all principals' ids lie."""
    digits = ""
    for _ in range(_PLACES):
        place, share = divmod(min(max(share, 0.0), 0.999999) * len(_DIGITS), 1)
        digits += _DIGITS[int(place)]
    return f"p_{digits}"


def short_of(
    session: Session, principal_ids: Sequence[str], window: Interval, *, subaccount_id: str | None
) -> list[str]:
    """Return those of the people, of one subaccount or any, who are not expanded over ``window``.

    Who never had an object is not among them.
    """
    query = select(generations.c.principal_id).where(
        generations.c.principal_id.in_(principal_ids),
        or_(generations.c.covered_until < window[1], generations.c.covered_from > window[0]),
    )
    if subaccount_id is not None:
        query = query.join(principals, principals.c.id == generations.c.principal_id).where(
            principals.c.subaccount_id == subaccount_id
        )
    return list(session.execute(query).scalars())


def _reaches_beyond(principal_id: str, window: Interval) -> ColumnElement[bool]:
    """Return what may have instances in a part of ``window`` that it is not expanded over."""
    row, (start, until) = objects.c, window
    ahead = and_(
        row.expanded_until < until,
        or_(row.first_start.is_(None), row.first_start < until),
        or_(row.open_ended, row.last_end.is_(None), row.last_end > row.expanded_until),
    )
    back = and_(
        row.expanded_from > start,
        or_(row.first_start.is_(None), row.first_start < row.expanded_from),
        or_(row.open_ended, row.last_end.is_(None), row.last_end > start),
    )
    return and_(row.principal_id == principal_id, row.collection_id.not_in(GOING), or_(ahead, back))


def outdated_objects(
    session: Session, principal_id: str, window: Interval, *, after: str, limit: int
) -> list[Outdated]:
    """List objects of a principal that reach beyond what is expanded of them, by id.

    A batch begins behind ``after``, the last id of the one before (the empty text is before all):
    most objects are in no batch, and each batch would walk through all of them again.
    """
    query = _outdated().where(_reaches_beyond(principal_id, window), objects.c.id > after)
    return _read_outdated(session, query.order_by(objects.c.id).limit(limit))


def load_outdated(session: Session, object_ids: Sequence[str]) -> list[Outdated]:
    """Return these objects, as far as they exist, with what expanding them needs."""
    return _read_outdated(session, _outdated().where(objects.c.id.in_(object_ids)))


def _outdated() -> Select[Any]:
    row = objects.c
    return (
        select(
            row.id,
            row.collection_id,
            row.name,
            row.kind,
            row.etag,
            row.served,
            upstream_calendars.c.all_day,
            row.body,
        )
        .join(collections, collections.c.id == row.collection_id)
        .outerjoin(upstream_calendars)
    )


def _read_outdated(session: Session, query: Select[Any]) -> list[Outdated]:
    return [
        Outdated(
            id=found.id,
            collection_id=found.collection_id,
            name=found.name,
            kind=found.kind,
            etag=found.etag,
            served=found.served,
            all_day=found.all_day or "as-marked",
            body=bytes(found.body),
        )
        for found in session.execute(query)
    ]


def replace_expansions(
    session: Session, principal_id: str, done: Sequence[tuple[Outdated, Expansion]]
) -> None:
    """Write new expansions of objects that are still what they were; the principal is locked."""
    query = (
        select(objects.c.id, objects.c.etag, upstream_calendars.c.all_day)
        .join(collections, collections.c.id == objects.c.collection_id)
        .outerjoin(upstream_calendars)
        .where(objects.c.id.in_([item.id for item, _ in done]))
    )
    current = {row[0]: (row[1], row[2] or "as-marked") for row in session.execute(query)}
    still = [
        (item, expansion)
        for item, expansion in done
        if current.get(item.id) == (item.etag, item.all_day)
    ]
    for item, expansion in still:
        session.execute(
            update(objects).where(objects.c.id == item.id).values(**_columns(expansion))
        )
    session.execute(
        delete(instances).where(instances.c.object_id.in_([item.id for item, _ in still]))
    )
    insert_instances(
        session,
        principal_id,
        [(item.collection_id, item.id, expansion) for item, expansion in still],
    )
    bump_generation(session, principal_id)


def _columns(expansion: Expansion) -> dict[str, object]:
    problem = expansion.gravest
    return {
        "problem": problem.code if problem else None,
        "problem_detail": problem.detail if problem else None,
        "recurring": expansion.recurring,
        "open_ended": expansion.open_ended,
        "zone_dependent": expansion.zone_dependent,
        "expanded_from": expansion.window[0],
        "expanded_until": expansion.window[1],
        "expanded_by": ENGINE_VERSION,
        "first_start": expansion.first_start,
        "last_end": expansion.last_end,
    }


def finish_extension(session: Session, principal_id: str, window: Interval) -> bool:
    """Say that all is expanded over ``window``; False while something is left to do."""
    left = select(objects.c.id).where(_reaches_beyond(principal_id, window)).limit(1)
    if session.execute(left).first() is not None:
        return False
    set_coverage(session, principal_id, window)
    bump_generation(session, principal_id)
    return True


def forget_expansions(
    session: Session,
    principal_id: str,
    *,
    collection_id: str | None = None,
    zone_dependent_only: bool = False,
) -> None:
    """Have objects expanded anew: the principal's zone or a calendar's rules changed.

    Until that is done nothing of the principal is known for sure, so its time is unknown.
    """
    condition = objects.c.principal_id == principal_id
    if collection_id is not None:
        condition &= objects.c.collection_id == collection_id
    if zone_dependent_only:
        condition &= objects.c.zone_dependent
    # A last end of NULL and nothing expanded: found by outdated_objects whatever it was.
    forgotten = session.execute(
        update(objects).where(condition).values(expanded_from=0, expanded_until=0, last_end=None)
    )
    if forgotten.rowcount:
        set_coverage(session, principal_id, NEVER)
        bump_generation(session, principal_id)


# --- after an upgrade ---


def principal_of_earlier_engine(session: Session, *, without: Collection[str] = ()) -> str | None:
    """Return a principal with objects that an earlier version of the engine expanded."""
    query = (
        select(generations.c.principal_id)
        .where(
            generations.c.expanded_by < ENGINE_VERSION, generations.c.principal_id.not_in(without)
        )
        .order_by(generations.c.expanded_by)
        .limit(1)
    )
    return session.execute(query).scalar()


def ids_of_earlier_engine(
    session: Session, principal_id: str, *, after: str, limit: int
) -> list[str]:
    """List objects of a principal that an earlier version of the engine expanded, by id."""
    query = (
        select(objects.c.id)
        .where(
            objects.c.principal_id == principal_id,
            objects.c.expanded_by < ENGINE_VERSION,
            objects.c.id > after,
        )
        .order_by(objects.c.id)
        .limit(limit)
    )
    return list(session.execute(query).scalars())


def note_engine(session: Session, principal_id: str, version: int) -> None:
    """Say that this version of the engine expanded all objects of a principal."""
    session.execute(
        update(generations)
        .where(generations.c.principal_id == principal_id)
        .values(expanded_by=version)
    )
