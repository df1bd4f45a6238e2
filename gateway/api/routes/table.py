"""The table of routes."""

from gateway.api.accounts import connection, people
from gateway.api.accounts import shapes as calendars
from gateway.api.accounts import subaccounts as admin
from gateway.api.freebusy import handlers as freebusy
from gateway.api.freebusy import shapes as times
from gateway.api.http.routing import Route
from gateway.api.operations import status, system
from gateway.api.routes.booking import BOOKING
from gateway.api.routes.conflicts import CONFLICTS
from gateway.api.routes.schedules import FACES, SCHEDULES
from gateway.api.schedules import explain
from gateway.api.wire import shapes as schemas

_SUBACCOUNT = "/v1/subaccounts/{subaccount}"
_PRINCIPAL = "/v1/principals/{principal}"
_LOGIN = _PRINCIPAL + "/logins/{login}"
_CONNECTION = _PRINCIPAL + "/connection"
_REFUSED = (
    "credential-not-app-specific",
    "credential-rejected",
    "not-icloud",
    "upstream-unreachable",
    "upstream-throttled",
)

FREE_BUSY = (
    Route(
        "GET",
        _PRINCIPAL + "/freebusy",
        freebusy.get_freebusy,
        "Busy time of one person",
        "Free/busy",
        "freebusy:read",
        query=times.FreeBusyQuery,
        answer=times.FreeBusyOut,
        conditional=True,
        problems=("availability-unknown", "window-too-wide", "time-naive"),
        recall=freebusy.recall_freebusy,
    ),
    Route(
        "POST",
        "/v1/freebusy",
        freebusy.post_freebusy,
        "Busy time of several people",
        "Free/busy",
        "freebusy:read",
        body=times.FreeBusyRequest,
        answer=times.FreeBusyAnswers,
        problems=("window-too-wide", "time-naive"),
    ),
    Route(
        "GET",
        _PRINCIPAL + "/explain",
        explain.get_explanation,
        "Why a time is blocked",
        "Free/busy",
        query=times.ExplainQuery,
        answer=times.ExplainOut,
    ),
)

PEOPLE = (
    Route(
        "GET",
        "/v1/subaccounts",
        admin.list_subaccounts,
        "List subaccounts",
        "Subaccounts",
        "admin",
        query=schemas.PageQuery,
        answer=schemas.SubaccountPage,
    ),
    Route(
        "POST",
        "/v1/subaccounts",
        admin.create_subaccount,
        "Create a subaccount",
        "Subaccounts",
        "admin",
        body=schemas.NewSubaccount,
        answer=schemas.SubaccountOut,
        status=201,
    ),
    Route(
        "GET",
        _SUBACCOUNT,
        admin.get_subaccount,
        "Show a subaccount",
        "Subaccounts",
        "admin",
        answer=schemas.SubaccountOut,
    ),
    Route(
        "PATCH",
        _SUBACCOUNT,
        admin.update_subaccount,
        "Change a subaccount",
        "Subaccounts",
        "admin",
        body=schemas.SubaccountChanges,
        answer=schemas.SubaccountOut,
    ),
    Route(
        "DELETE",
        _SUBACCOUNT,
        admin.delete_subaccount,
        "Erase a subaccount",
        "Subaccounts",
        "admin",
        status=204,
    ),
    Route(
        "GET",
        "/v1/principals",
        people.list_principals,
        "List people",
        "People",
        query=schemas.PrincipalQuery,
        answer=schemas.PrincipalPage,
    ),
    Route(
        "POST",
        "/v1/principals",
        people.create_principal,
        "Create a person",
        "People",
        body=schemas.NewPrincipal,
        answer=schemas.PrincipalOut,
        status=201,
        problems=("subaccount-required", "time-zone-unknown"),
    ),
    Route(
        "GET",
        _PRINCIPAL,
        people.get_principal,
        "Show a person",
        "People",
        answer=schemas.PrincipalOut,
    ),
    Route(
        "PATCH",
        _PRINCIPAL,
        people.update_principal,
        "Change a person",
        "People",
        body=schemas.PrincipalChanges,
        answer=schemas.PrincipalOut,
    ),
    Route("DELETE", _PRINCIPAL, people.delete_principal, "Erase a person", "People", status=204),
    Route(
        "GET",
        _PRINCIPAL + "/logins",
        people.list_logins,
        "List logins",
        "Logins",
        answer=schemas.LoginList,
    ),
    Route(
        "POST",
        _PRINCIPAL + "/logins",
        people.create_login,
        "Create a login",
        "Logins",
        body=schemas.NewLogin,
        answer=schemas.LoginWithPassword,
        status=201,
        secret=True,
    ),
    Route(
        "PATCH",
        _LOGIN,
        people.update_login,
        "Change a login",
        "Logins",
        body=schemas.LoginChanges,
        answer=schemas.LoginOut,
    ),
    Route("DELETE", _LOGIN, people.delete_login, "Revoke a login", "Logins", status=204),
    Route(
        "GET",
        "/v1/keys",
        admin.list_keys,
        "List API keys",
        "Keys",
        "admin",
        answer=schemas.KeyList,
    ),
    Route(
        "POST",
        "/v1/keys",
        admin.create_key,
        "Create an API key",
        "Keys",
        "admin",
        body=schemas.NewKey,
        answer=schemas.KeyWithSecret,
        status=201,
        secret=True,
    ),
    Route(
        "DELETE",
        "/v1/keys/{key}",
        admin.delete_key,
        "Revoke an API key",
        "Keys",
        "admin",
        status=204,
        problems=("last-admin-key",),
    ),
)

