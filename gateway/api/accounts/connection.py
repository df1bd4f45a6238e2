"""Handlers: the iCloud account of a principal, its calendars and what they are used for."""

from functools import partial

from gateway.api.accounts.people import home_path
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
from gateway.api.http.routing import Call, Result
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant, render_known
from gateway.core.subscriptions import refuse_subscription_address
from gateway.services.access.people import find_person
from gateway.services.accounts import options, roles, views
from gateway.services.accounts.views import AccountView, CalendarView
from gateway.store.accounts.calendars import member_detail

Plain = Call[NoQuery, None]


# --- rendering ---


def show_calendar(view: CalendarView, principal_id: str) -> CalendarOut:
    """Shape one calendar with the CalDAV path of its mirror."""
    calendar, mirror = view.calendar, view.mirror
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
        caldav=None if mirror is None else home_path(principal_id, mirror),
    )


def show_problems(account: AccountView) -> list[AccountProblem]:
    """Shape what is wrong with the calendars in use of an account, and with members of them."""
    problems = [
        AccountProblem(
            calendar=one.id, member=None, code=one.problem, detail=one.problem_detail, since=None
        )
        for one in account.in_use
        if one.problem is not None
    ]
    return problems + [
        AccountProblem(
            calendar=row.upstream_calendar_id,
            member=row.name,
            code=row.problem,
            detail=row.detail,
            since=render_instant(row.first_seen_at),
        )
        for row in account.unread
    ]


def show_account(account: AccountView) -> ConnectionOut:
    """Shape an account with its calendars."""
    connection = account.connection
    return ConnectionOut(
        id=connection.id,
        state=connection.state,
        problem=connection.problem,
        problem_detail=connection.problem_detail,
        trust_for_s=connection.trust_for_s,
        created_at=render_instant(connection.created_at),
        polled_at=render_known(connection.polled_at),
        synced_at=render_known(account.synced_at),
        problems=show_problems(account),
        calendars=[show_calendar(one, connection.principal_id) for one in account.calendars],
    )


# --- handlers ---


async def get_connection(call: Plain) -> Result:
    """Return state and calendars of the account."""
    return show_account(await call.read(views.view_account, call.person))


async def create_connection(call: Call[NoQuery, NewConnection]) -> Result:
    """Check the credential live and connect the account (R1, R2)."""
    refuse_subscription_address(call.body.email)
    principal = await call.read(find_person, call.person)
    await call.api.sync.connect(principal.id, call.body.email, call.body.app_password)
    return show_account(await call.read(views.view_account, call.person))


async def replace_credential(call: Call[NoQuery, NewCredential]) -> Result:
    """Put a new app-specific password in the place of the old one (R3)."""
    if call.body.email is not None:
        refuse_subscription_address(call.body.email)
    found = await call.read(views.connected_account, call.person)
    await call.api.sync.replace_credential(
        found.principal_id, call.body.app_password, email=call.body.email
    )
    return show_account(await call.read(views.view_account, call.person))


async def update_connection_options(call: Call[NoQuery, ConnectionOptions]) -> Result:
    """Change how long stale data of the account is believed (R25)."""
    return await call.answer(
        show_account, options.change_trust, call.person, trust_for_s=call.body.trust_for_s
    )


async def test_connection(call: Plain) -> Result:
    """Ask iCloud once whether the stored password works."""
    found = await call.read(views.connected_account, call.person)
    await call.api.sync.test(found.principal_id)
    return show_account(await call.read(views.view_account, call.person))


async def sync_connection(call: Plain) -> Result:
    """Read the account now, then send what waits; says what happened to each calendar in use."""
    found = await call.read(views.connected_account, call.person)
    outcomes = await call.api.sync.sync_now(found.principal_id)
    shown = show_account(await call.read(views.view_account, call.person))
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
    found = await call.read(views.connected_account, call.person)
    await call.api.sync.pause(found.principal_id)
    return show_account(await call.read(views.view_account, call.person))


async def resume_connection(call: Plain) -> Result:
    """Poll and push again, at once."""
    found = await call.read(views.connected_account, call.person)
    await call.api.sync.resume(found.principal_id)
    return show_account(await call.read(views.view_account, call.person))


async def delete_connection(call: Plain) -> Result:
    """Disconnect: erase secret and mirrored data, keep appointments and Blocked Slots (R3)."""
    found = await call.read(views.connected_account, call.person)
    await call.api.sync.disconnect(found.principal_id)
    return None


async def list_upstream_calendars(call: Plain) -> Result:
    """List every calendar of the account with what it may be used for (R5)."""
    return _show_list(call.path("principal"), await call.read(views.view_calendars, call.person))


def _show_list(principal_id: str, calendars: list[CalendarView]) -> CalendarList:
    return CalendarList(calendars=[show_calendar(one, principal_id) for one in calendars])


async def update_calendar(call: Call[NoQuery, CalendarOptions]) -> Result:
    """Change what is kept of a calendar's events, and how all-day ones count."""
    principal_id = call.path("principal")
    changed = await call.answer(
        lambda calendar: show_calendar(calendar, principal_id),
        options.change_calendar,
        call.person,
        call.path("calendar"),
        call.body.model_dump(exclude_unset=True),
    )
    await call.api.beyond_window.renew(principal_id, now=call.now)
    return changed


async def put_calendar_roles(call: Call[NoQuery, CalendarRoles]) -> Result:
    """Choose the linked calendar and the conflict calendars (R6)."""
    principal_id, body = call.path("principal"), call.body
    chosen = await call.answer(
        partial(_show_list, principal_id),
        options.choose_calendars,
        call.person,
        linked=body.linked,
        conflicts=body.conflicts,
        linked_blocks=body.linked_blocks,
        all_day=body.all_day,
        now=call.now,
    )
    if body.all_day:  # they count otherwise now, and are expanded at once
        await call.api.beyond_window.renew(principal_id, now=call.now)
    return chosen


async def patch_calendar_roles(call: Call[NoQuery, CalendarRoleChanges]) -> Result:
    """Change the named parts of the choice and leave the others (R46)."""
    principal_id, changes = call.path("principal"), call.body.model_dump(exclude_unset=True)
    chosen = await call.answer(
        partial(_show_list, principal_id), options.change_choice, call.person, changes, now=call.now
    )
    if "all_day" in changes:
        await call.api.beyond_window.renew(principal_id, now=call.now)
    return chosen
