"""Bases and plain types of the models, and the shapes of who is here (docs/api.md).

Requests are strict and refuse unknown fields; answers may gain fields, never lose them.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from gateway.api.wire.times import TimeText, ZoneName

Scope = Literal["admin", "platform", "freebusy:read"]

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Label = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_NO_CONTROLS)]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_NO_CONTROLS)]
_ADDRESS = r"^[^@\x00-\x20\x7f]+@[^@\x00-\x20\x7f]+$"
Email = Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=_ADDRESS)]


class Request(BaseModel):
    """Base of every body: strict, nothing unknown, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Query(BaseModel):
    """Base of every set of query parameters: text in, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """No query parameters."""


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def unchanged(value: object) -> Any:
    """Default of a field of a PATCH: look at ``model_fields_set``, never at this value."""
    return Field(default=value, json_schema_extra=_without_default)


class Response(BaseModel):
    """Base of every body that is sent."""

    model_config = ConfigDict(frozen=True)


def _whole_number(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 10):
        raise PydanticCustomError("number-invalid", "must be a whole number")
    return int(value) if isinstance(value, str) else value


PageSize = Annotated[int, Field(ge=1, le=200), BeforeValidator(_whole_number)]

_CURSOR = re.compile(r"([0-9]{1,12})-([A-Za-z0-9_]{1,50})")


def _read_cursor(value: object) -> object:
    found = _CURSOR.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("cursor-invalid", "is not a cursor this list gave out")
    return int(found[1]), found[2]


Cursor = Annotated[
    tuple[int, str],
    BeforeValidator(_read_cursor),
    WithJsonSchema({"type": "string", "pattern": f"^{_CURSOR.pattern}$"}),
]
"""Where a page starts: creation time and id of the last row of the page before."""


class PageQuery(Query):
    """Cursor paging; ``cursor`` is what ``next`` of the page before said."""

    limit: PageSize = 100
    cursor: Cursor | None = None


class Fault(Response):
    """One culprit in a request."""

    pointer: str
    code: str
    detail: str


class Problem(Response):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[Fault] = []


# --- who is here ---


class NewSubaccount(Request):
    """A tenant to create."""

    name: Name
    external_id: ExternalId | None = None


class SubaccountChanges(Request):
    """What to change; a field left out stays."""

    name: Name = unchanged("-")
    external_id: ExternalId | None = unchanged(None)


class SubaccountOut(Response):
    """A tenant of the platform."""

    id: str
    name: str
    external_id: str | None
    created_at: TimeText


class SubaccountPage(Response):
    """Tenants, oldest first."""

    subaccounts: list[SubaccountOut]
    next: str | None


class NewPrincipal(Request):
    """A person to create; ``subaccount`` may be left out with a key bound to one."""

    name: Name
    time_zone: ZoneName
    subaccount: Id | None = None
    email: Email | None = None
    external_id: ExternalId | None = None


class PrincipalChanges(Request):
    """What to change; a field left out stays."""

    name: Name = unchanged("-")
    time_zone: ZoneName = unchanged("UTC")
    email: Email | None = unchanged(None)
    external_id: ExternalId | None = unchanged(None)


class PrincipalQuery(PageQuery):
    """Which persons to list."""

    subaccount: Id | None = None
    external_id: ExternalId | None = None


class PrincipalOut(Response):
    """A person; ``caldav`` is the path of the calendar home."""

    id: str
    subaccount: str
    name: str
    email: str | None
    external_id: str | None
    time_zone: str
    caldav: str
    created_at: TimeText


class PrincipalPage(Response):
    """Persons, oldest first."""

    principals: list[PrincipalOut]
    next: str | None


class NewLogin(Request):
    """A login for native clients (``device``) or for the platform's own CalDAV calls."""

    kind: Literal["device", "platform"]
    label: Label = ""
    show_mirrors: bool = True


class LoginChanges(Request):
    """What to change; a field left out stays."""

    label: Label = unchanged("")
    show_mirrors: bool = unchanged(True)


class LoginOut(Response):
    """A login; its password is not kept."""

    id: str
    kind: Literal["device", "platform"]
    login: str
    label: str
    show_mirrors: bool
    created_at: TimeText
    last_seen_at: TimeText | None
    user_agent: str | None


class LoginWithPassword(LoginOut):
    """A new login with its password, shown this once only."""

    password: str
    caldav: str


class LoginList(Response):
    """The logins of a person, oldest first."""

    logins: list[LoginOut]


class NewKey(Request):
    """An API key to create; only an ``admin`` key may belong to no subaccount."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    subaccount: Id | None = None


class KeyOut(Response):
    """An API key; its secret is not kept. ``subaccount`` null means all of them."""

    id: str
    name: str
    scopes: list[str]
    subaccount: str | None
    created_at: TimeText
    last_used_at: TimeText | None


class KeyWithSecret(KeyOut):
    """A new key with its secret, shown this once only."""

    secret: str


class KeyList(Response):
    """API keys, oldest first."""

    keys: list[KeyOut]
