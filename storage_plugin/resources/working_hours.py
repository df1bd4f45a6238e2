"""``calendar-availability`` (RFC 7953 7.2.4): a person's working hours, edited by clients.

The property lives on the principal, which is its own calendar home; there is no scheduling inbox
here. What a client writes reads back as written; hours set by the API are rendered.
"""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from gateway.core.availability.hours import read_week, write_week
from gateway.core.errors import InvalidCalendarData
from gateway.store.access.principals import Principal
from gateway.store.booking.working_hours import delete_week, find_week, put_week
from gateway.store.engine import Session

TAGS = (
    "{urn:ietf:params:xml:ns:caldav}calendar-availability",
    "{http://calendarserver.org/ns/}calendar-availability",
)
"""The standard's name, and the one Apple's clients used before it."""

MAX_SIZE = 64 * 1024


def read_property(session: Session, principal_id: str) -> str | None:
    """Return the property's text, None where there are no hours."""
    found = find_week(session, principal_id)
    if found is None or found.text is not None:
        return found.text if found is not None else None
    uid = f"{principal_id}-hours"
    return write_week(found.week, uid=uid, stamp=found.updated_at).decode()


def change_property(
    session: Session, principal: Principal, steps: Sequence[tuple[bool, Any]], *, now: int
) -> None:
    """Carry the steps of a PROPPATCH out, in order; raises :class:`InvalidCalendarData`.

    Removing what is not there is no error (RFC 4918 14.23).
    """
    for is_set, prop in steps:
        if is_set:
            text = prop.text or ""
            if len(text) > MAX_SIZE:
                raise InvalidCalendarData("These working hours are too long to be kept.")
            week = read_week(text.encode(), own=ZoneInfo(principal.time_zone), now=now)
            put_week(session, principal.id, week, text=text, now=now)
        elif find_week(session, principal.id) is not None:
            delete_week(session, principal.id)
