"""Writing what was read of a calendar: batches, how far a pull is, its end, why it failed.

One batch is one unit; the new sync token goes in with the last, so a crash anywhere repeats work
and never loses it (R11). Each function locks the person, and the mirror where it writes into it.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from gateway.core.errors import GatewayError
from gateway.core.intervals import Interval
from gateway.expansion.prepare import PreparedMember
from gateway.observe import logger
from gateway.store.access.principals import get_principal
from gateway.store.accounts import accounts, calendars, members
from gateway.store.accounts.accounts import Keyring
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.accounts.members import Unread
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import collections, objects
from gateway.store.objects.collections import Collection
from gateway.store.objects.objects import PreparedObject

FIRST_STATES = ("never", "syncing")
"""States of a calendar that was not read to its end yet."""

INCOMPLETE = "incomplete-answer"

_log = logger("sync")


class Superseded(GatewayError):
    """The calendar's role or rules changed while it was pulled; the next run sees to it."""

    default_code = "superseded"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a pull reads a calendar by: whose it is, which mirror it goes to, and in which zone.

    ``mirror_id`` None: of a calendar that is only tracked nothing is mirrored. What was prepared
    under other terms than those that hold must not be written.
    """

    principal_id: str
    calendar: UpstreamCalendar
    mirror_id: str | None
    time_zone: str


@dataclass
class Pulled:
    """What one pull found out about members: read or proved gone, and unread ones (R9)."""

    read: set[str] = field(default_factory=set)
    unread: dict[str, Unread] = field(default_factory=dict)
    complete: bool = True


def note_start(session: Session, principal_id: str, calendar: UpstreamCalendar, total: int) -> None:
    """Show a first sync as such, with how many objects there are to read."""
    if calendar.state not in FIRST_STATES:
        return
    lock_principal(session, principal_id)
    calendars.update_calendar(
        session,
        calendar.id,
        state="syncing",
        progress_done=0,
        progress_total=total,
        reached_from=None,
        reached_until=None,
    )
    if calendar.state == "never":
        objects.bump_generation(session, principal_id)


def note_reached(session: Session, principal_id: str, calendar_id: str, span: Interval) -> None:
    """Say that the near future is mirrored; the rest stays unknown until the pull ends (R25)."""
    lock_principal(session, principal_id)
    calendars.update_calendar(session, calendar_id, reached_from=span[0], reached_until=span[1])
    objects.bump_generation(session, principal_id)


def write_batch(
    session: Session,
    keyring: Keyring,
    terms: Terms,
    ready: Sequence[PreparedMember],
    gone: Sequence[str],
    *,
    now: int,
) -> int:
    """Write objects as prepared and delete those proved gone; returns how many these were.

    What cannot be served is kept encrypted. Raises :class:`Superseded`.
    """
    mirror = _lock_mirror(session, terms)
    assert mirror is not None
    objects.save_objects(session, mirror, [_prepared(item) for item in ready], now=now)
    accounts.erase_secrets(session, [f"{mirror.id}/{item.name}" for item in ready])
    for item in ready:
        if item.raw is not None:
            owner_id = f"{mirror.id}/{item.name}"
            accounts.store_secret(session, keyring, owner_id, "raw", item.raw)
    calendars.add_progress(session, terms.calendar.id, len(ready))
    return _remove(session, mirror, gone, now=now)


def end_pull(
    session: Session,
    terms: Terms,
    gone: Sequence[str],
    pulled: Pulled,
    *,
    held_unread: AbstractSet[str],
    token: str | None,
    now: int,
) -> tuple[int, UpstreamCalendar]:
    """Delete what is proved gone and, when nothing is left to ask for, store the token (R11).

    ``held_unread`` could not be read before. Returns how many were deleted, and the calendar as it
    stands. Raises :class:`Superseded`.
    """
    calendar, mirror = terms.calendar, _lock_mirror(session, terms)
    removed = _remove(session, mirror, gone, now=now) if mirror is not None else 0
    if pulled.unread or held_unread:
        _settle(session, calendar, mirror, pulled, now=now)
    after = calendars.get_calendar(session, calendar.id)
    if pulled.complete and _is_readable(calendar, after, pulled):
        if calendar.state != "ok" or calendar.problem is not None:
            objects.bump_generation(session, terms.principal_id)
        calendars.update_calendar(
            session,
            calendar.id,
            state="ok",
            problem=None,
            problem_detail=None,
            ctag=calendar.listed_ctag,
            sync_token=token or calendar.listed_token,
            synced_at=now,
            reached_from=None,
            reached_until=None,
        )
    elif not pulled.complete:
        calendars.update_calendar(
            session,
            calendar.id,
            problem=INCOMPLETE,
            problem_detail="iCloud listed objects it did not hand out; asking again.",
        )
    return removed, calendars.get_calendar(session, calendar.id)


def note_pull_failed(
    session: Session, principal_id: str, calendar: UpstreamCalendar, error: GatewayError
) -> None:
    """Say why a calendar could not be read; what is known or reached of it stands (R11)."""
    state = {"state": "failed"} if calendar.synced_at is not None else {}
    told: Mapping[str, str] = {**state, "problem": error.code, "problem_detail": error.detail}
    calendars.update_calendar(session, calendar.id, **told)
    if (told.get("state", calendar.state), error.code) != (calendar.state, calendar.problem):
        objects.bump_generation(session, principal_id)


def note_superseded(session: Session, calendar_id: str) -> None:
    """Have a calendar listed in full by the next run.

    The listing is noted at the end of the run: without this it would say that all is read.
    """
    calendars.relist_calendar(session, calendar_id)


# --- inside a unit ---


def _lock_mirror(session: Session, terms: Terms) -> Collection | None:
    """Lock person and mirror; raises :class:`Superseded` when role or rules changed meanwhile."""
    calendar, mirror_id = terms.calendar, terms.mirror_id
    lock_principal(session, terms.principal_id)
    mirror = collections.find_mirror(session, calendar.id)
    current = calendars.calendars_by_id(session, [calendar.id]).get(calendar.id)
    person = get_principal(session, terms.principal_id)
    if (
        current is None
        or (mirror.id if mirror else None) != mirror_id
        or current.policy != calendar.policy
        or person.time_zone != terms.time_zone
    ):
        raise Superseded("The use of this calendar, or its owner's zone, changed meanwhile.")
    return collections.lock_collection(session, mirror_id) if mirror_id else None


def _remove(session: Session, mirror: Collection, names: Iterable[str], *, now: int) -> int:
    names = list(names)
    accounts.erase_secrets(session, [f"{mirror.id}/{name}" for name in names])
    return objects.delete_objects(session, mirror, names, now=now)


def _prepared(item: PreparedMember) -> PreparedObject:
    return PreparedObject(
        name=item.name,
        uid=item.uid,
        kind="mirrored",
        component=item.component,
        etag=item.etag,
        body=item.body,
        expansion=item.expansion,
        served=item.served,
        upstream_name=item.upstream_name,
        upstream_etag=item.upstream_etag,
    )


def _settle(
    session: Session,
    calendar: UpstreamCalendar,
    mirror: Collection | None,
    pulled: Pulled,
    *,
    now: int,
) -> None:
    """Keep the rows of members that could not be read, and say when some are set aside (R9)."""
    aside = members.settle_members(
        session,
        calendar.id,
        read=pulled.read,
        unread=pulled.unread,
        held=objects.count_mirrored(session, mirror.id) if mirror else 0,
        now=now,
    )
    if aside:
        _log.warning("members set aside", calendar=calendar.id, members=len(aside))


def _is_readable(calendar: UpstreamCalendar, after: UpstreamCalendar, pulled: Pulled) -> bool:
    """Whether a first sync read more than it could not: else its time stays unknown (R25).

    A calendar just written is listed at once and read late; its few bad members, if that is what
    they are, are set aside after a quarter of an hour.
    """
    read = len(pulled.read - pulled.unread.keys())
    return calendar.state not in FIRST_STATES or after.catching_up <= read
