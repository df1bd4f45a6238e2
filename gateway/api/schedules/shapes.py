"""Shapes of schedules, slots and people's working hours (docs/api.md).

Local times are ``HH:MM`` on a clock in the schedule's zone; a span whose end is not after its
start ends on the next date. Inside, they are minutes after midnight.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.api.freebusy.shapes import ExplainOut
from gateway.api.wire.shapes import Id, Name, PageQuery, Query, Request, Response
from gateway.api.wire.times import Instant, TimeText, ZoneName
from gateway.core.availability.policy import OnTentative, OnUnknown
from gateway.core.availability.slots import MINUTES_A_DAY, Hours

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_LOCAL_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _read_local_time(value: object) -> int:
    found = _LOCAL_TIME.fullmatch(value) if isinstance(value, str) else None
    minutes = int(found[1]) * 60 + int(found[2]) if found else MINUTES_A_DAY + 1
    if minutes > MINUTES_A_DAY:
        raise PydanticCustomError("local-time-invalid", "must be local times like 09:00, to 24:00")
    return minutes


def _read_span(value: object) -> object:
    if not isinstance(value, list) or len(value) != 2:
        raise PydanticCustomError("hours-invalid", 'must be a pair like ["09:00", "17:00"]')
    start, end = (_read_local_time(part) for part in value)
    if start in (end, MINUTES_A_DAY):
        raise PydanticCustomError(
            "hours-empty", 'is empty; a whole day is ["00:00", "24:00"], a free day is []'
        )
    return (start, end if end > start else end + MINUTES_A_DAY)


def _check_hours(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    ordered = sorted(spans)
    for before, after in itertools.pairwise(ordered):
        if after[0] < before[1]:
            raise PydanticCustomError("hours-overlap", "has spans that overlap")
    return ordered


def _read_date(value: object) -> object:
    try:
        return date.fromisoformat(value if isinstance(value, str) and _DATE.match(value) else "")
    except ValueError:
        raise PydanticCustomError("date-invalid", "must be a date like 2026-12-24") from None


_CLOCK = {"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"}
Span = Annotated[
    tuple[int, int],
    BeforeValidator(_read_span),
    WithJsonSchema(
        {
            "type": "array",
            "items": _CLOCK,
            "minItems": 2,
            "maxItems": 2,
            "examples": [["09:00", "17:00"]],
        }
    ),
]
HoursOfDay = Annotated[list[Span], Field(max_length=24), AfterValidator(_check_hours)]
"""The bookable spans of one date; none is a day off."""

Day = Annotated[
    date, BeforeValidator(_read_date), WithJsonSchema({"type": "string", "format": "date"})
]


def _minutes(least: int, most: int) -> tuple[BeforeValidator, WithJsonSchema]:
    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise PydanticCustomError(
                "minutes-invalid",
                "must be a whole number of minutes from {least} to {most}",
                {"least": least, "most": most},
            )
        return value

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return BeforeValidator(check), WithJsonSchema(schema)


Length = Annotated[int, *_minutes(1, MINUTES_A_DAY)]
Buffer = Annotated[int, *_minutes(0, MINUTES_A_DAY)]
Notice = Annotated[int, *_minutes(0, 366 * MINUTES_A_DAY)]
Limit = Annotated[int, Field(ge=1, le=1000)]


_DAY_OFF: Any = Field(default_factory=list)


class WorkingHours(Request):
    """The usual week; a weekday left out is a day off."""

    monday: HoursOfDay = _DAY_OFF
    tuesday: HoursOfDay = _DAY_OFF
    wednesday: HoursOfDay = _DAY_OFF
    thursday: HoursOfDay = _DAY_OFF
    friday: HoursOfDay = _DAY_OFF
    saturday: HoursOfDay = _DAY_OFF
    sunday: HoursOfDay = _DAY_OFF


Overrides = Annotated[dict[Day, HoursOfDay], Field(max_length=400)]
"""The hours of single dates, in the place of those of their weekday."""


def _read_required(value: object) -> object:
    if value in ("all", "any"):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PEOPLE:
        raise PydanticCustomError("require-invalid", "must be all, any, or a number of people")
    return value


MAX_PEOPLE = 200

Required = Annotated[
    Literal["all", "any"] | int,
    BeforeValidator(_read_required),
    WithJsonSchema(
        {"anyOf": [{"enum": ["all", "any"]}, {"type": "integer", "minimum": 1, "maximum": 200}]}
    ),
]
"""How many of the people must be free together: all, any, or at least so many."""

People = Annotated[list[Id], Field(min_length=1, max_length=MAX_PEOPLE)]


class SlotFields(Request):
    """What makes a time bookable; without ``working_hours`` any time is.

    ``personal_hours`` asks for each person's own working hours instead.
    """

    duration_minutes: Length
    interval_minutes: Length | None = None
    buffer_before_minutes: Buffer = 0
    buffer_after_minutes: Buffer = 0
    minimum_notice_minutes: Notice = 0
    horizon_days: Annotated[int, Field(ge=0, le=1830)] | None = None
    time_zone: ZoneName | None = None
    working_hours: WorkingHours | None = None
    personal_hours: bool = False
    date_overrides: Overrides = Field(default_factory=dict)
    limit_per_day: Limit | None = None
    limit_per_week: Limit | None = None
    require: Required = "all"
    on_unknown: OnUnknown = "block"
    on_tentative: OnTentative = "block"


class ScheduleFields(SlotFields):
    """A schedule to create, or to put in the place of one; either person field, not both."""

    name: Name
    principal: Id | None = None
    principals: People | None = None


class AvailabilityRequest(SlotFields):
    """The same rules without a schedule, for one question."""

    principals: People
    start: Instant
    end: Instant
    visitor_time_zone: ZoneName | None = None
    group_by: Literal["day"] | None = None


class ScheduleQuery(PageQuery):
    """Which schedules to list."""

    principal: Id | None = None


class SlotQuery(Query):
    """Which time to offer slots of; ``time_zone`` is the visitor's."""

    start: Instant
    end: Instant
    time_zone: ZoneName | None = None
    group_by: Literal["day"] | None = None
    on_unknown: OnUnknown | None = None
    on_tentative: OnTentative | None = None


