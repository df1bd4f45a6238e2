"""Shapes of free/busy and explanations (docs/api.md)."""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from gateway.api.wire.shapes import Id, Query, Request, Response
from gateway.api.wire.times import Instant, TimeText, ZoneName
from gateway.core.availability.merge import BusyStatus
from gateway.core.availability.policy import OnTentative, OnUnknown


class FreeBusyQuery(Query):
    """Which time to ask about, and what unknown and tentative time shall count as."""

    start: Instant
    end: Instant
    time_zone: ZoneName | None = None
    on_unknown: OnUnknown = "block"
    on_tentative: OnTentative = "block"
    group_by: Literal["day"] | None = None

    @cached_property
    def is_plain(self) -> bool:
        """Whether unknown and tentative time shall block, and days are not asked for."""
        return _is_plain(self)


class FreeBusyRequest(Request):
    """The same for up to 200 principals."""

    principals: Annotated[list[Id], Field(min_length=1, max_length=200)]
    start: Instant
    end: Instant
    time_zone: ZoneName | None = None
    on_unknown: OnUnknown = "block"
    on_tentative: OnTentative = "block"
    group_by: Literal["day"] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether unknown and tentative time shall block, and days are not asked for."""
        return _is_plain(self)


def _is_plain(asked: FreeBusyQuery | FreeBusyRequest) -> bool:
    policies = (asked.on_unknown, asked.on_tentative)
    return asked.group_by is None and policies == ("block", "block")


class BusyPeriodOut(Response):
    """A merged period; ``end`` is exclusive."""

    start: TimeText
    end: TimeText
    status: BusyStatus


class SourceOut(Response):
    """A calendar that was asked, and how far it can be believed."""

    calendar: str
    role: Literal["linked", "conflict", "platform", "local"]
    state: Literal["fresh", "stale", "failed", "syncing", "never"]
    synced_at: TimeText | None
    age_s: int | None
    problem: str | None


class PolicyOut(Response):
    """What unknown and tentative time was counted as."""

    on_unknown: OnUnknown
    on_tentative: OnTentative


class DayOut(Response):
    """The busy periods of one day in the asked zone, cut at midnight."""

    date: str
    start: TimeText
    end: TimeText
    busy: list[BusyPeriodOut]


class FreeBusyOut(Response):
    """Busy time of one principal; ``complete`` is false when part of it is unknown."""

    start: TimeText
    end: TimeText
    time_zone: str
    revision: int
    complete: bool
    policy: PolicyOut
    busy: list[BusyPeriodOut]
    sources: list[SourceOut]
    days: list[DayOut] | None = None


class PrincipalFault(Response):
    """Why one of several principals has no answer."""

    pointer: str
    code: str
    detail: str


class FreeBusyAnswers(Response):
    """Answers by principal; a principal is either here or under ``errors``."""

    principals: dict[str, FreeBusyOut]
    errors: dict[str, PrincipalFault]


class ExplainQuery(Query):
    """Which time to explain."""

    start: Instant
    end: Instant
    time_zone: ZoneName | None = None


class ReasonOut(Response):
    """One object that counts in the window: how, by which rule, from where; never its title."""

    start: TimeText
    end: TimeText
    status: Literal["busy", "tentative", "unavailable", "unknown", "free"]
    rule: str
    object: str
    kind: str
    calendar: str
    role: str
    state: str
    age_s: int | None


class UnknownOut(Response):
    """A span a source says nothing about."""

    start: TimeText
    end: TimeText
    calendar: str
    state: str
    problem: str | None


class ExplainOut(Response):
    """Why a time is blocked, unknown or free; ``truncated`` when there is more than shown."""

    start: TimeText
    end: TimeText
    time_zone: str
    complete: bool
    reasons: list[ReasonOut]
    unknown: list[UnknownOut]
    holds: list[BusyPeriodOut]
    sources: list[SourceOut]
    truncated: bool
