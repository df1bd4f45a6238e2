"""The part of the table of routes about slots and the other faces of free/busy."""

from gateway.api import schedules
from gateway.api import schemas_schedules as shapes
from gateway.api.routing import Route

_SCHEDULE = "/v1/schedules/{schedule}"
_HOURS = ("hours-overlap", "local-time-invalid", "minutes-invalid", "require-too-many")

SCHEDULES: tuple[Route, ...] = (
    Route(
        "GET",
        "/v1/schedules",
        schedules.list_schedules,
        "List schedules",
        "Slots",
        query=shapes.ScheduleQuery,
        answer=shapes.SchedulePage,
    ),
    Route(
        "POST",
        "/v1/schedules",
        schedules.create_schedule,
        "Create a schedule",
        "Slots",
        body=shapes.ScheduleFields,
        answer=shapes.ScheduleOut,
        status=201,
        problems=("principal-required", "subaccounts-mixed", *_HOURS),
    ),
    Route(
        "GET",
        _SCHEDULE,
        schedules.get_schedule,
        "Show a schedule",
        "Slots",
        answer=shapes.ScheduleOut,
    ),
    Route(
        "PUT",
        _SCHEDULE,
        schedules.replace_schedule,
        "Replace a schedule",
        "Slots",
        body=shapes.ScheduleFields,
        answer=shapes.ScheduleOut,
        problems=("principal-required", *_HOURS),
    ),
    Route("DELETE", _SCHEDULE, schedules.delete_schedule, "Remove a schedule", "Slots", status=204),
    Route(
        "GET",
        _SCHEDULE + "/slots",
        schedules.list_slots,
        "Slots of a schedule",
        "Slots",
        "freebusy:read",
        query=shapes.SlotQuery,
        answer=shapes.SlotsOut,
        problems=("availability-unknown", "window-too-wide"),
    ),
    Route(
        "POST",
        "/v1/availability",
        schedules.find_availability,
        "Slots of several people",
        "Slots",
        "freebusy:read",
        body=shapes.AvailabilityRequest,
        answer=shapes.SlotsOut,
        problems=("availability-unknown", "window-too-wide", *_HOURS),
    ),
)
