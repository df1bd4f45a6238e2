"""Handlers: holds, appointments and Blocked Slots (R26-R30)."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from gateway.api.booking.shapes import (
    AgendaQuery,
    AppointmentChanges,
    NewAppointment,
    NewBlockedSlot,
    NewHold,
)
from gateway.api.freebusy.handlers import check_window
from gateway.api.http.routing import AnyCall, Call, Result, json_answer
from gateway.api.wire.paging import link_next
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant
from gateway.core.errors import (
    GatewayError,
    InvalidInput,
    NotFound,
    ReferenceNotFound,
    VerificationFailed,
)
from gateway.core.intervals import Interval
from gateway.services import appointments
from gateway.services.appointments import BookingRequest
from gateway.store.access.principals import get_principal
from gateway.store.accounts.accounts import find_connection
from gateway.store.booking import agenda
from gateway.store.booking.bookings import Appointment, Hold
from gateway.store.engine import Session
from gateway.store.objects.horizons import is_beyond
from gateway.store.outbox.overview import Scope
from gateway.sync.report import CalendarOutcome

LONGEST_S = 31 * 86_400
VERIFY_WITHIN_S = 8.0
Plain = Call[NoQuery, None]
T = TypeVar("T")


def _scope(call: AnyCall) -> Scope:
    return Scope(subaccount_id=call.key.subaccount_id)


async def _pointing(work: Awaitable[T]) -> T:
    """Await what finds nothing but the principal named in the body; raise with a pointer to it."""
    try:
        return await work
    except NotFound as error:
        raise ReferenceNotFound(error.detail, pointer="/principal") from None


def _span(call: AnyCall, start: int, end: int) -> Interval:
    return check_window(start, end, now=call.now, longest_s=LONGEST_S)


# --- holds ---


def _show_hold(hold: Hold) -> dict[str, Any]:
    return {
        "id": hold.id,
        "principal": hold.principal_id,
        "start": render_instant(hold.start),
        "end": render_instant(hold.end),
        "expires_at": render_instant(hold.expires_at),
    }


async def create_hold(call: Call[NoQuery, NewHold]) -> Result:
    """Reserve a free time for some minutes (R30)."""
    body = call.body
    span = _span(call, body.start, body.end)
    await call.reach([body.principal], span)

    def unit(session: Session) -> dict[str, Any]:
        return _show_hold(
            appointments.hold_time(
                session, _scope(call), body.principal, span, ttl_s=body.ttl_s, now=call.now
            )
        )

    return await _pointing(call.commit(unit))


async def get_hold(call: Plain) -> Result:
    """Return a hold that still reserves its time."""
    held = await call.read(agenda.hold_in, _scope(call), call.path("hold"))
    if held.expires_at <= call.now:
        raise NotFound("There is no such hold, or it has expired.")
    return _show_hold(held)


async def delete_hold_early(call: Plain) -> Result:
    """Give a reserved time back before it expires."""
    await call.write(appointments.release_hold, _scope(call), call.path("hold"), now=call.now)
    return None


# --- appointments ---


def _show_appointments(session: Session, rows: Sequence[Appointment]) -> list[dict[str, Any]]:
    states = agenda.push_states(session, [row.object_id for row in rows if row.object_id])
    return [
        _show_appointment(row, *states.get(row.object_id or "", ("none", None))) for row in rows
    ]


def _show_appointment(row: Appointment, push: str, reason: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "principal": row.principal_id,
        "start": render_instant(row.start),
        "end": render_instant(row.end),
        "status": row.status,
        "push": push,
        "push_reason": reason,
        "external_id": row.external_id,
        "created_at": render_instant(row.created_at),
        "updated_at": render_instant(row.updated_at),
    }


async def create_appointment(call: Call[NoQuery, NewAppointment]) -> Result:
    """Make an appointment on free time; it goes to the linked calendar by itself (R27)."""
    body = call.body
    span = _span(call, body.start, body.end)
    await call.reach([body.principal], span)
    live = await _verify(call, body.principal, body.verify)
    request = BookingRequest(
        principal_id=body.principal,
        span=span,
        title=body.title,
        description=body.description,
        location=body.location,
        external_id=body.external_id,
        hold_id=body.hold,
        allow_overlap=body.allow_overlap,
    )

    def unit(session: Session) -> dict[str, Any]:
        made = appointments.book(session, _scope(call), request, now=call.now)
        return {
            **_show_appointment(made.appointment, "pending" if made.is_pushed else "none", None),
            "verified": "live" if live else "cached",
            "verified_age_s": made.age_s,
        }

    return await _pointing(call.commit(unit))


async def _verify(call: AnyCall, principal_id: str, verify: str | None) -> bool:
    """Ask iCloud first when the caller wants that (R28); tell whether the answer is live.

    Live: every calendar that blocks was read to its end, and none of its members is catching up.
    Raises :class:`VerificationFailed` with the calendars when it had to be and is not.
    """
    if verify is None:
        return False
    subaccount_id = call.key.subaccount_id
    await _pointing(call.read(get_principal, principal_id, subaccount_id=subaccount_id))
    connection = await call.read(find_connection, principal_id)
    if connection is None or connection.state == "disconnected":
        return True  # everything there is to know is here
    failure: VerificationFailed | None = None
    try:
        async with asyncio.timeout(VERIFY_WITHIN_S):
            failure = _unread(await call.api.sync.verify(principal_id))
    except TimeoutError:
        failure = VerificationFailed(
            "iCloud could not be read in time; nothing was booked. Try again in a moment.",
            reason="upstream-unreachable",
        )
    except GatewayError as error:
        failure = VerificationFailed(
            f"iCloud could not be asked just now ({error.code}); nothing was booked.",
            reason=error.code,
        )
    if failure is not None and verify == "required":
        raise failure
    return failure is None


def _unread(outcomes: Sequence[CalendarOutcome]) -> VerificationFailed | None:
    unread = [one for one in outcomes if one.blocks and not one.is_current]
    if not unread:
        return None
    reason = unread[0].problem or unread[0].outcome
    return VerificationFailed(
        f"The calendar “{unread[0].name}” could not be read to its end ({reason}): "
        f"{unread[0].detail or 'iCloud gave no reason.'} Nothing was booked.",
        reason=reason,
        calendars=tuple((one.id, one.name, one.problem or one.outcome) for one in unread),
    )


async def list_appointments(call: Call[AgendaQuery, None]) -> Result:
    """List appointments by start, cancelled ones included."""
    query, scope, window = call.query, _agenda_scope(call), _agenda_window(call.query)

    def unit(session: Session) -> tuple[list[dict[str, Any]], str | None]:
        if query.principal is not None:
            get_principal(session, query.principal, subaccount_id=call.key.subaccount_id)
        found = agenda.appointments_in(
            session, scope, window=window, after=query.cursor, limit=query.limit + 1
        )
        page = found[: query.limit]
        more = f"{page[-1].start}-{page[-1].id}" if len(found) > query.limit else None
        return _show_appointments(session, page), more

    shown, cursor = await call.read(unit)
    body = {"appointments": shown, "next": cursor}
    return json_answer(body, headers=link_next(call.request, cursor))


def _agenda_scope(call: Call[AgendaQuery, None]) -> Scope:
    return Scope(subaccount_id=call.key.subaccount_id, principal_id=call.query.principal)


def _agenda_window(query: AgendaQuery) -> Interval | None:
    """Return the window asked for; either end may be left open."""
    if query.start is None and query.end is None:
        return None
    start, end = query.start or 0, query.end if query.end is not None else 2**40
    if end <= start:
        raise InvalidInput("end must be after start.", code="window-reversed", pointer="/end")
    return (start, end)


async def get_appointment(call: Plain) -> Result:
    """Return one appointment."""

    def unit(session: Session) -> dict[str, Any]:
        row = agenda.appointment_in(session, _scope(call), call.path("appointment"))
        return _show_appointments(session, [row])[0]

    return await call.read(unit)


async def update_appointment(call: Call[NoQuery, AppointmentChanges]) -> Result:
    """Move or rename an appointment; the change goes to iCloud by itself."""
    body = call.body
    given = body.model_fields_set
    if ("start" in given) != ("end" in given):
        missing = "/end" if "start" in given else "/start"
        raise InvalidInput("Give start and end together.", code="missing", pointer=missing)
    span = _span(call, body.start, body.end) if "start" in given else None
    if span is not None and is_beyond(span, call.now):
        row = await call.read(agenda.appointment_in, _scope(call), call.path("appointment"))
        await call.reach([row.principal_id], span)

    def unit(session: Session) -> dict[str, Any]:
        changed = appointments.change(
            session,
            _scope(call),
            call.path("appointment"),
            span=span,
            title=body.title if "title" in given else None,
            allow_overlap=body.allow_overlap,
            now=call.now,
        )
        return _show_appointments(session, [changed])[0]

    return await call.commit(unit)


async def delete_appointment(call: Plain) -> Result:
    """Cancel an appointment, in iCloud too; it stays listed as cancelled."""
    await call.write(appointments.cancel, _scope(call), call.path("appointment"), now=call.now)
    return None


async def push_appointment(call: Plain) -> Result:
    """Send an appointment to iCloud that was made while no calendar was linked (R7)."""

    def unit(session: Session) -> dict[str, Any]:
        pushed = appointments.push(session, _scope(call), call.path("appointment"), now=call.now)
        return _show_appointments(session, [pushed])[0]

    return await call.commit(unit)


# --- Blocked Slots ---


def _show_slot(slot: agenda.BlockedSlot) -> dict[str, Any]:
    return {
        "id": slot.id,
        "principal": slot.principal_id,
        "start": render_instant(slot.start),
        "end": None if slot.end is None else render_instant(slot.end),
        "recurring": slot.recurring,
        "created_at": render_instant(slot.created_at),
    }


async def create_blocked_slot(call: Call[NoQuery, NewBlockedSlot]) -> Result:
    """Block a time by hand; it never goes to iCloud (R14)."""
    body = call.body
    span = _span(call, body.start, body.end)

    request = BookingRequest(body.principal, span, body.title)

    def unit(session: Session) -> dict[str, Any]:
        return _show_slot(appointments.block(session, _scope(call), request, now=call.now))

    return await _pointing(call.commit(unit))


async def list_blocked_slots(call: Call[AgendaQuery, None]) -> Result:
    """List the Blocked Slots made here, by start; mirrored events are not among them."""
    query, scope, window = call.query, _agenda_scope(call), _agenda_window(call.query)

    def unit(session: Session) -> list[agenda.BlockedSlot]:
        if query.principal is not None:
            get_principal(session, query.principal, subaccount_id=call.key.subaccount_id)
        return agenda.blocked_slots_in(
            session, scope, window=window, after=query.cursor, limit=query.limit + 1
        )

    found = await call.read(unit)
    page = found[: query.limit]
    cursor = f"{page[-1].start}-{page[-1].id}" if len(found) > query.limit else None
    body = {"blocked_slots": [_show_slot(slot) for slot in page], "next": cursor}
    return json_answer(body, headers=link_next(call.request, cursor))


async def get_blocked_slot(call: Plain) -> Result:
    """Return one Blocked Slot made here."""
    return _show_slot(await call.read(agenda.blocked_slot_in, _scope(call), call.path("slot")))


async def delete_blocked_slot(call: Plain) -> Result:
    """Free a time that was blocked by hand."""
    await call.write(appointments.unblock, _scope(call), call.path("slot"), now=call.now)
    return None
