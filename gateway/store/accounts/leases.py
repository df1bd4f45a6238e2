"""Who syncs which account when: due times, leases, and the guard against outages.

A lease names a process and runs out by itself, so a dead process's accounts are taken over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, update

from gateway.core.errors import RunCrashed
from gateway.observe import logger, metrics
from gateway.store.accounts.accounts import Connection
from gateway.store.engine import Session, chunks
from gateway.store.tables import connections

POLLED_STATES = ("ok", "credential-revoked", "secret-unreadable")
"""States in which an account is looked at when it is due."""

OUTAGE = "upstream-outage"
"""The problem of accounts whose 401 is not believed, because many had one at once."""

_ALL_PROBES = 3

_log = logger("sync")


def claim_due(
    session: Session,
    *,
    owner: str,
    now: float,
    lease_s: float,
    limit: int,
    backoff: Callable[[int], float] = lambda failures: 0.0,
) -> list[str]:
    """Lease up to ``limit`` due connections to ``owner`` until ``now + lease_s``; return ids.

    A lease that ran out is free for anybody: a dead worker's accounts are taken over. Its run did
    not end, which counts as a failed one. What was well before is taken over at once: mostly it
    was the machine that died. What failed before rests for ``backoff(failures)`` seconds: it may be
    what kills.
    """
    due = (
        select(connections.c.id, connections.c.lease_owner, connections.c.failures)
        .where(
            connections.c.state.in_(POLLED_STATES),
            connections.c.next_sync_at <= now,
            connections.c.lease_until <= now,
            connections.c.wanted_until <= now,
        )
        .order_by(connections.c.next_sync_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = session.execute(due).all()
    lost = {row.id for row in found if row.lease_owner not in (None, owner)}
    resting = {row.id: row.failures + 1 for row in found if row.id in lost and row.failures}
    ids = [row.id for row in found if row.id not in resting]
    for connection_id, failures in resting.items():
        _rest(session, connection_id, now=now, until=now + backoff(failures))
    for connection_id in lost:
        metrics().sync_runs.labels(RunCrashed.default_code).inc()
        metrics().failures.labels("accounts", RunCrashed.default_code).inc()
        _log.warning("run did not end", connection=connection_id, code=RunCrashed.default_code)
    if ids:
        values = {"lease_owner": owner, "lease_until": now + lease_s} | _taken_over(owner, now)
        session.execute(update(connections).where(connections.c.id.in_(ids)).values(values))
    return ids


def _rest(session: Session, connection_id: str, *, now: float, until: float) -> None:
    """Give back the lease of a process that died, and let the account rest."""
    session.execute(
        update(connections)
        .where(connections.c.id == connection_id)
        .values(lease_owner=None, lease_until=0, next_sync_at=until, **_taken_over(None, now))
    )


_LOST = (
    "The process that worked on this account ended in the midst of it: it was killed, or its "
    "machine went down. What is known of the account stands, and it is tried again."
)


def _taken_over(owner: str | None, now: float) -> dict[str, ColumnElement[Any]]:
    """Return what is written with a lease where its last holder never gave it back.

    A worker that is stopped in good order gives all of them back.
    """
    row = connections.c
    is_lost = and_(row.lease_owner.is_not(None), row.lease_owner != (owner or ""))
    is_told = is_lost & (row.state == "ok")
    asked = func.coalesce(row.recent_requests, "")
    return {
        "failures": row.failures + case((is_lost, 1), else_=0),
        "problem": case((is_told, RunCrashed.default_code), else_=row.problem),
        "problem_detail": case((is_told, _LOST), else_=row.problem_detail),
        "recent_requests": case(
            (is_lost, asked + f" {int(now)}:{UNREPORTED}"), else_=row.recent_requests
        ),
    }


UNREPORTED = 10
"""Requests a process may have sent of which it died before it told; its successor counts them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a connection stands: what a failed run needs to know of it."""

    id: str
    principal_id: str
    state: str
    failures: int


_STANDING = select(*(connections.c[name] for name in Standing.__dataclass_fields__))


def find_standing(session: Session, connection_id: str) -> Standing | None:
    """Read how a connection stands, and nothing of the columns a bad value may lurk in."""
    row = session.execute(_STANDING.where(connections.c.id == connection_id)).first()
    return Standing(*row) if row is not None else None


def try_lease(
    session: Session,
    connection_id: str,
    *,
    owner: str,
    now: float,
    lease_s: float,
    makes_way: bool = False,
) -> bool:
    """Lease one connection out of turn (sync now); False while somebody else holds it.

    With ``makes_way`` also while somebody waits to read it. A lease that was never given back
    is a run that did not end: see :func:`claim_due`.
    """
    values: dict[str, object] = {
        "lease_owner": owner,
        "lease_until": now + lease_s,
        **_taken_over(owner, now),
    }
    statement = update(connections).where(
        connections.c.id == connection_id,
        or_(connections.c.lease_until <= now, connections.c.lease_owner == owner),
    )
    if makes_way:
        statement = statement.where(connections.c.wanted_until <= now)
    else:
        values["wanted_until"] = 0.0  # whoever waits still says so again
    return bool(session.execute(statement.values(**values)).rowcount)


def want(session: Session, connection_id: str, *, until: float) -> None:
    """Tell the holder of a connection that somebody waits to read it, good until then."""
    session.execute(
        update(connections).where(connections.c.id == connection_id).values(wanted_until=until)
    )


_WANTED = select(connections.c.wanted_until).where(connections.c.id == bindparam("b_id"))


def is_wanted(session: Session, connection_id: str, *, now: float) -> bool:
    """Tell whether somebody waits to read a connection."""
    until = session.execute(_WANTED, {"b_id": connection_id}).scalar()
    return until is not None and until > now


def recent_requests(session: Session, connection_id: str) -> str | None:
    """Return what was asked of an account in the last minute, as the budget writes it."""
    query = select(connections.c.recent_requests).where(connections.c.id == connection_id)
    return session.execute(query).scalar()


def renew_lease(
    session: Session, connection_id: str, *, owner: str, now: float, lease_s: float, spent: str
) -> bool:
    """Prolong a lease; False when it was lost, so the holder must stop.

    ``spent`` is what the account asked in the last minute, as the budget writes it.
    """
    statement = (
        update(connections)
        .where(and_(connections.c.id == connection_id, connections.c.lease_owner == owner))
        .values(lease_until=now + lease_s, recent_requests=spent)
    )
    return bool(session.execute(statement).rowcount)


def postpone_sync(session: Session, connection_id: str, *, next_sync_at: float) -> None:
    """Let a connection be due no earlier than this; back-off already set stays."""
    session.execute(
        update(connections)
        .where(connections.c.id == connection_id, connections.c.next_sync_at < next_sync_at)
        .values(next_sync_at=next_sync_at)
    )


def note_requests(session: Session, connection_id: str, spent: str) -> None:
    """Count more of what was asked of an account, as the budget writes it."""
    known = func.coalesce(connections.c.recent_requests, "")
    session.execute(
        update(connections)
        .where(connections.c.id == connection_id)
        .values(recent_requests=known + f" {spent}")
    )


def free_lease(session: Session, connection_id: str, *, owner: str, spent: str) -> None:
    """Give a lease back without touching the due time, with what was asked meanwhile."""
    session.execute(
        update(connections)
        .where(connections.c.id == connection_id, connections.c.lease_owner == owner)
        .values(lease_owner=None, lease_until=0, recent_requests=spent)
    )


def free_leases(session: Session, connection_ids: Sequence[str], *, owner: str) -> None:
    """Give back what is still leased to ``owner`` of these, nothing having been asked."""
    for part in chunks(connection_ids):
        session.execute(
            update(connections)
            .where(connections.c.id.in_(part), connections.c.lease_owner == owner)
            .values(lease_owner=None, lease_until=0)
        )


def is_turned(connection: Connection) -> bool:
    """Tell whether an account was refused for the first time, or as a part of an outage."""
    if connection.state == "credential-revoked":
        return connection.probes_left == _ALL_PROBES
    return connection.problem == OUTAGE


def count_refusals(session: Session, *, since: int) -> tuple[int, int, int]:
    """Return (accounts polled since, those of them that turned 401, and that are dead by it).

    One that was refused and taken for a part of an outage still counts as refused (R4). This walks
    through all connections: :class:`gateway.sync.refusals.Refusals` sees to it that it is rare.
    """
    revoked = connections.c.state == "credential-revoked"
    dead = revoked & (connections.c.probes_left == _ALL_PROBES)
    turned = dead | (~revoked & (connections.c.problem == OUTAGE))
    query = select(func.count(), func.count().filter(turned), func.count().filter(dead))
    row = session.execute(query.where(connections.c.polled_at >= since)).one()
    return int(row[0]), int(row[1]), int(row[2])


def revive_refused(session: Session, *, since: int, next_sync_at: float) -> None:
    """Take back the 401s of an outage: nobody's password was revoked."""
    session.execute(
        update(connections)
        .where(
            connections.c.state == "credential-revoked",
            connections.c.polled_at >= since,
            connections.c.probes_left == _ALL_PROBES,
        )
        .values(
            state="ok",
            problem=OUTAGE,
            problem_detail="iCloud refused many accounts at once; this was taken for an outage.",
            probes_left=0,
            next_sync_at=next_sync_at,
        )
    )


def note_active(
    session: Session, principal_ids: Sequence[str], *, until: int, due_at: float
) -> None:
    """Poll these principals' accounts often until ``until``, and not later than ``due_at``.

    Back-off stays: an account that fails is not asked more often because somebody looks.
    """
    for part in chunks(principal_ids):
        session.execute(
            update(connections)
            .where(connections.c.principal_id.in_(part))
            .values(
                active_until=until,
                next_sync_at=case(
                    (
                        and_(connections.c.failures == 0, connections.c.next_sync_at > due_at),
                        due_at,
                    ),
                    else_=connections.c.next_sync_at,
                ),
            )
        )
