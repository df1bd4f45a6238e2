"""The booking part of the table of routes."""

from gateway.api import bookings
from gateway.api import schemas_booking as shapes
from gateway.api.routing import Route

_APPOINTMENT = "/v1/appointments/{appointment}"
_SLOT = "/v1/blocked-slots/{slot}"
_TAKEN = ("slot-taken", "availability-unknown")

BOOKING: tuple[Route, ...] = (
    Route(
        "POST",
        "/v1/holds",
        bookings.create_hold,
        "Reserve a time",
        "Booking",
        body=shapes.NewHold,
        answer=shapes.HoldOut,
        status=201,
        problems=_TAKEN,
    ),
    Route(
        "DELETE",
        "/v1/holds/{hold}",
        bookings.delete_hold_early,
        "Give a hold back",
        "Booking",
        status=204,
    ),
    Route(
        "GET",
        "/v1/appointments",
        bookings.list_appointments,
        "List appointments",
        "Booking",
        query=shapes.AgendaQuery,
        answer=shapes.AppointmentPage,
    ),
    Route(
        "POST",
        "/v1/appointments",
        bookings.create_appointment,
        "Make an appointment",
        "Booking",
        body=shapes.NewAppointment,
        answer=shapes.AppointmentBooked,
        status=201,
        upstream=True,
        problems=(*_TAKEN, "hold-expired", "hold-mismatch", "verification-failed"),
    ),
    Route(
        "GET",
        _APPOINTMENT,
        bookings.get_appointment,
        "Show an appointment",
        "Booking",
        answer=shapes.AppointmentOut,
    ),
    Route(
        "PATCH",
        _APPOINTMENT,
        bookings.update_appointment,
        "Move or rename an appointment",
        "Booking",
        body=shapes.AppointmentChanges,
        answer=shapes.AppointmentOut,
        problems=(*_TAKEN, "appointment-cancelled", "appointment-recurring"),
    ),
    Route(
        "DELETE",
        _APPOINTMENT,
        bookings.delete_appointment,
        "Cancel an appointment",
        "Booking",
        status=204,
    ),
    Route(
        "POST",
        _APPOINTMENT + "/push",
        bookings.push_appointment,
        "Send an appointment to iCloud",
        "Booking",
        answer=shapes.AppointmentOut,
        problems=("nothing-linked", "appointment-cancelled"),
    ),
    Route(
        "GET",
        "/v1/blocked-slots",
        bookings.list_blocked_slots,
        "List Blocked Slots made here",
        "Booking",
        query=shapes.AgendaQuery,
        answer=shapes.BlockedSlotPage,
    ),
    Route(
        "POST",
        "/v1/blocked-slots",
        bookings.create_blocked_slot,
        "Block a time",
        "Booking",
        body=shapes.NewBlockedSlot,
        answer=shapes.BlockedSlotOut,
        status=201,
    ),
    Route(
        "GET",
        _SLOT,
        bookings.get_blocked_slot,
        "Show a Blocked Slot",
        "Booking",
        answer=shapes.BlockedSlotOut,
    ),
    Route(
        "DELETE",
        _SLOT,
        bookings.delete_blocked_slot,
        "Free a blocked time",
        "Booking",
        status=204,
    ),
)
