"""Appointments that lie on other busy time: allowed, moved by a person, or shifted by a new zone.

Nothing of it was sold: a booking is checked (R27). What comes to lie there afterwards is listed.
"""

from gateway.core.intervals import DAY, Interval, intersect
from gateway.services.availability import blocking_calendars, blocking_time
from gateway.store.booking.bookings import list_appointments
from gateway.store.engine import Session

LOOKED_AT = 200
AHEAD_S = 400 * DAY


def overlaps_of(session: Session, principal_id: str, *, now: int) -> list[tuple[str, Interval]]:
    """Return the spans in which a person's next appointments lie on something else, by start.

    At most :data:`LOOKED_AT` appointments from ``now`` on are looked at; pairs of appointment id
    and UTC epoch seconds.
    """
    ids = blocking_calendars(session, principal_id)
    found: list[tuple[str, Interval]] = []
    window = (now, now + AHEAD_S)
    for row in list_appointments(session, [principal_id], window=window, limit=LOOKED_AT):
        if row.object_id is None or row.status != "confirmed":
            continue
        own = blocking_time(session, principal_id, window, ids, only_object=row.object_id)
        if own:
            around = (own[0][0], own[-1][1])
            others = blocking_time(session, principal_id, around, ids, without_object=row.object_id)
            found += [(row.id, span) for span in intersect(own, others)]
    return sorted(found, key=lambda pair: pair[1])
