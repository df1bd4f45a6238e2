"""How a person's iCloud account stands, and what of it waits for somebody."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.services.access.people import PersonRef, find_person
from gateway.services.overlaps import overlaps_of
from gateway.store.access.principals import Principal
from gateway.store.accounts.accounts import Connection, find_connection
from gateway.store.accounts.calendars import UpstreamCalendar, list_calendars
from gateway.store.accounts.members import UnreadMember, unread_of_account
from gateway.store.engine import Session
from gateway.store.objects.collections import find_mirror, list_collections
from gateway.store.objects.objects import StoredObject, list_problems
from gateway.store.outbox import overview
from gateway.store.outbox.outbox import LedgerRow, OutboxMessage
from gateway.store.outbox.overview import Scope


@dataclass(frozen=True, slots=True)
class CalendarView:
    """A calendar of an account; ``mirror`` is the name of its collection, None without one."""

    calendar: UpstreamCalendar
    mirror: str | None


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account with its calendars, and members of those in use that cannot be read."""

    connection: Connection
    calendars: tuple[CalendarView, ...]
    unread: tuple[UnreadMember, ...]

    @property
    def in_use(self) -> list[UpstreamCalendar]:
        """The calendars that are used for anything."""
        return [one.calendar for one in self.calendars if one.calendar.role != "none"]

    @property
    def synced_at(self) -> int | None:
        """When the mirrored calendar that is furthest behind was found current."""
        times = [
            one.synced_at
            for one in self.in_use
            if one.role in ("linked", "conflict") and one.state != "gone"
        ]
        known = [time for time in times if time is not None]
        if len(known) < len(times):
            return None
        return min(known, default=self.connection.synced_at)


def known_account(session: Session, who: PersonRef) -> Connection:
    """Return a person's account, also a disconnected one.

    Raises :class:`NotFound`, with ``not-connected`` when there never was an account.
    """
    found = find_connection(session, find_person(session, who).id)
    if found is None:
        raise _not_connected()
    return found


def connected_account(session: Session, who: PersonRef) -> Connection:
    """Return a person's account; raises :class:`NotFound` ``not-connected`` after a disconnect."""
    found = known_account(session, who)
    if found.state == "disconnected":
        raise _not_connected()
    return found


def _not_connected() -> NotFound:
    return NotFound("This principal has no iCloud account connected.", code="not-connected")


def view_account(session: Session, who: PersonRef) -> AccountView:
    """Return how a person's account stands; raises what :func:`known_account` raises."""
    return view_connection(session, known_account(session, who))


def view_connection(session: Session, connection: Connection) -> AccountView:
    """Return how an account stands."""
    calendars = view_calendars_of(session, connection)
    has_unread = any(
        one.calendar.has_unread_members for one in calendars if one.calendar.role != "none"
    )
    unread = unread_of_account(session, connection.id) if has_unread else []
    return AccountView(connection, tuple(calendars), tuple(unread))


def view_calendars(session: Session, who: PersonRef) -> list[CalendarView]:
    """Return every calendar of a connected account (R5).

    Raises what :func:`connected_account` raises.
    """
    return view_calendars_of(session, connected_account(session, who))


def view_calendars_of(session: Session, connection: Connection) -> list[CalendarView]:
    """Return every calendar of an account with the name of its mirror."""
    mirrors = {
        collection.upstream_calendar_id: collection.name
        for collection in list_collections(session, connection.principal_id)
    }
    return [
        CalendarView(calendar, mirrors.get(calendar.id))
        for calendar in list_calendars(session, connection.id)
    ]


def view_calendar(session: Session, calendar: UpstreamCalendar) -> CalendarView:
    """Return one calendar with the name of its mirror."""
    mirror = find_mirror(session, calendar.id)
    return CalendarView(calendar, None if mirror is None else mirror.name)


# --- status ---


@dataclass(frozen=True, slots=True)
class Counts:
    """What there is in a scope; ``accounts`` and ``pushes`` by state."""

    principals: int
    accounts: Mapping[str, int]
    troubled: int
    oldest_sync: int | None
    pushes: Mapping[str, int]
    problems: int


def count_all(session: Session, scope: Scope) -> Counts:
    """Count everything in scope."""
    return Counts(
        principals=overview.count_principals(session, scope),
        accounts=overview.count_connections(session, scope),
        troubled=overview.count_troubled(session, scope),
        oldest_sync=overview.oldest_sync(session, scope),
        pushes=overview.count_messages(session, scope),
        problems=overview.count_problems(session, scope),
    )


@dataclass(frozen=True, slots=True)
class PersonView:
    """How one person stands: ``overlaps`` are appointment ids with the spans others lie on."""

    principal: Principal
    account: AccountView | None
    pushes: Mapping[str, int]
    problems: list[StoredObject]
    overlaps: list[tuple[str, Interval]]


def view_person(session: Session, who: PersonRef, *, now: int) -> PersonView:
    """Return account, pushes, problems and overlaps of a person; raises :class:`NotFound`."""
    principal = find_person(session, who)
    connection = find_connection(session, principal.id)
    return PersonView(
        principal=principal,
        account=None if connection is None else view_connection(session, connection),
        pushes=overview.count_messages(session, Scope(principal_id=principal.id)),
        problems=list_problems(session, principal.id),
        overlaps=overlaps_of(session, principal.id, now=now),
    )


def waiting_pushes(
    session: Session, scope: Scope, *, state: str | None = None, limit: int
) -> list[tuple[OutboxMessage, LedgerRow]]:
    """List what is pending or parked in scope, oldest first.

    Raises :class:`NotFound` when the scope names a person who is not there.
    """
    if scope.principal_id is not None:
        find_person(session, PersonRef(scope.principal_id, scope.subaccount_id))
    return overview.messages_in(session, scope, state=state, limit=limit)
