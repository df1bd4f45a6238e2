"""Handlers: the iCloud account of a principal, its calendars and what they are used for."""

from collections.abc import Callable

from gateway.api.accounts.people import find_own, home_path
from gateway.api.accounts.shapes import (
    AccountProblem,
    CalendarList,
    CalendarOptions,
    CalendarOut,
    CalendarResult,
    CalendarRoleChanges,
    CalendarRoles,
    ConnectionOptions,
    ConnectionOut,
    NewConnection,
    NewCredential,
    SyncOut,
)
from gateway.api.http.routing import AnyCall, Call, Result
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant, render_known
from gateway.core.errors import NotFound
from gateway.core.subscriptions import refuse_subscription_address
from gateway.services import roles
from gateway.store.accounts.accounts import Connection, find_connection, update_connection
from gateway.store.accounts.calendars import UpstreamCalendar, list_calendars, member_detail
from gateway.store.accounts.members import unread_of_account
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import find_mirror, list_collections
from gateway.store.objects.objects import bump_generation

Plain = Call[NoQuery, None]


# --- rendering ---


def show_calendar(calendar: UpstreamCalendar, mirror: str | None) -> CalendarOut:
    """Shape one calendar; ``mirror`` is the CalDAV path of its mirror."""
    refusal = roles.refusal_of(calendar, needs_write=True)
    return CalendarOut(
        id=calendar.id,
        name=calendar.name,
        color=calendar.color,
        writable=calendar.writable,
        linkable=refusal is None,
        conflictable=roles.refusal_of(calendar, needs_write=False) is None,
        refusal=refusal,
        refusal_detail=None if refusal is None else roles.REFUSALS[refusal],
        role=calendar.role,
        blocks=calendar.blocks,
        detail=calendar.detail,
        all_day=calendar.all_day,
        state=calendar.state,
        problem=calendar.told_problem,
        problem_detail=calendar.problem_detail or member_detail(calendar),
        catching_up=calendar.catching_up,
        set_aside=calendar.set_aside,
        synced_at=render_known(calendar.synced_at),
        progress_done=calendar.progress_done,
        progress_total=calendar.progress_total,
        caldav=mirror,
    )


def show_calendars(session: Session, connection: Connection) -> list[CalendarOut]:
    """Shape every calendar of an account with the path of its mirror."""
    mirrors = {
        collection.upstream_calendar_id: home_path(connection.principal_id, collection.name)
        for collection in list_collections(session, connection.principal_id)
    }
    return [
        show_calendar(calendar, mirrors.get(calendar.id))
        for calendar in list_calendars(session, connection.id)
    ]


def show_problems(session: Session, connection: Connection) -> list[AccountProblem]:
    """Shape what is wrong with the calendars in use of an account, and with members of them."""
    known = [one for one in list_calendars(session, connection.id) if one.role != "none"]
    problems = [
        AccountProblem(
            calendar=one.id, member=None, code=one.problem, detail=one.problem_detail, since=None
        )
        for one in known
        if one.problem is not None
    ]
    if any(one.has_unread_members for one in known):
        problems += [
            AccountProblem(
                calendar=row.upstream_calendar_id,
                member=row.name,
                code=row.problem,
                detail=row.detail,
                since=render_instant(row.first_seen_at),
            )
            for row in unread_of_account(session, connection.id)
        ]
    return problems


def _synced_at(session: Session, connection: Connection) -> int | None:
    """Return when the calendar in use that is furthest behind was found current."""
    times = [
        one.synced_at
        for one in list_calendars(session, connection.id)
        if one.role in ("linked", "conflict") and one.state != "gone"
    ]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return None
    return min(known, default=connection.synced_at)


def show_connection(session: Session, connection: Connection) -> ConnectionOut:
    """Shape an account with its calendars."""
    return ConnectionOut(
        id=connection.id,
        state=connection.state,
        problem=connection.problem,
        problem_detail=connection.problem_detail,
        trust_for_s=connection.trust_for_s,
        created_at=render_instant(connection.created_at),
        polled_at=render_known(connection.polled_at),
        synced_at=render_known(_synced_at(session, connection)),
        problems=show_problems(session, connection),
        calendars=show_calendars(session, connection),
    )


# --- looking up ---


def _own_connection(session: Session, call: AnyCall) -> Connection:
    """Return the principal's connection, also a disconnected one."""
    found = find_connection(session, find_own(session, call).id)
    if found is None:
        raise NotFound("This principal has no iCloud account connected.", code="not-connected")
    return found


def _live_connection(session: Session, call: AnyCall) -> Connection:
    """Return the principal's connection unless it was disconnected."""
    found = _own_connection(session, call)
    if found.state == "disconnected":
        raise NotFound("This principal has no iCloud account connected.", code="not-connected")
    return found


def _shown(session: Session, call: AnyCall) -> ConnectionOut:
    return show_connection(session, _own_connection(session, call))


# --- handlers ---


async def get_connection(call: Plain) -> Result:
    """Return state and calendars of the account."""
    return await call.read(_shown, call)


