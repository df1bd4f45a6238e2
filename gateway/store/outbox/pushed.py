"""What was pushed, by the names and UIDs it has in iCloud, without the bodies (R13, R17).

A pull asks for the few names an answer is about. The ledger grows for ever, its bodies are read
for the one object that changed.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select

from gateway.store.engine import Session, chunks
from gateway.store.tables import push_ledger

_ledger = push_ledger.c


@dataclass(frozen=True, slots=True)
class Pushed:
    """One ledger row as far as a listing can be compared with it; ``id`` is the row's."""

    id: str
    upstream_name: str
    upstream_uid: str
    upstream_etag: str | None
    object_id: str | None
    state: str

    @property
    def stands_for_its_object(self) -> bool:
        """Whether what is in iCloud is an appointment of ours, so that nothing else blocks for it.

        Not once it was deleted here and may not be deleted there: guests go on meeting.
        """
        return self.state != "deleted" and not (self.state == "parked" and self.object_id is None)


_COLUMNS = tuple(_ledger[name] for name in Pushed.__dataclass_fields__)


def pushed_names(
    session: Session, upstream_calendar_id: str, names: Iterable[str] | None = None
) -> dict[str, Pushed]:
    """Return {upstream name: row} of what was pushed to a calendar; all of it without ``names``."""
    here = _ledger.upstream_calendar_id == upstream_calendar_id
    if names is None:
        return {row.upstream_name: row for row in _rows(session, here)}
    found: dict[str, Pushed] = {}
    for part in chunks(names):
        rows = _rows(session, here & _ledger.upstream_name.in_(part))
        found.update((row.upstream_name, row) for row in rows)
    return found


def pushed_uids(session: Session, principal_id: str, uids: Collection[str]) -> dict[str, Pushed]:
    """Return {upstream UID: row} of what was pushed for a principal under these UIDs."""
    found: dict[str, Pushed] = {}
    for part in chunks(uids):
        rows = _rows(
            session, (_ledger.principal_id == principal_id) & _ledger.upstream_uid.in_(part)
        )
        found.update((row.upstream_uid, row) for row in rows)
    return found


def pushed_since(session: Session, upstream_calendar_id: str, since: int) -> set[str]:
    """Return the names of what was written to a calendar, or read there, at ``since`` or later."""
    query = select(*_COLUMNS).where(
        _ledger.upstream_calendar_id == upstream_calendar_id,
        _ledger.updated_at >= since,
        _ledger.upstream_etag.is_not(None),
    )
    rows = (Pushed(*row) for row in session.execute(query))
    return {row.upstream_name for row in rows if row.stands_for_its_object}


def has_pushed(session: Session, principal_id: str) -> bool:
    """Tell whether anything was ever pushed for a principal."""
    query = select(_ledger.id).where(_ledger.principal_id == principal_id).limit(1)
    return session.execute(query).first() is not None


def holds_appointments(session: Session, upstream_calendar_id: str) -> bool:
    """Tell whether something that was pushed to a calendar has not been deleted (R7)."""
    query = select(_ledger.id).where(
        _ledger.upstream_calendar_id == upstream_calendar_id, _ledger.state != "deleted"
    )
    return session.execute(query.limit(1)).first() is not None


def _rows(session: Session, condition: ColumnElement[bool]) -> Iterable[Pushed]:
    return (Pushed(*row) for row in session.execute(select(*_COLUMNS).where(condition)))
