"""Somebody's own working hours (RFC 7953), which schedules may follow: set by the API or a device.

They change nobody's busy time, so nobody is locked: the last to write wins.
"""

from collections.abc import Callable, Iterable
from zoneinfo import ZoneInfo

from gateway.core.availability.hours import Week, read_week
from gateway.core.errors import InvalidCalendarData, NotFound
from gateway.services.access.people import PersonRef, find_person
from gateway.store.access.principals import Principal, get_principal
from gateway.store.booking.working_hours import StoredWeek, delete_week, find_week, put_week
from gateway.store.engine import Session

MAX_SIZE = 64 * 1024
"""Of hours that a client wrote, in characters: they are kept as they came."""


def get_working_hours(session: Session, who: PersonRef) -> StoredWeek:
    """Return somebody's own working hours; raises :class:`NotFound` where there are none."""
    found = find_week(session, find_person(session, who).id)
    if found is None:
        raise NotFound("This person has no working hours of their own.")
    return found


def put_working_hours(
    session: Session, who: PersonRef, make_week: Callable[[Principal], Week], *, now: int
) -> StoredWeek:
    """Set somebody's own working hours; ``make_week`` is asked once the person is known.

    Raises :class:`NotFound`.
    """
    owner = find_person(session, who)
    return put_week(session, owner.id, make_week(owner), now=now)


def delete_working_hours(session: Session, who: PersonRef) -> None:
    """Remove somebody's own working hours; raises :class:`NotFound` for an unknown person."""
    delete_week(session, find_person(session, who).id)


def change_as_written(
    session: Session, principal_id: str, steps: Iterable[str | None], *, now: int
) -> None:
    """Carry out in order what somebody's own client wrote: VAVAILABILITY each, None removes.

    Removing what is not there is no error (RFC 4918 14.23). Raises :class:`NotFound` when the
    person is gone, and :class:`InvalidCalendarData`.
    """
    owner = get_principal(session, principal_id)
    for text in steps:
        if text is None:
            if find_week(session, owner.id) is not None:
                delete_week(session, owner.id)
            continue
        if len(text) > MAX_SIZE:
            raise InvalidCalendarData("These working hours are too long to be kept.")
        week = read_week(text.encode(), own=ZoneInfo(owner.time_zone), now=now)
        put_week(session, owner.id, week, text=text, now=now)
