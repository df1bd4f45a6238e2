"""Merged periods as one VFREEBUSY (RFC 5545 3.6.4), for CalDAV and for the public address.

Written line by line and not with the ``icalendar`` package: an answer may have thousands of
periods, and what each costs is what the report costs (docs/architecture.md has the figures).
"""

from collections.abc import Iterable

from gateway.core.availability.merge import BusyRow, BusyStatus
from gateway.core.ical.document import new_calendar, new_component, write
from gateway.core.ical.lines import Property
from gateway.core.ical.values import format_utc
from gateway.core.intervals import Interval, merge

_FBTYPE_OF: dict[BusyStatus, str] = {
    "busy": "BUSY",
    "unavailable": "BUSY-UNAVAILABLE",
    # RFC 5545 3.2.9: an FBTYPE a client does not know must be treated as BUSY, so say so ourselves.
    "unknown": "BUSY",
    "tentative": "BUSY-TENTATIVE",
}


def render_vfreebusy(
    periods: Iterable[BusyRow],
    window: Interval,
    *,
    uid: str,
    stamp: int,
    organizer: str | None = None,
    attendee: str | None = None,
) -> bytes:
    """Write one VCALENDAR with exactly one VFREEBUSY (RFC 5545 3.6.4, RFC 4791 7.10, R22).

    Periods are UTC ``start/end`` pairs, merged per FBTYPE, the FBTYPE always written; unknown time
    is BUSY here because iCalendar has no word for it. ``stamp`` is the DTSTAMP in epoch seconds,
    ``organizer`` and ``attendee`` are calendar addresses (with ``mailto:``) or None; with an
    attendee it is the answer to a scheduling request (RFC 5546 3.3.3).
    """
    by_type: dict[str, list[Interval]] = {}
    for start, end, status in periods:
        by_type.setdefault(_FBTYPE_OF[status], []).append((start, end))
    answer = new_component(
        "VFREEBUSY",
        Property("UID", "", uid),
        Property("DTSTAMP", "", format_utc(stamp)),
        Property("DTSTART", "", format_utc(window[0])),
        Property("DTEND", "", format_utc(window[1])),
    )
    if organizer:
        answer.add(Property("ORGANIZER", "", organizer))
    if attendee:
        answer.add(Property("ATTENDEE", "", attendee))
    for fbtype in ("BUSY", "BUSY-UNAVAILABLE", "BUSY-TENTATIVE"):
        for start, end in merge(by_type.get(fbtype, ())):
            span = f"{format_utc(start)}/{format_utc(end)}"
            answer.add(Property("FREEBUSY", f";FBTYPE={fbtype}", span))
    calendar = new_calendar(*([Property("METHOD", "", "REPLY")] if attendee else []))
    calendar.keep(answer)
    return write(calendar)
