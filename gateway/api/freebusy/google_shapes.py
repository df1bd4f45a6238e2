"""Shapes of Google's ``freebusy.query`` (Calendar API v3), as its clients send and read them."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from gateway.api.wire.shapes import Query, Request, Response
from gateway.api.wire.times import Instant, ZoneName


class _Lenient(Request):
    """Unknown fields are ignored, as Google does."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=False)


class GoogleItem(_Lenient):
    """Whose time: a principal id, an external id or an e-mail address."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=254)]


class GoogleRequest(_Lenient):
    """The request body; the expansion limits are taken and ignored."""

    time_min: Instant = Field(alias="timeMin")
    time_max: Instant = Field(alias="timeMax")
    time_zone: ZoneName = Field(default="UTC", alias="timeZone")
    items: Annotated[list[GoogleItem], Field(max_length=200)] = Field(default_factory=list)


class GoogleQuery(Query):
    """The standard parameters of Google's clients; they change nothing here."""

    alt: str | None = None
    fields: str | None = None
    key: str | None = None
    prettyPrint: str | None = None  # noqa: N815  (Google's names)
    quotaUser: str | None = None  # noqa: N815
    userIp: str | None = None  # noqa: N815


class GoogleBusy(Response):
    """One busy period."""

    start: str
    end: str


class GoogleError(Response):
    """Why a calendar has no answer."""

    domain: str
    reason: str


class GoogleCalendar(Response):
    """One calendar's busy time."""

    busy: list[GoogleBusy]
    errors: list[GoogleError] | None = None


class GoogleFreeBusy(Response):
    """The response body."""

    kind: str
    timeMin: str  # noqa: N815
    timeMax: str  # noqa: N815
    calendars: dict[str, GoogleCalendar]
