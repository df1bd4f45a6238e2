"""Holds, appointment rows, and where a principal's appointments are to be pushed.

The object in ``platform/`` is what is served and counted; the row here is what the API lists,
it outlives the object. Everything runs inside a unit that locked the principal first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gateway.core.appointments.fields import FIELD_NAMES, NO_FIELDS, AppointmentFields
from gateway.core.errors import ExternalIdTaken, NotFound
from gateway.core.intervals import Interval
from gateway.store.booking_tables import appointment_external_ids, appointments, holds
from gateway.store.engine import Session, new_id
from gateway.store.stored_json import read_texts
from gateway.store.tables import connections, principals

AppointmentStatus = Literal["confirmed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Hold:
    """A reserved time; it counts until ``expires_at``. All times are UTC epoch seconds."""

    id: str
    principal_id: str
    start: int
    end: int
    expires_at: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Appointment(AppointmentFields):
    """An appointment as the API lists it; ``object_id`` is None once the object is gone."""

    id: str
    principal_id: str
    object_id: str | None
    title: str
    start: int
    end: int
    status: AppointmentStatus
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class PushTarget:
    """The connection of a principal, and its linked calendar where there is one."""

    connection_id: str
    state: str
    account_index: bytes | None
    calendar_id: str | None
    calendar_path: str | None


_HOLD = tuple(holds.c[name] for name in Hold.__dataclass_fields__)
_APPOINTMENT = tuple(appointments.c[name] for name in Appointment.__dataclass_fields__)


def as_appointment(row: Row[Any]) -> Appointment:
    """Return a row of the columns of an appointment as one."""
    return Appointment(**row._mapping)


# --- holds ---


def create_hold(
    session: Session, principal_id: str, span: Interval, *, expires_at: int, now: int
) -> Hold:
    """Insert a hold; whoever calls has checked that the time is free."""
    created = Hold(new_id("hold"), principal_id, span[0], span[1], expires_at, now)
    session.execute(
        insert(holds).values(
            id=created.id,
            principal_id=principal_id,
            start=span[0],
            end=span[1],
            expires_at=expires_at,
            created_at=now,
        )
    )
    return created


def take_hold(session: Session, principal_id: str, hold_id: str, *, now: int) -> Hold | None:
    """Remove a hold that has not expired and return it, or None: it is consumed by one alone."""
    statement = delete(holds).where(
        holds.c.id == hold_id, holds.c.principal_id == principal_id, holds.c.expires_at > now
    )
    row = session.execute(statement.returning(*_HOLD)).first()
    return Hold(*row) if row is not None else None


def delete_hold(session: Session, hold_id: str) -> bool:
    """Remove a hold; tell whether it was there."""
    return bool(session.execute(delete(holds).where(holds.c.id == hold_id)).rowcount)


def holds_in(session: Session, principal_id: str, window: Interval, *, now: int) -> list[Hold]:
    """List the living holds that touch the window, by start."""
    values = {
        "b_principal": principal_id,
        "b_start": window[0],
        "b_end": window[1],
        "b_now": now,
    }
    return [Hold(*row) for row in session.execute(_HOLDS_IN, values)]


_HOLDS_IN = (
    select(*_HOLD)
    .where(
        holds.c.principal_id == bindparam("b_principal"),
        holds.c.start < bindparam("b_end"),
        holds.c.end > bindparam("b_start"),
        holds.c.expires_at > bindparam("b_now"),
    )
    .order_by(holds.c.start, holds.c.id)
)


def delete_expired_holds(session: Session, *, now: int, limit: int = 1_000) -> int:
    """Sweep out up to ``limit`` holds that expired; returns how many there were."""
    expired = select(holds.c.id).where(holds.c.expires_at <= now).limit(limit)
    return session.execute(delete(holds).where(holds.c.id.in_(expired))).rowcount


# --- appointments ---


def create_appointment(
    session: Session,
    *,
    principal_id: str,
    object_id: str,
    title: str,
    span: Interval,
    status: AppointmentStatus,
    fields: AppointmentFields = NO_FIELDS,
    now: int,
) -> Appointment:
    """Insert the row of a new appointment and return it."""
    created = Appointment(
        id=new_id("appt"),
        principal_id=principal_id,
        object_id=object_id,
        **{name: getattr(fields, name) for name in FIELD_NAMES},
        title=title,
        start=span[0],
        end=span[1],
        status=status,
        created_at=now,
        updated_at=now,
    )
    session.execute(_NEW_APPOINTMENT, {n: getattr(created, n) for n in _APPOINTMENT_FIELDS})
    return created


_APPOINTMENT_FIELDS = tuple(Appointment.__dataclass_fields__)
_NEW_APPOINTMENT = insert(appointments)


def find_appointment_by_object(session: Session, object_id: str) -> Appointment | None:
    """Return the appointment row of an object, or None."""
    row = session.execute(
        select(*_APPOINTMENT).where(appointments.c.object_id == object_id)
    ).first()
    return as_appointment(row) if row is not None else None


def change_appointment_of(
    session: Session, of_object: str, /, *, now: int, **changes: Any
) -> Appointment | None:
    """Change columns of the row of an object and return it as it is then, None without a row."""
    statement = (
        update(appointments)
        .where(appointments.c.object_id == of_object)
        .values(updated_at=now, **changes)
        .returning(*_APPOINTMENT)
    )
    row = session.execute(statement).first()
    return as_appointment(row) if row is not None else None


def get_appointment(session: Session, principal_id: str, appointment_id: str) -> Appointment:
    """Return one appointment of a principal; raises :class:`NotFound`."""
    row = session.execute(
        select(*_APPOINTMENT).where(
            appointments.c.id == appointment_id, appointments.c.principal_id == principal_id
        )
    ).first()
    if row is None:
        raise NotFound("There is no such appointment.")
    return as_appointment(row)


def claim_external_id(
    session: Session, principal_id: str, external_id: str, appointment_id: str | None
) -> None:
    """Give an appointment its external id, unique in the subaccount (R35).

    With None nothing is given, only looked up. A cancelled appointment keeps its id: what a
    platform repeats by mistake must not book again. Raises :class:`ExternalIdTaken`, also when
    a rival of another person was a moment faster.
    """
    owner = select(principals.c.subaccount_id).where(principals.c.id == principal_id)
    subaccount_id = session.execute(owner).scalar_one()
    keys = appointment_external_ids
    mine = (keys.c.subaccount_id == subaccount_id) & (keys.c.external_id == external_id)
    found = session.execute(select(keys.c.appointment_id).where(mine)).scalar()
    if found is None and appointment_id is not None:
        values = {"subaccount_id": subaccount_id, "external_id": external_id}
        try:
            with session.begin_nested():
                session.execute(insert(keys).values(appointment_id=appointment_id, **values))
        except IntegrityError:
            found = session.execute(select(keys.c.appointment_id).where(mine)).scalar_one()
    if found is not None:
        raise ExternalIdTaken(
            f"The appointment {found} has this external_id already; nothing was booked. Change "
            "that one, or give this one an id of its own.",
            appointment_id=found,
        )


def list_appointments(
    session: Session,
    principal_ids: Sequence[str],
    *,
    window: Interval | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 100,
) -> list[Appointment]:
    """List appointments by (start, id), of a window, after the last one of the page before."""
    query = select(*_APPOINTMENT).where(appointments.c.principal_id.in_(principal_ids))
    if window is not None:
        query = query.where(appointments.c.start < window[1], appointments.c.end > window[0])
    if after is not None:
        start, row_id = appointments.c.start, appointments.c.id
        query = query.where(
            or_(start > after[0], (start == after[0]) & (row_id > after[1])),
        )
    query = query.order_by(appointments.c.start, appointments.c.id).limit(limit)
    return [as_appointment(row) for row in session.execute(query)]


def update_appointment(session: Session, appointment_id: str, *, now: int, **changes: Any) -> None:
    """Change columns of an appointment row; raises :class:`NotFound`."""
    statement = (
        update(appointments)
        .where(appointments.c.id == appointment_id)
        .values(updated_at=now, **changes)
    )
    if not session.execute(statement).rowcount:
        raise NotFound("There is no such appointment.")


# --- what booking has to know of the iCloud side ---


def owner_addresses(session: Session, principal_id: str) -> frozenset[str]:
    """Return the addresses by which iCloud knows the owner, lower case, for own PARTSTAT."""
    value = session.execute(
        select(connections.c.addresses).where(connections.c.principal_id == principal_id)
    ).scalar()
    return read_addresses(value, principal_id)


def read_addresses(value: str | None, principal_id: str) -> frozenset[str]:
    """Return the addresses of a connection's column; none without a connection."""
    return frozenset(_addresses(value, principal_id)) if value else frozenset()


def find_by_account_address(
    session: Session, addresses: Collection[str], *, subaccount_id: str
) -> dict[str, list[str]]:
    """Return the principals of a subaccount whose iCloud account has one of these addresses.

    By address, lower case; principals by id, in order.
    """
    query = (
        select(connections.c.principal_id, connections.c.addresses)
        .join(principals, principals.c.id == connections.c.principal_id)
        .where(
            principals.c.subaccount_id == subaccount_id,
            principals.c.erased_at.is_(None),
            connections.c.addresses.is_not(None),
        )
        .order_by(connections.c.principal_id)
    )
    found: dict[str, list[str]] = {}
    for principal_id, known in session.execute(query):
        for address in set(_addresses(known, principal_id)).intersection(addresses):
            found.setdefault(address, []).append(principal_id)
    return found


def _addresses(text: str, principal_id: str) -> tuple[str, ...]:
    return read_texts(text, column="addresses", row=f"the connection of {principal_id}")
