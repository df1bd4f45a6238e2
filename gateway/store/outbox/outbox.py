"""The push ledger and the outbox: what may be, and what has yet to be, written to iCloud.

The ledger row is the permission (R13): one per object that ever went upstream, kept after the
object is gone. The outbox row is the message (R16), written in the same unit as the change that
caused it, finished only after iCloud's answer is recorded.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import and_, delete, insert, or_, select, update

from gateway.core.errors import NotFound
from gateway.store.engine import Session, new_id
from gateway.store.tables import connections, outbox, push_ledger, upstream_calendars

Action = Literal["put", "delete"]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The permission to write one upstream resource; ``state`` pending, pushed, parked, deleted."""

    id: str
    principal_id: str
    object_id: str | None
    account_index: bytes | None
    upstream_calendar_id: str | None
    upstream_path: str
    upstream_name: str
    upstream_uid: str
    upstream_etag: str | None
    sent_body: bytes | None
    base_body: bytes | None
    sequence: int
    state: str
    reason: str | None
    created_at: int
    updated_at: int

    @property
    def stands_for_its_object(self) -> bool:
        """Whether what is in iCloud is an appointment of ours, so that nothing else blocks for it.

        Not once it was deleted here and may not be deleted there: guests go on meeting.
        """
        return self.state != "deleted" and not (self.state == "parked" and self.object_id is None)


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One outbox row; ``in_doubt`` means it was sent once and the answer was never seen."""

    id: int
    ledger_id: str
    connection_id: str | None
    action: Action
    state: str
    reason: str | None
    detail: str | None
    attempts: int
    due_at: float
    in_doubt: bool
    created_at: int


_LEDGER = tuple(push_ledger.c[name] for name in LedgerRow.__dataclass_fields__)
_MESSAGE = tuple(outbox.c[name] for name in OutboxMessage.__dataclass_fields__)


def create_ledger_row(
    session: Session,
    *,
    principal_id: str,
    object_id: str,
    account_index: bytes | None,
    upstream_calendar_id: str,
    upstream_path: str,
    upstream_uid: str,
    now: int,
) -> LedgerRow:
    """Allow one object to be written to one upstream calendar, under ``<uid>.ics``."""
    created = LedgerRow(
        id=new_id("push"),
        principal_id=principal_id,
        object_id=object_id,
        account_index=account_index,
        upstream_calendar_id=upstream_calendar_id,
        upstream_path=upstream_path,
        upstream_name=f"{upstream_uid}.ics",
        upstream_uid=upstream_uid,
        upstream_etag=None,
        sent_body=None,
        base_body=None,
        sequence=0,
        state="pending",
        reason=None,
        created_at=now,
        updated_at=now,
    )
    values = {name: getattr(created, name) for name in LedgerRow.__dataclass_fields__}
    session.execute(insert(push_ledger), values)
    return created


def get_ledger_row(session: Session, ledger_id: str) -> LedgerRow:
    """Return one ledger row; raises :class:`NotFound`."""
    row = session.execute(select(*_LEDGER).where(push_ledger.c.id == ledger_id)).first()
    if row is None:
        raise NotFound("There is no such push.")
    return LedgerRow(*row)


def find_ledger_by_object(session: Session, object_id: str) -> LedgerRow | None:
    """Return the ledger row of a local object, or None when it never was to go upstream."""
    row = session.execute(select(*_LEDGER).where(push_ledger.c.object_id == object_id)).first()
    return LedgerRow(*row) if row is not None else None


def find_tried_ledger(session: Session, object_id: str) -> tuple[LedgerRow, bool] | None:
    """Return the ledger row of a local object, and whether a message of it was ever started."""
    tried = select(outbox.c.id).where(
        outbox.c.ledger_id == push_ledger.c.id, or_(outbox.c.attempts > 0, outbox.c.in_doubt)
    )
    query = select(*_LEDGER, tried.exists()).where(push_ledger.c.object_id == object_id)
    row = session.execute(query).first()
    return (LedgerRow(*row[:-1]), bool(row[-1])) if row is not None else None


def list_ledger(session: Session, principal_id: str) -> list[LedgerRow]:
    """List the pushes of a principal, oldest first."""
    query = select(*_LEDGER).where(push_ledger.c.principal_id == principal_id)
    return [
        LedgerRow(*row)
        for row in session.execute(query.order_by(push_ledger.c.created_at, push_ledger.c.id))
    ]


def update_ledger(session: Session, ledger_id: str, *, now: int, **changes: Any) -> None:
    """Change columns of a ledger row."""
    session.execute(
        update(push_ledger).where(push_ledger.c.id == ledger_id).values(updated_at=now, **changes)
    )


def enqueue(
    session: Session,
    *,
    ledger_id: str,
    connection_id: str | None,
    action: Action,
    now: int,
    is_first: bool = False,
) -> None:
    """Add a message; a pending, never tried one for the same resource is replaced.

    The body is built when the message runs, so two edits in a row make one PUT. ``is_first`` is
    for a new resource, which has none to replace.
    """
    if not is_first:
        session.execute(
            delete(outbox).where(
                outbox.c.ledger_id == ledger_id,
                outbox.c.attempts == 0,
                outbox.c.state == "pending",
                outbox.c.in_doubt.is_(False),
            )
        )
    session.execute(
        insert(outbox).values(
            ledger_id=ledger_id,
            connection_id=connection_id,
            action=action,
            state="pending",
            due_at=float(now),
            created_at=now,
        )
    )


def has_message(session: Session, ledger_id: str) -> bool:
    """Tell whether something of this resource has yet to be sent, or is parked."""
    query = select(outbox.c.id).where(outbox.c.ledger_id == ledger_id).limit(1)
    return session.execute(query).first() is not None


def is_being_deleted(session: Session, ledger_id: str) -> bool:
    """Tell whether the deletion of this resource was tried upstream, whatever came of it."""
    query = select(outbox.c.id).where(
        outbox.c.ledger_id == ledger_id,
        outbox.c.action == "delete",
        or_(outbox.c.attempts > 0, outbox.c.in_doubt),
    )
    return session.execute(query.limit(1)).first() is not None


_before = outbox.alias("before")
_EARLIER = (
    select(_before.c.id)
    .where(_before.c.ledger_id == outbox.c.ledger_id, _before.c.id < outbox.c.id)
    .exists()
)
"""Whether something else of the same resource has to go first."""


def due_messages(
    session: Session, connection_id: str, *, now: float, limit: int = 20
) -> list[OutboxMessage]:
    """List the due messages of a connection, oldest first, one per resource (order is kept).

    A resource whose first message is parked or not yet due waits, whatever comes behind it.
    """
    query = (
        select(*_MESSAGE)
        .where(
            outbox.c.connection_id == connection_id,
            outbox.c.state == "pending",
            outbox.c.due_at <= now,
            ~_EARLIER,
        )
        .order_by(outbox.c.id)
        .limit(limit)
    )
    return [OutboxMessage(*row) for row in session.execute(query)]


def connections_with_messages(session: Session, *, now: float) -> list[str]:
    """List the working connections, leased to nobody, that have something to send now.

    While an account backs off nothing is sent: its next poll sends what is due. A message behind
    one that is parked or not yet due waits, as in :func:`due_messages`.
    """
    query = (
        select(outbox.c.connection_id)
        .join(connections, connections.c.id == outbox.c.connection_id)
        .where(
            outbox.c.state == "pending",
            outbox.c.due_at <= now,
            ~_EARLIER,
            connections.c.state == "ok",
            connections.c.lease_until <= now,
            or_(
                connections.c.failures == 0,
                # Not while its lease was never given back: who polls it next counts that.
                and_(connections.c.next_sync_at <= now, connections.c.lease_owner.is_(None)),
            ),
        )
        .distinct()
    )
    return [row[0] for row in session.execute(query)]


def list_messages(session: Session, principal_id: str) -> list[tuple[OutboxMessage, LedgerRow]]:
    """List what is pending or parked for a principal, oldest first."""
    query = (
        select(*_MESSAGE, *_LEDGER)
        .join(push_ledger, push_ledger.c.id == outbox.c.ledger_id)
        .where(push_ledger.c.principal_id == principal_id)
        .order_by(outbox.c.id)
    )
    width = len(_MESSAGE)
    return [
        (OutboxMessage(*row[:width]), LedgerRow(*row[width:])) for row in session.execute(query)
    ]


def get_message(session: Session, message_id: int) -> OutboxMessage:
    """Return one message; raises :class:`NotFound` once it is done."""
    row = session.execute(select(*_MESSAGE).where(outbox.c.id == message_id)).first()
    if row is None:
        raise NotFound("There is no such push.")
    return OutboxMessage(*row)


def mark_in_doubt(session: Session, message_id: int) -> bool:
    """Say, before sending, that the answer may never be seen: then look before repeating.

    False when the message is gone: it was replaced or withdrawn a moment ago, so send nothing.
    """
    statement = (
        update(outbox)
        .where(outbox.c.id == message_id)
        .values(in_doubt=True, attempts=outbox.c.attempts + 1)
    )
    return bool(session.execute(statement).rowcount)


def drop_messages(session: Session, ledger_id: str) -> None:
    """Remove all messages of a resource: there is nothing left to send."""
    session.execute(delete(outbox).where(outbox.c.ledger_id == ledger_id))


def finish(session: Session, message_id: int) -> None:
    """Remove a done message."""
    session.execute(delete(outbox).where(outbox.c.id == message_id))


def postpone(
    session: Session,
    message: OutboxMessage,
    *,
    due_at: float,
    reason: str,
    detail: str,
    in_doubt: bool = False,
) -> None:
    """Try a message again later, and count the attempt, whether anything was sent or not.

    ``message`` is as it was read before the attempt; ``in_doubt`` keeps the need to look before
    repeating it.
    """
    session.execute(
        update(outbox)
        .where(outbox.c.id == message.id)
        .values(
            due_at=due_at,
            reason=reason,
            detail=detail,
            in_doubt=in_doubt,
            attempts=message.attempts + 1,
        )
    )


def park(session: Session, message_id: int, *, reason: str, detail: str) -> None:
    """Stop trying until a person acts; ``reason`` is a stable code."""
    session.execute(
        update(outbox)
        .where(outbox.c.id == message_id)
        .values(state="parked", reason=reason, detail=detail)
    )


def park_all(session: Session, connection_id: str, *, reason: str, detail: str) -> None:
    """Park every pending message of a connection (disconnect, calendar gone)."""
    session.execute(
        update(outbox)
        .where(outbox.c.connection_id == connection_id, outbox.c.state == "pending")
        .values(state="parked", reason=reason, detail=detail)
    )


def park_calendar(
    session: Session, upstream_calendar_id: str, *, reason: str, detail: str, now: int
) -> None:
    """Park every pending message for a calendar, and say so in the ledger."""
    rows = select(push_ledger.c.id).where(
        push_ledger.c.upstream_calendar_id == upstream_calendar_id
    )
    pending = outbox.c.ledger_id.in_(rows) & (outbox.c.state == "pending")
    waiting = select(outbox.c.ledger_id).where(pending)
    session.execute(
        update(push_ledger)
        .where(push_ledger.c.id.in_(waiting))
        .values(state="parked", reason=reason, updated_at=now)
    )
    session.execute(
        update(outbox).where(pending).values(state="parked", reason=reason, detail=detail)
    )


def readopt_ledger(session: Session, connection_id: str, *, now: int) -> None:
    """Tie what was pushed to an account to its calendars again after reconnecting (R3).

    Rows are matched by account and collection path; messages parked by the disconnect go on.
    """
    account = select(connections.c.account_index).where(connections.c.id == connection_id)
    for calendar in session.execute(
        select(upstream_calendars.c.id, upstream_calendars.c.path).where(
            upstream_calendars.c.connection_id == connection_id
        )
    ).all():
        session.execute(
            update(push_ledger)
            .where(
                push_ledger.c.upstream_path == calendar.path,
                push_ledger.c.account_index == account.scalar_subquery(),
            )
            .values(upstream_calendar_id=calendar.id, updated_at=now)
        )
    mine = select(push_ledger.c.id).where(push_ledger.c.account_index == account.scalar_subquery())
    session.execute(
        update(outbox)
        .where(outbox.c.ledger_id.in_(mine), outbox.c.reason == "disconnected")
        .values(
            connection_id=connection_id,
            state="pending",
            reason=None,
            detail=None,
            due_at=float(now),
        )
    )


def unpark(session: Session, message_id: int, *, now: int) -> None:
    """Try a parked message again."""
    session.execute(
        update(outbox)
        .where(outbox.c.id == message_id)
        .values(state="pending", reason=None, detail=None, due_at=float(now))
    )
