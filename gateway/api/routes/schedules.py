"""The part of the table of routes about slots and the other faces of free/busy."""

from gateway.api.freebusy import google
from gateway.api.freebusy import google_shapes as theirs
from gateway.api.freebusy import public as public_freebusy
from gateway.api.freebusy import public_shapes as public
from gateway.api.http.routing import Route
from gateway.api.schedules import explain, shapes, working_hours
from gateway.api.schedules import handlers as schedules
from gateway.api.wire import google_errors

_SCHEDULE = "/v1/schedules/{schedule}"
_TOKENS = "/v1/principals/{principal}/freebusy-tokens"
_OWN_HOURS = "/v1/principals/{principal}/working-hours"
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
        "GET",
        _SCHEDULE + "/explain",
        explain.explain_slot,
        "Why a slot is on offer or not",
        "Slots",
        query=shapes.SlotExplainQuery,
        answer=shapes.SlotExplanation,
        problems=("availability-unknown",),
    ),
    Route(
        "GET",
        _OWN_HOURS,
        working_hours.get_working_hours,
        "Show a person's working hours",
        "Slots",
        answer=shapes.PersonalHoursOut,
    ),
    Route(
        "PUT",
        _OWN_HOURS,
        working_hours.put_working_hours,
        "Set a person's working hours",
        "Slots",
        body=shapes.PersonalHours,
        answer=shapes.PersonalHoursOut,
        problems=_HOURS[:2],
    ),
    Route(
        "DELETE",
        _OWN_HOURS,
        working_hours.delete_working_hours,
        "Remove a person's working hours",
        "Slots",
        status=204,
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
        query=public.FreeBusyUrlQuery,
        answer=public.PublicFreeBusyOut,
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
        answer=public.FreeBusyTokenList,
    ),
    Route(
        "POST",
        _TOKENS,
        public_freebusy.create_freebusy_token,
        "Create a public free/busy address",
        "Free/busy",
        body=public.NewFreeBusyToken,
        answer=public.FreeBusyTokenWithPath,
        status=201,
        secret=True,
    ),
    Route(
        "POST",
        _TOKENS + "/{freebusy_token}/rotate",
        public_freebusy.rotate_freebusy_token,
        "Replace a public free/busy address",
        "Free/busy",
        answer=public.FreeBusyTokenWithPath,
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
            google_errors.PATHS + path,
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
