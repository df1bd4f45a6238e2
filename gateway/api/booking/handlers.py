"""Handlers: holds, appointments and Blocked Slots (R26-R30)."""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
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
from gateway.core.appointments.fields import FIELD_NAMES, AppointmentFields
from gateway.core.errors import (
    GatewayError,
    InvalidInput,
    NotFound,
    ReferenceNotFound,
    VerificationFailed,
)
from gateway.core.intervals import Interval
from gateway.services import agenda, appointments
from gateway.services.access.people import PersonRef, find_person
from gateway.services.agenda import AppointmentView
from gateway.services.appointments import Booked, BookingRequest
from gateway.store.accounts.accounts import find_connection
from gateway.store.booking.agenda import BlockedSlot, appointment_in, blocked_slot_in, hold_in
from gateway.store.booking.bookings import Hold
from gateway.store.objects.horizons import is_beyond
from gateway.store.outbox.overview import Scope
from gateway.sync.report import CalendarOutcome

LONGEST_S = 31 * 86_400
VERIFY_WITHIN_S = 8.0
Plain = Call[NoQuery, None]
T = TypeVar("T")


def _scope(call: AnyCall) -> Scope:
    return Scope(subaccount_id=call.bound)


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

    made = call.answer(
        _show_hold,
        appointments.hold_time,
        _scope(call),
        body.principal,
        span,
        ttl_s=body.ttl_s,
        now=call.now,
    )
    return await _pointing(made)


async def get_hold(call: Plain) -> Result:
    """Return a hold that still reserves its time."""
    held = await call.read(hold_in, _scope(call), call.path("hold"))
    if held.expires_at <= call.now:
        raise NotFound("There is no such hold, or it has expired.")
    return _show_hold(held)


async def delete_hold_early(call: Plain) -> Result:
    """Give a reserved time back before it expires."""
    await call.write(appointments.release_hold, _scope(call), call.path("hold"), now=call.now)
    return None


# --- appointments ---


def _show_appointment(view: AppointmentView) -> dict[str, Any]:
    row = view.appointment
    return {
        "id": row.id,
        "principal": row.principal_id,
        "start": render_instant(row.start),
        "end": render_instant(row.end),
        "status": row.status,
        "push": view.push,
        "push_reason": view.push_reason,
        **{name: getattr(row, name) for name in FIELD_NAMES},
        "created_at": render_instant(row.created_at),
        "updated_at": render_instant(row.updated_at),
    }


def _show_booked(verified: str, made: Booked) -> dict[str, Any]:
    push = "pending" if made.is_pushed else "none"
    return {
        **_show_appointment(AppointmentView(made.appointment, push, None)),
        "verified": verified,
        "verified_age_s": made.age_s,
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
        fields=AppointmentFields(**{name: getattr(body, name) for name in FIELD_NAMES}),
        hold_id=body.hold,
        allow_overlap=body.allow_overlap,
    )

    show = partial(_show_booked, "live" if live else "cached")
    made = call.answer(show, appointments.book, _scope(call), request, now=call.now)
    return await _pointing(made)


async def _verify(call: AnyCall, principal_id: str, verify: str | None) -> bool:
    """Ask iCloud first when the caller wants that (R28); tell whether the answer is live.

    Live: every calendar that blocks was read to its end, and none of its members is catching up.
    Raises :class:`VerificationFailed` with the calendars when it had to be and is not.
    """
    if verify is None:
        return False
    await _pointing(call.read(find_person, PersonRef(principal_id, call.bound)))
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
    query = call.query
    found = await call.read(
        agenda.list_appointments,
        _agenda_scope(call),
        window=_agenda_window(query),
        after=query.cursor,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    last = page[-1].appointment if len(found) > query.limit else None
    cursor = f"{last.start}-{last.id}" if last is not None else None
    body = {"appointments": [_show_appointment(one) for one in page], "next": cursor}
    return json_answer(body, headers=link_next(call.request, cursor))


def _agenda_scope(call: Call[AgendaQuery, None]) -> Scope:
    return Scope(subaccount_id=call.bound, principal_id=call.query.principal)


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
    return _show_appointment(
        await call.read(agenda.get_appointment, _scope(call), call.path("appointment"))
    )


async def update_appointment(call: Call[NoQuery, AppointmentChanges]) -> Result:
    """Move or rename an appointment; the change goes to iCloud by itself."""
    body = call.body
    given = body.model_fields_set
    if ("start" in given) != ("end" in given):
        missing = "/end" if "start" in given else "/start"
        raise InvalidInput("Give start and end together.", code="missing", pointer=missing)
    span = _span(call, body.start, body.end) if "start" in given else None
    if span is not None and is_beyond(span, call.now):
        row = await call.read(appointment_in, _scope(call), call.path("appointment"))
        await call.reach([row.principal_id], span)

    return await call.answer(
        _show_appointment,
        agenda.change_appointment,
        _scope(call),
        call.path("appointment"),
        span=span,
        title=body.title if "title" in given else None,
        allow_overlap=body.allow_overlap,
        now=call.now,
    )


async def delete_appointment(call: Plain) -> Result:
    """Cancel an appointment, in iCloud too; it stays listed as cancelled."""
    await call.write(appointments.cancel, _scope(call), call.path("appointment"), now=call.now)
    return None


async def push_appointment(call: Plain) -> Result:
    """Send an appointment to iCloud that was made while no calendar was linked (R7)."""
    return await call.answer(
        _show_appointment,
        agenda.push_appointment,
        _scope(call),
        call.path("appointment"),
        now=call.now,
    )


# --- Blocked Slots ---


def _show_slot(slot: BlockedSlot) -> dict[str, Any]:
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
    made = call.answer(_show_slot, appointments.block, _scope(call), request, now=call.now)
    return await _pointing(made)


async def list_blocked_slots(call: Call[AgendaQuery, None]) -> Result:
    """List the Blocked Slots made here, by start; mirrored events are not among them."""
    query = call.query
    found = await call.read(
        agenda.list_blocked_slots,
        _agenda_scope(call),
        window=_agenda_window(query),
        after=query.cursor,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    cursor = f"{page[-1].start}-{page[-1].id}" if len(found) > query.limit else None
    body = {"blocked_slots": [_show_slot(slot) for slot in page], "next": cursor}
    return json_answer(body, headers=link_next(call.request, cursor))


async def get_blocked_slot(call: Plain) -> Result:
    """Return one Blocked Slot made here."""
    return _show_slot(await call.read(blocked_slot_in, _scope(call), call.path("slot")))


async def delete_blocked_slot(call: Plain) -> Result:
    """Free a time that was blocked by hand."""
    await call.write(appointments.unblock, _scope(call), call.path("slot"), now=call.now)
    return None