_NOT_CHOSEN = (
    "calendar-subscribed",
    "calendar-read-only",
    "calendar-no-events",
    "calendar-scheduling",
    "calendar-gone",
    "calendar-unknown",
)

CALENDARS = (
    Route(
        "GET",
        _CONNECTION,
        connection.get_connection,
        "Show the iCloud account",
        "iCloud account",
        answer=calendars.ConnectionOut,
    ),
    Route(
        "POST",
        _CONNECTION,
        connection.create_connection,
        "Connect an iCloud account",
        "iCloud account",
        body=calendars.NewConnection,
        answer=calendars.ConnectionOut,
        status=201,
        upstream=True,
        problems=(*_REFUSED, "account-already-connected", "calendar-subscribed"),
    ),
    Route(
        "PATCH",
        _CONNECTION,
        connection.update_connection_options,
        "Change how long stale data is believed",
        "iCloud account",
        body=calendars.ConnectionOptions,
        answer=calendars.ConnectionOut,
    ),
    Route(
        "DELETE",
        _CONNECTION,
        connection.delete_connection,
        "Disconnect the iCloud account",
        "iCloud account",
        status=204,
    ),
    Route(
        "PUT",
        _CONNECTION + "/credential",
        connection.replace_credential,
        "Replace the password",
        "iCloud account",
        body=calendars.NewCredential,
        answer=calendars.ConnectionOut,
        upstream=True,
        problems=(*_REFUSED, "different-account"),
    ),
    *(
        Route(
            "POST",
            f"{_CONNECTION}/{verb}",
            handler,
            summary,
            "iCloud account",
            answer=calendars.SyncOut if verb == "sync" else calendars.ConnectionOut,
            upstream=True,
            problems=("not-connected",),
        )
        for verb, handler, summary in (
            ("test", connection.test_connection, "Test the password"),
            ("sync", connection.sync_connection, "Sync now"),
            ("pause", connection.pause_connection, "Pause polling"),
            ("resume", connection.resume_connection, "Resume polling"),
        )
    ),
    Route(
        "GET",
        _PRINCIPAL + "/calendars",
        connection.list_upstream_calendars,
        "List the account's calendars",
        "Calendars",
        answer=calendars.CalendarList,
    ),
    Route(
        "PATCH",
        _PRINCIPAL + "/calendars/{calendar}",
        connection.update_calendar,
        "Change a calendar's options",
        "Calendars",
        body=calendars.CalendarOptions,
        answer=calendars.CalendarOut,
    ),
    Route(
        "PUT",
        _PRINCIPAL + "/calendar-roles",
        connection.put_calendar_roles,
        "Choose linked and conflict calendars",
        "Calendars",
        body=calendars.CalendarRoles,
        answer=calendars.CalendarList,
        problems=_NOT_CHOSEN,
    ),
    Route(
        "PATCH",
        _PRINCIPAL + "/calendar-roles",
        connection.patch_calendar_roles,
        "Change parts of the choice",
        "Calendars",
        body=calendars.CalendarRoleChanges,
        answer=calendars.CalendarList,
        problems=_NOT_CHOSEN,
    ),
)

STATUS = (
    Route(
        "GET", "/v1/status", status.get_status, "Overall status", "Status", answer=calendars.Status
    ),
    Route(
        "GET",
        _PRINCIPAL + "/status",
        status.get_principal_status,
        "Status of one person's account",
        "Status",
        answer=calendars.PrincipalStatus,
    ),
    Route(
        "GET",
        "/v1/pushes",
        status.list_pushes,
        "List pending and parked pushes",
        "Status",
        query=calendars.PushQuery,
        answer=calendars.PushList,
    ),
    Route(
        "POST",
        "/v1/pushes/{push}/retry",
        status.retry_push,
        "Try a push again",
        "Status",
        answer=calendars.PushOut,
    ),
    Route(
        "POST", "/v1/pushes/{push}/drop", status.drop_push, "Give a push up", "Status", status=204
    ),
)

OPERATIONS = (
    Route("GET", "/healthz", system.get_health, "Is it alive", "Operations", None),
    Route("GET", "/readyz", system.get_readiness, "Is it ready", "Operations", None),
    Route(
        "GET",
        "/openapi.json",
        system.get_openapi,
        "This document",
        "Operations",
        None,
        conditional=True,
        limited=True,
    ),
    Route(
        "GET",
        "/docs",
        system.get_docs,
        "This page",
        "Operations",
        None,
        media="text/html",
        conditional=True,
        limited=True,
    ),
)

ROUTES: tuple[Route, ...] = (
    *FREE_BUSY,
    *BOOKING,
    *SCHEDULES,
    *FACES,
    *CALENDARS,
    *PEOPLE,
    *STATUS,
    *CONFLICTS,
    *OPERATIONS,
)
