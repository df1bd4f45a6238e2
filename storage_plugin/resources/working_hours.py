"""``calendar-availability`` (RFC 7953 7.2.4): a person's working hours, edited by clients.

The property lives on the principal, which is its own calendar home; there is no scheduling inbox
here. What a client writes reads back as written; hours set by the API are rendered.
"""

from gateway.core.availability.hours import write_week
from gateway.store.booking.working_hours import find_week
from gateway.store.engine import Session

TAGS = (
    "{urn:ietf:params:xml:ns:caldav}calendar-availability",
    "{http://calendarserver.org/ns/}calendar-availability",
)
"""The standard's name, and the one Apple's clients used before it."""


def read_property(session: Session, principal_id: str) -> str | None:
    """Return the property's text, None where there are no hours."""
    found = find_week(session, principal_id)
    if found is None or found.text is not None:
        return found.text if found is not None else None
    uid = f"{principal_id}-hours"
    return write_week(found.week, uid=uid, stamp=found.updated_at).decode()
