"""Erasing people, subaccounts and calendars: out of sight at once, gone in pieces.

A calendar of 50,000 events or a subaccount of 2,000 people takes many seconds to delete, and on
SQLite every other writer would wait for it. So the first unit only hides what is to go: nothing
finds it any more, its logins and keys are void and its secrets erased. Its rows go later, some
hundred in a unit (:func:`erase_piece`), by whoever gets to it; a process that dies in between
loses nothing, since what is left to erase is what is hidden.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

from sqlalchemy import Table, delete, select, update

from gateway.core.errors import NotFound
from gateway.store.booking_tables import (
    appointments,
    freebusy_tokens,
    holds,
    schedule_members,
    schedules,
    working_hours,
)
from gateway.store.engine import Session, chunks, lock_principal, notify_generation
from gateway.store.objects.collections import ERASED, GOING
from gateway.store.tables import (
    api_keys,
    collections,
    connections,
    generations,
    logins,
    objects,
    principals,
    push_ledger,
    revisions,
    secrets,
    subaccounts,
    upstream_calendars,
)

PIECE = 100
"""Objects one unit erases: some twenty milliseconds on SQLite, with all their instances."""

_ROWS_PER_OBJECT = 10  # rows without instances, bodies or children go that much faster


class Target(NamedTuple):
    """Something hidden whose rows are to be erased."""

    kind: Literal["collection", "principal", "subaccount"]
    id: str


# --- hiding ---


def retire_collections(session: Session, collection_ids: Iterable[str]) -> None:
    """Hide collections with all their members; their names are free again at once.

    The caller holds the principal's lock and counts the change of busy time.
    """
    for collection_id in collection_ids:
        session.execute(
            update(collections)
            .where(collections.c.id == collection_id)
            .values(kind=ERASED, name=collection_id, upstream_calendar_id=None, properties="{}")
        )


def retire_mirrors(session: Session, connection_id: str) -> None:
    """Hide all mirrors of a connection."""
    mirrors = (
        select(collections.c.id)
        .join(upstream_calendars, upstream_calendars.c.id == collections.c.upstream_calendar_id)
        .where(upstream_calendars.c.connection_id == connection_id)
    )
    retire_collections(session, session.execute(mirrors).scalars().all())


def retire_principal(session: Session, principal_id: str, *, now: int) -> None:
    """Hide a person, void their logins and addresses, forget their secrets.

    Raises :class:`NotFound` for one that is not there or hidden already.
    """
    lock_principal(session, principal_id)
    _hide_people(session, [principal_id], now=now)


def retire_subaccount(session: Session, subaccount_id: str, *, now: int) -> None:
    """Hide a subaccount with everybody in it and revoke its keys; raises :class:`NotFound`."""
    people = select(principals.c.id).where(
        principals.c.subaccount_id == subaccount_id, principals.c.erased_at.is_(None)
    )
    # Locks in the order of ids, like everybody who locks several.
    locked = session.execute(people.order_by(principals.c.id).with_for_update()).scalars().all()
    hidden = session.execute(
        update(subaccounts)
        .where(subaccounts.c.id == subaccount_id, subaccounts.c.erased_at.is_(None))
        .values(erased_at=now)
    )
    if not hidden.rowcount:
        raise NotFound("There is no such subaccount.")
    session.execute(delete(api_keys).where(api_keys.c.subaccount_id == subaccount_id))
    session.execute(delete(schedules).where(schedules.c.subaccount_id == subaccount_id))
    _hide_people(session, locked, now=now)


def _hide_people(session: Session, principal_ids: Iterable[str], *, now: int) -> None:
    for part in chunks(principal_ids):
        session.execute(update(principals).where(principals.c.id.in_(part)).values(erased_at=now))
        accounts = select(connections.c.id).where(connections.c.principal_id.in_(part))
        session.execute(delete(secrets).where(secrets.c.owner_id.in_(accounts)))
        session.execute(
            update(connections)
            .where(connections.c.principal_id.in_(part))
            # The Apple account may be connected elsewhere from now on (R2).
            .values(state="disconnected", email_index=None, account_index=None)
        )
        for table in (logins, freebusy_tokens, holds, schedule_members, working_hours, generations):
            session.execute(delete(table).where(table.c.principal_id.in_(part)))
        for principal_id in part:
            notify_generation(session, principal_id)


# --- erasing ---


def next_target(session: Session, *, but: AbstractSet[str] = frozenset()) -> Target | None:
    """Return something hidden, calendars first; None when all is erased but the ids in ``but``."""
    waiting: list[tuple[Literal["collection", "principal", "subaccount"], Any]] = [
        ("collection", GOING),
        ("principal", select(principals.c.id).where(principals.c.erased_at.is_not(None))),
        ("subaccount", select(subaccounts.c.id).where(subaccounts.c.erased_at.is_not(None))),
    ]
    for kind, query in waiting:
        for found in session.execute(query.limit(len(but) + 1)).scalars():
            if found not in but:
                return Target(kind, found)
    return None


def erase_piece(session: Session, target: Target) -> int:
    """Erase some rows of a target; returns how many, 0 while it waits for its parts to go."""
    if target.kind == "collection":
        return _erase_members(session, target.id)
    if target.kind == "principal":
        return _erase_person(session, target.id)
    people = select(principals.c.id).where(principals.c.subaccount_id == target.id)
    return session.execute(
        delete(subaccounts).where(subaccounts.c.id == target.id, ~people.exists())
    ).rowcount


def _erase_members(session: Session, collection_id: str) -> int:
    query = select(objects.c.id, objects.c.name, objects.c.served).where(
        objects.c.collection_id == collection_id
    )
    members = session.execute(query.limit(PIECE)).all()
    if members:
        # Only what is not served has its text among the secrets.
        kept = [f"{collection_id}/{row.name}" for row in members if not row.served]
        session.execute(delete(secrets).where(secrets.c.owner_id.in_(kept)))
        session.execute(delete(objects).where(objects.c.id.in_([row.id for row in members])))
        return len(members)
    return (
        _erase_some(session, revisions, "collection_id", collection_id, key="name")
        or session.execute(delete(collections).where(collections.c.id == collection_id)).rowcount
    )


def _erase_person(session: Session, principal_id: str) -> int:
    mine = select(collections.c.id, collections.c.kind).where(
        collections.c.principal_id == principal_id
    )
    parts = session.execute(mine).all()
    shown = [row.id for row in parts if row.kind != ERASED]
    if shown:
        retire_collections(session, shown)
        return len(shown)
    erased = _erase_some(session, push_ledger, "principal_id", principal_id) or _erase_some(
        session, appointments, "principal_id", principal_id
    )
    if erased or parts:
        return erased
    return session.execute(delete(principals).where(principals.c.id == principal_id)).rowcount


def _erase_some(session: Session, table: Table, owner: str, value: str, *, key: str = "id") -> int:
    """Erase a piece of the rows that belong to an owner; returns how many."""
    mine = table.c[owner] == value
    query = select(table.c[key]).where(mine).limit(PIECE * _ROWS_PER_OBJECT)
    keys = session.execute(query).scalars().all()
    for part in chunks(keys):
        session.execute(delete(table).where(mine, table.c[key].in_(part)))
    return len(keys)


def erase_some(session: Session) -> None:
    """Erase about :data:`PIECE` rows of whatever is hidden: all there is of somebody small."""
    erased, waiting = 0, set[str]()
    while erased < PIECE and (target := next_target(session, but=waiting)) is not None:
        rows = erase_piece(session, target)
        erased += rows
        if not rows:
            waiting.add(target.id)
