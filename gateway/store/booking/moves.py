"""What devices did to appointments that may be half of a move; kept for minutes."""

import hashlib
from dataclasses import dataclass, field

from sqlalchemy import delete, select

from gateway.store.booking_tables import appointment_moves
from gateway.store.engine import Session, upsert
from gateway.store.objects.objects import StoredObject

KEPT_S = 3600


@dataclass(frozen=True, slots=True)
class Move:
    """Half of a move; only a deletion has more than ``done``."""

    done: str
    name: str | None
    body: bytes | None = field(repr=False)
    appointment_id: str | None
    ledger_id: str | None


def note_copy(session: Session, principal_id: str, uid: str, *, now: int) -> None:
    """Remember that a copy of an appointment was refused."""
    _note(session, principal_id, uid, now, "copied", None)


def note_deletion(
    session: Session,
    found: StoredObject,
    *,
    appointment_id: str,
    ledger_id: str | None,
    now: int,
) -> None:
    """Remember a deleted appointment with what it takes to bring it back."""
    ids = (appointment_id, ledger_id)
    _note(session, found.principal_id, found.uid, now, "deleted", (found, *ids))


def _note(
    session: Session,
    principal_id: str,
    uid: str,
    now: int,
    done: str,
    left: tuple[StoredObject, str, str | None] | None,
) -> None:
    session.execute(delete(appointment_moves).where(appointment_moves.c.at <= now - KEPT_S))
    row = {
        "principal_id": principal_id,
        "uid_hash": _hash(uid),
        "done": done,
        "at": now,
        "name": left[0].name if left else None,
        "body": left[0].body if left else None,
        "appointment_id": left[1] if left else None,
        "ledger_id": left[2] if left else None,
    }
    upsert(session, appointment_moves, [row], keys=["principal_id", "uid_hash"])


def find_move(session: Session, principal_id: str, uid: str, *, since: int) -> Move | None:
    """Return what was done to the appointment with this UID lately."""
    row = appointment_moves.c
    query = select(row.done, row.name, row.body, row.appointment_id, row.ledger_id).where(
        row.principal_id == principal_id, row.uid_hash == _hash(uid), row.at > since
    )
    found = session.execute(query).first()
    if found is None:
        return None
    return Move(
        done=found.done,
        name=found.name,
        body=None if found.body is None else bytes(found.body),
        appointment_id=found.appointment_id,
        ledger_id=found.ledger_id,
    )


def _hash(uid: str) -> str:
    return hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()
