"""What a run over an account writes beside its calendars: the listing, and how it ended.

The person is locked. Only who holds the lease may write an end; it is given back with it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.services.accounts.listing import apply_listing
from gateway.store.accounts import calendars, runs
from gateway.store.accounts.accounts import Connection
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.accounts.members import RETRY_DELAYS_S
from gateway.store.engine import Session, lock_principal
from gateway.upstream.discovery import ListedCalendar

IN_USE = ("linked", "conflict", "tracked")
"""Roles of calendars that are read."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What a good run over an account leaves behind; ``owner`` holds its lease."""

    connection: Connection
    owner: str
    changes: Mapping[str, object]


def is_quiet(calendar: UpstreamCalendar) -> bool:
    """Whether a calendar in use was found as it was read: its mirror is current."""
    in_use = calendar.role in IN_USE and calendar.kind == "calendar"
    return in_use and calendar.state == "ok" and calendar.missing_since is None


def take_listing(
    session: Session,
    end: RunEnd,
    listed: Iterable[ListedCalendar],
    is_due: Callable[[UpstreamCalendar], bool],
    *,
    now: int,
) -> tuple[list[UpstreamCalendar], list[UpstreamCalendar], bool]:
    """Take the listing in and tell what has to be pulled; if nothing, the run is over (one unit).

    Returns all calendars, those that are due, and whether the end was written.
    """
    lock_principal(session, end.connection.principal_id)
    known = apply_listing(session, end.connection.id, listed, now=now)
    due = [calendar for calendar in known if is_due(calendar)]
    ended = not due and _write_end(session, end, known, due, now=now)
    return known, due, ended


def end_run(
    session: Session,
    end: RunEnd,
    known: Iterable[UpstreamCalendar],
    pulled: Iterable[UpstreamCalendar],
    *,
    now: int,
) -> bool:
    """Write the good end of a run that pulled some of the known calendars.

    False when the lease was lost or a person paused the account: nothing is written then.
    """
    connection = end.connection
    lock_principal(session, connection.principal_id)
    changes = dict(end.changes)
    if calendars.has_unread(session, connection.id):
        changes["next_sync_at"] = 0.0  # roles were changed while the run was under way
    bring_forward(changes, calendars.next_retry(session, connection.id), now=now)
    return _write_end(session, RunEnd(connection, end.owner, changes), known, pulled, now=now)


def bring_forward(changes: dict[str, object], retry_at: float | None, *, now: float) -> None:
    """Let the account be due when the next unread member is, should that be sooner."""
    due_at = changes["next_sync_at"]
    if retry_at is not None and isinstance(due_at, float):
        changes["next_sync_at"] = min(due_at, max(retry_at, now + RETRY_DELAYS_S[0]))


def _write_end(
    session: Session,
    end: RunEnd,
    known: Iterable[UpstreamCalendar],
    pulled: Iterable[UpstreamCalendar],
    *,
    now: int,
) -> bool:
    changes = dict(end.changes)
    if runs.is_settled(session, end.connection.id):
        changes["verified_at"] = now
    else:
        read = {calendar.id for calendar in pulled}
        quiet = [one.id for one in known if one.id not in read and is_quiet(one)]
        if quiet:
            runs.touch_synced(session, quiet, now=now)
    return runs.note_run(session, end.connection, owner=end.owner, **changes)
