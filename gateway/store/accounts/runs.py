"""The statements of an idle poll, built once: thousands of accounts run through them all day.

Building a statement costs several times its execution on SQLite, so what one poll needs is read
with one statement and written with few.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, exists, func, or_, select, update
from sqlalchemy.exc import DBAPIError

from gateway.core.errors import NotFound, SecretUnreadable
from gateway.store.accounts.accounts import COLUMNS, Connection, Credential, Keyring, connection_of
from gateway.store.accounts.leases import POLLED_STATES, Standing
from gateway.store.engine import Session
from gateway.store.objects.freshness import tell_verified
from gateway.store.objects.objects import bump_generation
from gateway.store.tables import connections, outbox, principals, secrets, upstream_calendars

_email = secrets.alias("email")
_password = secrets.alias("password")


@dataclass(frozen=True, slots=True)
class OpenedAccount:
    """All that a run needs to know of an account before it asks iCloud.

    ``is_settled``: every calendar in use was read completely and none is missing, so a listing
    with the digest of the last one means that nothing happened. ``retry_at``: when the next member
    that could not be read is asked for again. ``recent_requests``: what was asked in the last
    minute, whoever held the lease.
    """

    connection: Connection
    time_zone: str
    lease_owner: str | None
    lease_until: float
    has_message: bool
    listing_digest: str | None
    is_settled: bool
    retry_at: float | None
    recent_requests: str | None
    credential: Credential | None = field(repr=False)


_calendar = upstream_calendars.c
_IN_USE = _calendar.role.in_(("linked", "conflict", "tracked")) & (_calendar.kind == "calendar")
_UNREAD = or_(
    _calendar.state != "ok", _calendar.problem.is_not(None), _calendar.sync_token.is_(None)
)
_UNSETTLED = exists().where(
    _calendar.connection_id == connections.c.id,
    _calendar.state != "gone",
    or_(_IN_USE & _UNREAD, _calendar.missing_since.is_not(None)),
)

_RETRY_AT = (
    select(func.min(_calendar.retry_at))
    .where(
        _calendar.connection_id == connections.c.id,
        _IN_USE,
        _calendar.state == "ok",
        _calendar.missing_since.is_(None),
    )
    .scalar_subquery()
)

_OPENED = (
    select(
        *COLUMNS,
        principals.c.time_zone,
        connections.c.lease_owner,
        connections.c.lease_until,
        exists()
        .where(outbox.c.connection_id == connections.c.id, outbox.c.state == "pending")
        .label("has_message"),
        connections.c.listing_digest,
        _UNSETTLED.label("is_unsettled"),
        _RETRY_AT.label("retry_at"),
        connections.c.recent_requests,
        _email.c.key_id.label("email_key"),
        _email.c.ciphertext.label("email"),
        _password.c.key_id.label("password_key"),
        _password.c.ciphertext.label("password"),
    )
    .join(principals, principals.c.id == connections.c.principal_id)
    .outerjoin(_email, (_email.c.owner_id == connections.c.id) & (_email.c.field == "email"))
    .outerjoin(
        _password,
        (_password.c.owner_id == connections.c.id) & (_password.c.field == "app_password"),
    )
)
_OPEN = _OPENED.where(connections.c.id == bindparam("b_id"))
_OPEN_MANY = _OPENED.where(connections.c.id.in_(bindparam("b_ids", expanding=True)))


def open_account(session: Session, keyring: Keyring, connection_id: str) -> OpenedAccount:
    """Read connection, zone, lease and credential at once; raises :class:`NotFound`.

    The credential is None after a disconnect. Raises :class:`SecretUnreadable` when it is there
    and cannot be decrypted.
    """
    row = session.execute(_OPEN, {"b_id": connection_id}).first()
    if row is None:
        raise NotFound("There is no such connection.")
    return _opened(row, keyring)


def open_accounts(
    session: Session, keyring: Keyring, connection_ids: Sequence[str]
) -> list[OpenedAccount]:
    """Read several accounts like :func:`open_account`, in no particular order.

    One that cannot be read is left out: whoever opens it alone learns why (R45).
    """
    if not connection_ids:
        return []
    try:
        rows = session.execute(_OPEN_MANY, {"b_ids": list(connection_ids)}).all()
    except DBAPIError:  # a text that is none, say, in one of the rows
        return []
    found: list[OpenedAccount] = []
    for row in rows:
        with suppress(SecretUnreadable, ValueError, TypeError, KeyError):
            found.append(_opened(row, keyring))
    return found


def _opened(row: Any, keyring: Keyring) -> OpenedAccount:
    connection = connection_of(row)
    credential = None
    if row.email is not None and row.password is not None:
        email = keyring.decrypt(
            row.email_key, bytes(row.email), owner_id=connection.id, field="email"
        )
        password = keyring.decrypt(
            row.password_key, bytes(row.password), owner_id=connection.id, field="app_password"
        )
        credential = Credential(email.decode(), password.decode())
    return OpenedAccount(
        connection=connection,
        time_zone=row.time_zone,
        lease_owner=row.lease_owner,
        lease_until=row.lease_until,
        has_message=row.has_message,
        listing_digest=row.listing_digest,
        is_settled=not row.is_unsettled,
        retry_at=row.retry_at,
        recent_requests=row.recent_requests,
        credential=credential,
    )


_TOUCH = (
    update(upstream_calendars)
    .where(upstream_calendars.c.id.in_(bindparam("b_ids", expanding=True)))
    .values(synced_at=bindparam("b_now"))
)
_IS_SETTLED = select(connections.c.id).where(connections.c.id == bindparam("b_id"), ~_UNSETTLED)


def is_settled(session: Session, connection_id: str) -> bool:
    """Tell whether every calendar in use was read completely and none is missing."""
    return session.execute(_IS_SETTLED, {"b_id": connection_id}).first() is not None


def touch_synced(session: Session, calendar_ids: Sequence[str], *, now: int) -> None:
    """Say that these calendars were found unchanged, when the same cannot be said of all in use."""
    session.execute(_TOUCH, {"b_ids": list(calendar_ids), "b_now": now})


# Comparisons rather than IN: this one runs for many rows at once.
_POLLED = or_(*(connections.c.state == state for state in POLLED_STATES))
_NOTE = update(connections).where(
    connections.c.id == bindparam("b_id"),
    connections.c.lease_owner == bindparam("b_owner"),
    _POLLED,
)


def note_run(session: Session, before: Connection, /, *, owner: str, **changes: Any) -> bool:
    """Write what a run left behind and give the lease back, in one statement.

    ``before`` is the account as the run found it: the person's sources are told anew when its
    state is another now. With ``verified_at`` all its calendars were found current then. False when
    the lease was lost or a person paused or disconnected the account meanwhile: nothing is written
    then.
    """
    values = {"lease_owner": None, "lease_until": 0, **changes}
    done = session.execute(_NOTE, {"b_id": before.id, "b_owner": owner, **values})
    if not done.rowcount:
        return False
    if changes.get("state", before.state) != before.state:
        bump_generation(session, before.principal_id)
    if "verified_at" in changes:
        tell_verified(session, [before.principal_id], at=changes["verified_at"])
    return True


def note_crash(
    session: Session, before: Standing, /, *, state: str, problem: str, **changes: Any
) -> None:
    """Say on an account that a run over it did not end, whoever holds its lease.

    The next good run must not take the home for one it has read.
    """
    values = {"state": state, "problem": problem, "listing_digest": None, **changes}
    session.execute(update(connections).where(connections.c.id == before.id).values(values))
    if state != before.state:
        bump_generation(session, before.principal_id)


@dataclass(frozen=True, slots=True)
class IdleEnd:
    """The end of a run that found nothing new on a healthy account, and when it is due again.

    ``spent`` is what the account asked in the last minute, for the next holder of its lease.
    """

    connection: Connection
    next_sync_at: float
    spent: str = ""


_HOLD_MANY = (
    select(connections.c.id)
    .where(connections.c.id.in_(bindparam("b_ids", expanding=True)))
    .order_by(connections.c.id)
    .with_for_update()
)
_SETTLED = select(connections.c.id).where(
    connections.c.id.in_(bindparam("b_ids", expanding=True)),
    connections.c.lease_owner == bindparam("b_owner"),
    connections.c.state == "ok",
    connections.c.problem.is_(None),
    ~_UNSETTLED,
)
_NOTE_IDLE = (
    update(connections)
    .where(connections.c.id == bindparam("b_id"))
    .values(
        next_sync_at=bindparam("b_due"),
        polled_at=bindparam("b_now"),
        synced_at=bindparam("b_now"),
        verified_at=bindparam("b_now"),
        recent_requests=bindparam("b_spent"),
        lease_owner=None,
        lease_until=0,
    )
)


def note_idle(session: Session, ends: Sequence[IdleEnd], *, owner: str, now: int) -> set[str]:
    """Write the ends of runs that found nothing new; only ages change. Returns their ids.

    One row each, in columns no signal watches. Left out are accounts whose lease was lost, that a
    person paused, that had a problem, and those with something to read after all because roles
    were changed meanwhile: who changes them writes the connection's row last, and waits for the
    locks taken here or is seen behind them.
    """
    due = {end.connection.id: end for end in ends}
    session.execute(_HOLD_MANY, {"b_ids": list(due)})
    settled = session.execute(_SETTLED, {"b_ids": list(due), "b_owner": owner})
    done = {row.id for row in settled}
    if done:
        rows = [
            {"b_id": one, "b_due": due[one].next_sync_at, "b_now": now, "b_spent": due[one].spent}
            for one in sorted(done)
        ]
        session.execute(_NOTE_IDLE, rows)
        verified = {end.connection.principal_id for end in ends if end.connection.id in done}
        tell_verified(session, sorted(verified), at=now)
    return done