async def create_connection(call: Call[NoQuery, NewConnection]) -> Result:
    """Check the credential live and connect the account (R1, R2)."""
    refuse_subscription_address(call.body.email)
    principal = await call.read(find_own, call)
    await call.api.sync.connect(principal.id, call.body.email, call.body.app_password)
    return await call.read(_shown, call)


async def replace_credential(call: Call[NoQuery, NewCredential]) -> Result:
    """Put a new app-specific password in the place of the old one (R3)."""
    if call.body.email is not None:
        refuse_subscription_address(call.body.email)
    found = await call.read(_live_connection, call)
    await call.api.sync.replace_credential(
        found.principal_id, call.body.app_password, email=call.body.email
    )
    return await call.read(_shown, call)


async def update_connection_options(call: Call[NoQuery, ConnectionOptions]) -> Result:
    """Change how long stale data of the account is believed (R25)."""

    def unit(session: Session) -> ConnectionOut:
        found = _live_connection(session, call)
        lock_principal(session, found.principal_id)
        update_connection(session, found.id, trust_for_s=call.body.trust_for_s)
        bump_generation(session, found.principal_id)
        return _shown(session, call)

    return await call.commit(unit)


async def test_connection(call: Plain) -> Result:
    """Ask iCloud once whether the stored password works."""
    found = await call.read(_live_connection, call)
    await call.api.sync.test(found.principal_id)
    return await call.read(_shown, call)


async def sync_connection(call: Plain) -> Result:
    """Read the account now, then send what waits; says what happened to each calendar in use."""
    found = await call.read(_live_connection, call)
    outcomes = await call.api.sync.sync_now(found.principal_id)
    shown = await call.read(_shown, call)
    return SyncOut(
        **{name: getattr(shown, name) for name in ConnectionOut.model_fields},
        complete=all(one.is_current for one in outcomes),
        results=[
            CalendarResult(
                calendar=one.id,
                name=one.name,
                blocks=one.blocks,
                outcome=one.outcome,
                changed=one.changed,
                removed=one.removed,
                problem=one.problem,
                detail=one.detail,
            )
            for one in outcomes
        ],
    )


async def pause_connection(call: Plain) -> Result:
    """Stop polling and pushing until resumed."""
    found = await call.read(_live_connection, call)
    await call.api.sync.pause(found.principal_id)
    return await call.read(_shown, call)


async def resume_connection(call: Plain) -> Result:
    """Poll and push again, at once."""
    found = await call.read(_live_connection, call)
    await call.api.sync.resume(found.principal_id)
    return await call.read(_shown, call)


async def delete_connection(call: Plain) -> Result:
    """Disconnect: erase secret and mirrored data, keep appointments and Blocked Slots (R3)."""
    found = await call.read(_live_connection, call)
    await call.api.sync.disconnect(found.principal_id)
    return None


async def list_upstream_calendars(call: Plain) -> Result:
    """List every calendar of the account with what it may be used for (R5)."""

    def unit(session: Session) -> CalendarList:
        return CalendarList(calendars=show_calendars(session, _live_connection(session, call)))

    return await call.read(unit)


async def update_calendar(call: Call[NoQuery, CalendarOptions]) -> Result:
    """Change what is kept of a calendar's events, and how all-day ones count."""

    def unit(session: Session) -> CalendarOut:
        principal = find_own(session, call)
        options = call.body.model_dump(exclude_unset=True)
        calendar = roles.set_calendar_options(
            session, principal.id, call.path("calendar"), **options
        )
        mirror = find_mirror(session, calendar.id)
        path = None if mirror is None else home_path(principal.id, mirror.name)
        return show_calendar(calendar, path)

    changed = await call.commit(unit)
    await call.api.reach.renew(call.path("principal"), now=call.now)
    return changed


async def put_calendar_roles(call: Call[NoQuery, CalendarRoles]) -> Result:
    """Choose the linked calendar and the conflict calendars (R6)."""
    body = call.body

    def unit(session: Session) -> CalendarList:
        principal = find_own(session, call)
        roles.set_calendar_roles(
            session,
            principal.id,
            linked=body.linked,
            conflicts=body.conflicts,
            linked_blocks=body.linked_blocks,
            all_day=body.all_day,
            now=call.now,
        )
        return CalendarList(calendars=show_calendars(session, _live_connection(session, call)))

    return await _choose(call, unit, renew=bool(body.all_day))


async def patch_calendar_roles(call: Call[NoQuery, CalendarRoleChanges]) -> Result:
    """Change the named parts of the choice and leave the others (R46)."""
    parts = call.body.model_dump(exclude_unset=True)

    def unit(session: Session) -> CalendarList:
        principal = find_own(session, call)
        roles.change_calendar_roles(session, principal.id, **parts, now=call.now)
        return CalendarList(calendars=show_calendars(session, _live_connection(session, call)))

    return await _choose(call, unit, renew="all_day" in parts)


async def _choose(call: AnyCall, unit: Callable[[Session], CalendarList], *, renew: bool) -> Result:
    """Commit a choice; where all-day events count otherwise now, have them expanded at once."""
    chosen = await call.commit(unit)
    if renew:
        await call.api.reach.renew(call.path("principal"), now=call.now)
    return chosen
