"""The part of the table of routes about slots and the other faces of free/busy."""

from gateway.api import google, public_freebusy, schedules
from gateway.api import schemas_google as theirs
from gateway.api import schemas_schedules as shapes
from gateway.api.routing import Route

_SCHEDULE = "/v1/schedules/{schedule}"
_TOKENS = "/v1/principals/{principal}/freebusy-tokens"
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

FACES: tuple[Route, ...] = (
    Route(
        "GET",
        "/freebusy/{token}",
        public_freebusy.get_public_freebusy,
        "Freebusy Read URL",
        "Free/busy",
        None,
        query=shapes.FreeBusyUrlQuery,
        answer=shapes.PublicFreeBusyOut,
        media="text/calendar",
        conditional=True,
        problems=("period-and-end", "period-invalid", "window-too-wide", "time-naive"),
    ),
    Route(
        "GET",
        _TOKENS,
        public_freebusy.list_freebusy_tokens,
        "List public free/busy addresses",
        "Free/busy",
        answer=shapes.FreeBusyTokenList,
    ),
    Route(
        "POST",
        _TOKENS,
        public_freebusy.create_freebusy_token,
        "Create a public free/busy address",
        "Free/busy",
        body=shapes.NewFreeBusyToken,
        answer=shapes.FreeBusyTokenWithPath,
        status=201,
        secret=True,
    ),
    Route(
        "POST",
        _TOKENS + "/{freebusy_token}/rotate",
        public_freebusy.rotate_freebusy_token,
        "Replace a public free/busy address",
        "Free/busy",
        answer=shapes.FreeBusyTokenWithPath,
        secret=True,
    ),
    Route(
        "DELETE",
        _TOKENS + "/{freebusy_token}",
        public_freebusy.delete_freebusy_token,
        "Revoke a public free/busy address",
        "Free/busy",
        status=204,
    ),
    *(
        Route(
            "POST",
            google.PATHS + path,
            handler,
            "Google's freebusy.query",
            "Free/busy",
            "freebusy:read",
            query=theirs.GoogleQuery,
            body=theirs.GoogleRequest,
            answer=theirs.GoogleFreeBusy,
            problems=("window-too-wide", "time-naive"),
        )
        for path, handler in (
            ("freeBusy", google.query_google_freebusy),
            ("calendar/v3/freeBusy", google.query_google_freebusy_below_root),
        )
    ),
)
