"""Shapes of connections, calendars, roles, status and pushes (docs/api.md)."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from gateway.api.wire.shapes import Id, PageSize, Query, Request, Response, unchanged
from gateway.api.wire.times import TimeText
from gateway.core.recurrence.model import AllDay
from gateway.core.subscriptions import is_subscription_address

Secret = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class NewConnection(Request):
    """An iCloud account: the Apple Account's e-mail and an app-specific password."""

    email: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    app_password: Secret


class NewCredential(Request):
    """A new app-specific password; the e-mail only when it has changed."""

    app_password: Secret
    email: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = None


class CalendarOut(Response):
    """A calendar of the account, what it may be used for, and why not.

    ``linkable``: appointments may go there. ``conflictable``: it may block availability.
    ``refusal`` says why not. ``blocks``: its busy time counts. ``detail``: what is kept of its
    events. ``all_day``: how its all-day events count. ``caldav``: path of its mirror.
    ``catching_up`` and ``set_aside`` count its members that iCloud lists and does not hand over:
    younger than a quarter of an hour, and older.
    """

    id: str
    name: str
    color: str | None
    writable: bool
    linkable: bool
    conflictable: bool
    refusal: str | None
    refusal_detail: str | None
    role: Literal["none", "linked", "conflict", "tracked"]
    blocks: bool
    detail: Literal["full", "busy"]
    all_day: AllDay
    state: Literal["never", "syncing", "ok", "failed", "gone"]
    problem: str | None
    problem_detail: str | None
    catching_up: int
    set_aside: int
    synced_at: TimeText | None
    progress_done: int
    progress_total: int | None
    caldav: str | None


class AccountProblem(Response):
    """Something of an account that could not be read: a calendar, or one member of it by name.

    ``since`` is when that was seen first, of members only.
    """

    calendar: str
    member: str | None
    code: str
    detail: str | None
    since: TimeText | None


class ConnectionOut(Response):
    """The iCloud account of a person; ``state`` tells whether it is polled.

    ``problem`` is the account's own; ``problems`` are those of its calendars in use. ``synced_at``
    is when the calendar in use that is furthest behind was found current.
    """

    id: str
    state: Literal["ok", "credential-revoked", "secret-unreadable", "paused", "disconnected"]
    problem: str | None
    problem_detail: str | None
    trust_for_s: int
    created_at: TimeText
    polled_at: TimeText | None
    synced_at: TimeText | None
    problems: list[AccountProblem]
    calendars: list[CalendarOut]


class CalendarResult(Response):
    """What one run found out about a calendar in use.

    ``outcome``: ``read`` to its end, ``unchanged`` since it was read last, ``catching-up`` while
    some member could not be read yet, ``failed``, or ``gone``; ``problem`` and ``detail`` say why.
    """

    calendar: str
    name: str
    blocks: bool
    outcome: Literal["read", "unchanged", "catching-up", "failed", "gone"]
    changed: int
    removed: int
    problem: str | None
    detail: str | None


class SyncOut(ConnectionOut):
    """The account after a run; ``complete``: every calendar in use is current now."""

    complete: bool
    results: list[CalendarResult]


class CalendarList(Response):
    """Every calendar of the account."""

    calendars: list[CalendarOut]


def _refuse_subscription(value: object) -> object:
    if isinstance(value, str) and is_subscription_address(value):
        raise PydanticCustomError(
            "calendar-subscribed",
            "is the address of a subscribed calendar; choose one of the account's calendars by id",
        )
    return value


CalendarId = Annotated[Id, BeforeValidator(_refuse_subscription)]


class CalendarRoles(Request):
    """Which calendar appointments go to, and which block availability besides it.

    ``all_day`` says per calendar id how its all-day events count; calendars left out keep theirs.
    """

    linked: CalendarId | None
    conflicts: Annotated[list[CalendarId], Field(max_length=200)]
    linked_blocks: bool = True
    all_day: Annotated[dict[Id, AllDay], Field(max_length=200)] = Field(default_factory=dict)


class CalendarRoleChanges(Request):
    """What to change of the choice; a field left out stays.

    ``linked_blocks`` stays with the linked calendar; a newly linked one blocks unless it says
    otherwise.
    """

    linked: CalendarId | None = unchanged(None)
    conflicts: Annotated[list[CalendarId], Field(max_length=200)] = unchanged([])
    linked_blocks: bool = unchanged(True)
    all_day: Annotated[dict[Id, AllDay], Field(max_length=200)] = unchanged({})


class CalendarOptions(Request):
    """What to change; a field left out stays.

    ``detail`` is ``busy`` to keep nothing but the times of its events. ``all_day``: ``as-marked``
    (each all-day event says itself whether it is busy), ``block`` (every one that is not cancelled
    or declined, also those marked free, as Apple devices mark them) or ``ignore`` (none).
    """

    detail: Literal["full", "busy"] = unchanged("full")
    all_day: AllDay = unchanged("as-marked")


class ConnectionOptions(Request):
    """What to change; ``trust_for_s`` is how long stale data is believed, in seconds."""

    trust_for_s: Annotated[int, Field(ge=60, le=31 * 86_400)]


class PushOut(Response):
    """Something that has yet to reach iCloud; ``parked`` waits for a person."""

    id: str
    principal: str
    action: Literal["put", "delete"]
    state: Literal["pending", "parked"]
    reason: str | None
    detail: str | None
    attempts: int
    due_at: TimeText
    created_at: TimeText
    object: str | None
    calendar: str | None


class PushQuery(Query):
    """Which pushes to list."""

    principal: Id | None = None
    state: Literal["pending", "parked"] | None = None
    limit: PageSize = 100


class PushList(Response):
    """Pushes, oldest first."""

    pushes: list[PushOut]


class ProblemObject(Response):
    """An object that could not be understood; its time is unknown."""

    object: str
    calendar: str
    code: str
    detail: str | None


class PushCounts(Response):
    """How many messages wait, and how many need a person."""

    pending: int
    parked: int


class Overlap(Response):
    """A time at which an appointment lies on something else that is busy."""

    appointment: str
    start: TimeText
    end: TimeText


class PrincipalStatus(Response):
    """How a person's account stands."""

    principal: str
    connection: ConnectionOut | None
    pushes: PushCounts
    problems: list[ProblemObject]
    overlaps: list[Overlap]


class ConnectionCounts(Response):
    """Connections by state; ``with_problem`` counts those whose last run did not end well."""

    ok: int
    credential_revoked: int
    secret_unreadable: int
    paused: int
    disconnected: int
    with_problem: int


class Status(Response):
    """How everything this key can see stands."""

    principals: int
    connections: ConnectionCounts
    oldest_sync_at: TimeText | None
    pushes: PushCounts
    problems: int
