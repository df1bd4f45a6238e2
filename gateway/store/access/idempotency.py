"""Remembered answers: the same POST with the same key is carried out once (R29).

A row is reserved before the work starts. The answer is recorded in the same unit as the work, so
a crash leaves either nothing or both. A reservation is a lease of :data:`LEASE_S` that its owner
renews while it works: that of an owner that died can be taken over some seconds later. Should it
live after all, it fails at :func:`record_answer` and rolls back, because ``created_at`` (with
``key_id`` and ``key``) names one reservation.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from gateway.core.errors import InvalidInput, PassingConflict, StateConflict
from gateway.store.booking_tables import idempotency
from gateway.store.engine import Session

REMEMBER_S = 86_400
LEASE_S = 6
"""Seconds a reservation lasts unless renewed; also the longest ``Retry-After`` it is told with."""
RENEW_S = 2


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to carry out one request and to record its answer."""

    key_id: str
    key: str
    created_at: int


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An earlier answer, byte for byte."""

    status: int
    content_type: str
    body: bytes


def reserve(
    session: Session, *, key_id: str, key: str, request_hash: bytes, now: int
) -> Reservation | RecordedAnswer:
    """Reserve ``key`` for one request, or return the answer it got before.

    Raises :class:`InvalidInput` ``idempotency-key-reused`` for another request under the same
    key, :class:`PassingConflict` ``idempotency-in-progress`` while the first one runs, and
    :class:`StateConflict` ``secret-not-replayable`` when the first answer carried a secret, which
    is never stored.
    """
    mine = and_(idempotency.c.key_id == key_id, idempotency.c.key == key)
    session.execute(delete(idempotency).where(mine, idempotency.c.created_at <= now - REMEMBER_S))
    row = session.execute(select(idempotency).where(mine).with_for_update()).first()
    if row is None:
        _insert(session, key_id, key, request_hash, now)
        return Reservation(key_id, key, now)
    if bytes(row.request_hash) != request_hash:
        raise InvalidInput(
            "This Idempotency-Key was used for another request; use a new one.",
            code="idempotency-key-reused",
        )
    if row.status is not None:
        return _recorded(row.status, row.content_type, row.body, row.replayable)
    if row.lease_until > now:
        raise _running(row.lease_until - now)
    again = max(now, row.created_at + 1)  # another reservation than that of the former owner
    session.execute(
        update(idempotency).where(mine).values(created_at=again, lease_until=now + LEASE_S)
    )
    return Reservation(key_id, key, again)


def _running(wait_s: float) -> PassingConflict:
    return PassingConflict(
        "The first request with this key is still running; ask again for its answer.",
        code=_RUNNING,
        retry_after_s=min(wait_s, LEASE_S),
    )


_RUNNING = "idempotency-in-progress"


def renew(session: Session, reservation: Reservation, *, now: int) -> bool:
    """Say that the owner is alive and at work; False when the reservation is not its own any more.

    Clocks of two machines may differ by less than :data:`LEASE_S` minus :data:`RENEW_S`.
    """
    alive = update(idempotency).where(_same(reservation), idempotency.c.status.is_(None))
    return bool(session.execute(alive.values(lease_until=now + LEASE_S)).rowcount)


def _insert(session: Session, key_id: str, key: str, request_hash: bytes, now: int) -> None:
    """Insert the reservation; a rival of another process may have been a moment faster."""
    values = {"key_id": key_id, "key": key, "request_hash": request_hash, "created_at": now}
    values["lease_until"] = now + LEASE_S
    try:
        with session.begin_nested():
            session.execute(insert(idempotency).values(replayable=True, **values))
    except IntegrityError:
        raise _running(1.0) from None


def _recorded(
    status: int, content_type: str | None, body: bytes | None, replayable: bool
) -> RecordedAnswer:
    if not replayable:
        raise StateConflict(
            "The first answer carried a secret, which is shown once and never stored. "
            "Delete what it made and make another one.",
            code="secret-not-replayable",
        )
    return RecordedAnswer(status, content_type or "application/json", bytes(body or b""))


def record_answer(
    session: Session,
    reservation: Reservation,
    *,
    status: int,
    content_type: str,
    body: bytes | None,
) -> None:
    """Record the answer; ``body`` None means it carried a secret and is not kept.

    Raises :class:`PassingConflict` when somebody else has taken the reservation over meanwhile.
    """
    recorded = session.execute(
        update(idempotency)
        .where(_same(reservation), idempotency.c.status.is_(None))
        .values(status=status, content_type=content_type, body=body, replayable=body is not None)
    )
    if not recorded.rowcount:
        raise PassingConflict(
            "Another process answers this request.", code=_RUNNING, retry_after_s=1.0
        )


def release(session: Session, reservation: Reservation) -> None:
    """Forget an unfinished reservation: its outcome is not to be remembered."""
    session.execute(delete(idempotency).where(_same(reservation), idempotency.c.status.is_(None)))


def forget_expired(session: Session, *, now: int, limit: int = 1_000) -> int:
    """Erase up to ``limit`` answers older than a day; returns how many.

    A busy platform leaves half a million a day: all at once would hold the lock for seconds.
    """
    name = tuple_(idempotency.c.key_id, idempotency.c.key)
    expired = (
        select(idempotency.c.key_id, idempotency.c.key)
        .where(idempotency.c.created_at <= now - REMEMBER_S)
        .limit(limit)
    )
    return session.execute(delete(idempotency).where(name.in_(expired))).rowcount


def _same(reservation: Reservation) -> ColumnElement[bool]:
    return and_(
        idempotency.c.key_id == reservation.key_id,
        idempotency.c.key == reservation.key,
        idempotency.c.created_at == reservation.created_at,
    )
