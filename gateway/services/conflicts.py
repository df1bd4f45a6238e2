"""Conflicts: what was dropped when an appointment changed on both sides, and what now (R17)."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.core.appointments.body import change_event
from gateway.core.errors import StateConflict
from gateway.core.ical.lines import unescape_text, unfold
from gateway.core.ical.reader import read_calendar
from gateway.core.recurrence.expand import BusyRules, default_window, expand
from gateway.services.access.people import PersonRef, find_person
from gateway.services.appointments import replace_body
from gateway.store.access.principals import Principal, get_principal
from gateway.store.booking import conflicts
from gateway.store.booking.conflicts import ConflictRecord, Resolution
from gateway.store.booking.loading import load_member_by_id
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.objects import StoredObject, find_object_by_id
from gateway.store.outbox.overview import Scope

_TEXTS = ("SUMMARY", "DESCRIPTION", "LOCATION")


@dataclass(frozen=True, slots=True)
class ConflictSide:
    """One side of a conflict: first instance in UTC epoch seconds (None: none known), texts.

    ``texts`` are title, description and place; they are for whoever may read events.
    """

    start: int | None
    end: int | None
    recurring: bool
    texts: tuple[str, str, str]


def read_version(body: bytes, principal: Principal, *, now: int) -> ConflictSide:
    """Read one side; what cannot be understood has no times."""
    rules = BusyRules(ZoneInfo(principal.time_zone), always_busy=True)
    expansion = expand(body, default_window(now), rules)
    first = expansion.instances[0] if expansion.instances else None
    calendar = read_calendar(unfold(body), full=True)
    events = [part for part in calendar.components if part.name == "VEVENT"]
    master = next((part for part in events if part.first("RECURRENCE-ID") is None), None)
    texts = [unescape_text(master.text(name)) if master else "" for name in _TEXTS]
    return ConflictSide(
        start=first.start if first else expansion.first_start,
        end=first.end if first else expansion.last_end,
        recurring=expansion.recurring,
        texts=(texts[0], texts[1], texts[2]),
    )


@dataclass(frozen=True, slots=True)
class ConflictView:
    """A conflict with its appointment's id (None: deleted) and both sides of it.

    ``stands`` is the appointment as it is now, None when it was deleted.
    """

    record: ConflictRecord
    appointment_id: str | None
    stands: ConflictSide | None
    dropped: ConflictSide


def list_conflicts(
    session: Session,
    scope: Scope,
    *,
    with_resolved: bool,
    after: tuple[int, str] | None,
    limit: int,
) -> list[conflicts.ShownConflict]:
    """List what a person should look at, oldest first, with the ids of the appointments.

    Raises :class:`NotFound` when the scope names a person who is not there.
    """
    if scope.principal_id is not None:
        find_person(session, PersonRef(scope.principal_id, scope.subaccount_id))
    return conflicts.conflicts_in(
        session, scope, with_resolved=with_resolved, after=after, limit=limit
    )


def view_conflict(session: Session, scope: Scope, conflict_id: str, *, now: int) -> ConflictView:
    """Return one conflict in scope with both versions; raises :class:`NotFound`."""
    record, appointment_id = conflicts.conflict_in(session, scope, conflict_id)
    principal = get_principal(session, record.principal_id)
    kept = kept_object(session, record)
    return ConflictView(
        record,
        appointment_id,
        stands=read_version(kept.body, principal, now=now) if kept else None,
        dropped=read_version(record.dropped_body, principal, now=now),
    )


def kept_object(session: Session, record: ConflictRecord) -> StoredObject | None:
    """Return the appointment's object as it stands now; None when it was deleted."""
    return find_object_by_id(session, record.object_id) if record.object_id else None


def resolve(
    session: Session,
    scope: Scope,
    conflict_id: str,
    resolution: Resolution,
    *,
    allow_overlap: bool = False,
    now: int,
) -> conflicts.ShownConflict:
    """Say that a person has looked; ``restored`` makes the dropped version the appointment's again.

    That is an edit like any other: it may be refused for an overlap, and goes to iCloud. Only a
    change made here can come back, and only while its appointment stands. Doing it twice is no
    error. The person is locked. Raises :class:`NotFound` for a conflict that is not in scope,
    :class:`StateConflict` ``conflict-resolved`` when it was resolved the other way, and
    ``conflict-not-restorable``.
    """
    known, _ = conflicts.conflict_in(session, scope, conflict_id)
    lock_principal(session, known.principal_id)
    record = conflicts.get_conflict(session, conflict_id)
    if record.resolved_at is None:
        if resolution == "restored":
            _restore(session, record, allow_overlap=allow_overlap, now=now)
        conflicts.resolve_conflict(session, record.id, resolution=resolution, now=now)
    elif record.resolution != resolution:
        raise StateConflict("This conflict was resolved already.", code="conflict-resolved")
    return conflicts.conflict_in(session, scope, conflict_id)


def _restore(session: Session, record: ConflictRecord, *, allow_overlap: bool, now: int) -> None:
    object_id = record.object_id if record.dropped == "local" else None
    loaded = (
        load_member_by_id(session, record.principal_id, object_id, now=now) if object_id else None
    )
    if loaded is None or loaded.member is None:
        raise StateConflict(
            "Only a change made here can be restored, and only while its appointment stands; "
            "change the appointment, or make a new one.",
            code="conflict-not-restorable",
        )
    body = change_event(record.dropped_body, now=now)
    replace_body(session, loaded, body, allow_overlap=allow_overlap, now=now)
