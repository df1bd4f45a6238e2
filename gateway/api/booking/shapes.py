"""Shapes of holds, appointments and Blocked Slots. Titles go in and never come out (R26)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.api.wire.shapes import (
    ExternalId,
    Id,
    Label,
    Name,
    PageQuery,
    Request,
    Response,
    unchanged,
)
from gateway.api.wire.times import Instant, TimeText

Text = Annotated[
    str, StringConstraints(max_length=8_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")
]
Push = Literal["none", "pending", "pushed", "parked"]
Verify = Literal["live", "required"]


class NewHold(Request):
    """A time to reserve; ``ttl_s`` seconds."""

    principal: Id
    start: Instant
    end: Instant
    ttl_s: Annotated[int, Field(ge=1, le=900)] = 300


class HoldOut(Response):
    """A reserved time; it is free again at ``expires_at``."""

    id: str
    principal: str
    start: TimeText
    end: TimeText
    expires_at: TimeText


class NewAppointment(Request):
    """An appointment to make; ``hold`` is consumed by it.

    ``verify`` asks iCloud first: ``live`` falls back to what is known, ``required`` fails then.
    """

    principal: Id
    start: Instant
    end: Instant
    title: Name
    description: Text = ""
    location: Label = ""
    hold: Id | None = None
    external_id: ExternalId | None = None
    verify: Verify | None = None
    allow_overlap: bool = False


class AppointmentChanges(Request):
    """What to change; a field left out stays. Start and end are given together."""

    start: Instant = unchanged(0)
    end: Instant = unchanged(0)
    title: Name = unchanged("-")
    allow_overlap: bool = False


class AppointmentOut(Response):
    """An appointment; ``push`` tells whether it has reached iCloud, and why not."""

    id: str
    principal: str
    start: TimeText
    end: TimeText
    status: Literal["confirmed", "cancelled"]
    push: Push
    push_reason: str | None
    external_id: str | None
    created_at: TimeText
    updated_at: TimeText


class AppointmentBooked(AppointmentOut):
    """A new appointment; ``verified`` tells whether iCloud was asked just before."""

    verified: Literal["live", "cached"]
    verified_age_s: int | None


class AgendaQuery(PageQuery):
    """Which appointments or Blocked Slots to list: all that touch the window."""

    principal: Id | None = None
    start: Instant | None = None
    end: Instant | None = None


class AppointmentPage(Response):
    """Appointments by start."""

    appointments: list[AppointmentOut]
    next: str | None


class NewBlockedSlot(Request):
    """A time to block by hand."""

    principal: Id
    start: Instant
    end: Instant
    title: Name = "Blocked"


class BlockedSlotOut(Response):
    """A blocked time; of a series start and end are those of the whole, null when open-ended."""

    id: str
    principal: str
    start: TimeText
    end: TimeText | None
    recurring: bool
    created_at: TimeText


class BlockedSlotPage(Response):
    """Blocked Slots by start."""

    blocked_slots: list[BlockedSlotOut]
    next: str | None
