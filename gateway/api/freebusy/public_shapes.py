"""Shapes of the public free/busy address and its tokens (CalConnect CC/S 0903:2009)."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.api.freebusy.shapes import BusyPeriodOut
from gateway.api.wire.shapes import Label, Query, Request, Response
from gateway.api.wire.times import TimeText, parse_instant
from gateway.core.ical.values import parse_duration


class NewFreeBusyToken(Request):
    """A public address to create; ``coarse`` shows rounded busy time and nothing else."""

    label: Label = ""
    detail: Literal["exact", "coarse"] = "coarse"


class FreeBusyTokenOut(Response):
    """A public address; its secret part is not kept."""

    id: str
    label: str
    detail: Literal["exact", "coarse"]
    created_at: TimeText
    rotated_at: TimeText | None


class FreeBusyTokenWithPath(FreeBusyTokenOut):
    """A new address, shown this once only; ``url`` is what to hand out."""

    token: str
    path: str
    url: str


class FreeBusyTokenList(Response):
    """The public addresses of a person, oldest first."""

    tokens: list[FreeBusyTokenOut]


DEFAULT_PERIOD_S = 42 * 86_400
_BARE_OFFSET = re.compile(r"([+\- ]\d\d)(\d\d)$")


def _read_url_time(value: object) -> object:
    text = _BARE_OFFSET.sub(r"\1:\2", value) if isinstance(value, str) else value
    return parse_instant(text)


def _read_duration(value: object) -> int:
    try:
        days, seconds = parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        days, seconds = 0, 0
    if days < 0 or seconds < 0 or (days, seconds) == (0, 0):
        raise PydanticCustomError("period-invalid", "must be a duration like P42D or PT12H")
    return days * 86_400 + seconds


UrlInstant = Annotated[
    int,
    BeforeValidator(_read_url_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Duration = Annotated[
    int,
    BeforeValidator(_read_duration),
    WithJsonSchema({"type": "string", "examples": ["P42D", "PT12H"]}),
]


class FreeBusyUrlQuery(Query):
    """The parameters of CC/S 0903:2009; none is required."""

    start: UrlInstant | None = None
    end: UrlInstant | None = None
    period: Duration | None = None
    format: Literal["text/calendar", "application/json"] | None = None
    user: Annotated[str, Field(max_length=254)] | None = None


class PublicFreeBusyOut(Response):
    """Busy time behind a public address, in UTC."""

    start: TimeText
    end: TimeText
    complete: bool
    busy: list[BusyPeriodOut]