class SlotExplainQuery(Query):
    """When the slot would start."""

    start: Instant
    time_zone: ZoneName | None = None
    on_unknown: OnUnknown | None = None
    on_tentative: OnTentative | None = None


class PersonSlot(Response):
    """What speaks against a slot for one person, and all that counts in its time and buffers."""

    principal: str
    against: list[
        Literal["busy", "limit-reached", "no-working-hours", "outside-working-hours", "off-grid"]
    ]
    explanation: ExplainOut


class SlotExplanation(Response):
    """Why a slot is on offer or not; ``against`` are rules that hold whoever is asked."""

    start: TimeText
    end: TimeText
    time_zone: str
    offered: bool
    complete: bool
    against: list[
        Literal[
            "minimum-notice",
            "beyond-horizon",
            "outside-working-hours",
            "off-grid",
            "too-few-people",
        ]
    ]
    people: list[PersonSlot]


class ScheduleOut(Response):
    """A schedule; ``working_hours`` null is any time."""

    id: str
    subaccount: str
    name: str
    principals: list[str]
    require: Literal["all", "any"] | int
    time_zone: str
    duration_minutes: int
    interval_minutes: int
    buffer_before_minutes: int
    buffer_after_minutes: int
    minimum_notice_minutes: int
    horizon_days: int | None
    working_hours: dict[str, list[list[str]]] | None
    personal_hours: bool
    date_overrides: dict[str, list[list[str]]]
    limit_per_day: int | None
    limit_per_week: int | None
    on_unknown: OnUnknown
    on_tentative: OnTentative
    created_at: TimeText
    updated_at: TimeText


class SchedulePage(Response):
    """Schedules, oldest first."""

    schedules: list[ScheduleOut]
    next: str | None


class SlotOut(Response):
    """A time on offer; ``principals`` says who is free, where there is more than one person."""

    start: TimeText
    end: TimeText
    principals: list[str] | None = None


class SlotDayOut(Response):
    """The slots that start on one day in the visitor's zone; days without slots are listed too."""

    date: str
    slots: list[SlotOut]


class SlotsOut(Response):
    """Bookable slots; ``complete`` is false when part of what was looked at is unknown."""

    start: TimeText
    end: TimeText
    time_zone: str
    complete: bool
    slots: list[SlotOut]
    days: list[SlotDayOut] | None = None


def write_hours(spans: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Write spans as they are sent: ``[["22:00", "06:00"]]``; a midnight at the end is 24:00."""
    return [[_clock(start), _clock(_wrap(end))] for start, end in spans]


def _wrap(end: int) -> int:
    return end - MINUTES_A_DAY if end > MINUTES_A_DAY else end


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


# --- somebody's own hours ---


class PersonalHours(Request):
    """The hours of a person, in the person's zone unless another is named."""

    time_zone: ZoneName | None = None
    working_hours: WorkingHours
    date_overrides: Overrides = Field(default_factory=dict)


class PersonalHoursOut(Response):
    """The hours of a person; ``written_by`` tells who set them last."""

    time_zone: str
    working_hours: dict[str, list[list[str]]]
    date_overrides: dict[str, list[list[str]]]
    written_by: Literal["api", "caldav"]
    updated_at: TimeText


def read_weekdays(hours: WorkingHours) -> tuple[Hours, ...]:
    """Return the hours of Monday to Sunday."""
    return tuple(tuple(getattr(hours, name)) for name in WEEKDAYS)


def read_overrides(given: Mapping[date, list[tuple[int, int]]]) -> tuple[tuple[date, Hours], ...]:
    """Return overrides by date."""
    return tuple((day, tuple(spans)) for day, spans in sorted(given.items()))


def write_weekdays(weekdays: Sequence[Hours]) -> dict[str, list[list[str]]]:
    """Write the hours of Monday to Sunday by name."""
    return {name: write_hours(day) for name, day in zip(WEEKDAYS, weekdays, strict=True)}


def write_overrides(overrides: Sequence[tuple[date, Hours]]) -> dict[str, list[list[str]]]:
    """Write overrides by date."""
    return {day.isoformat(): write_hours(spans) for day, spans in overrides}
