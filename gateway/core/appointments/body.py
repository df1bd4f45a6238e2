"""The iCalendar body of what the API makes: one event with UTC times, and changes to one."""

from collections.abc import Mapping

from gateway.core.errors import StateConflict
from gateway.core.ical.compose import Draft, compose, utc
from gateway.core.ical.document import Component, parse, write
from gateway.core.ical.lines import Property, escape_text
from gateway.core.ical.values import format_utc
from gateway.core.intervals import Interval

_REPEATS = frozenset(("RRULE", "RDATE", "RECURRENCE-ID"))
_TIMES = frozenset(("DTSTART", "DTEND", "DURATION"))
_STAMPS = frozenset(("DTSTAMP", "LAST-MODIFIED", "SEQUENCE"))


def write_event(
    uid: str,
    span: Interval,
    title: str,
    *,
    now: int,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """Write a new event; ``span`` is UTC epoch seconds, ``texts`` maps property to plain text."""
    event = Draft(
        "VEVENT",
        [
            ("UID", uid),
            ("DTSTAMP", utc(now)),
            ("CREATED", utc(now)),
            ("DTSTART", utc(span[0])),
            ("DTEND", utc(span[1])),
            ("SUMMARY", title),
            *((name, text) for name, text in (texts or {}).items() if text),
            ("SEQUENCE", 0),
        ],
    )
    return compose(event)


def change_event(
    body: bytes, *, now: int, span: Interval | None = None, title: str | None = None
) -> bytes:
    """Change time or title of an event and leave everything else as it is, byte for byte.

    A body whose line ends are not those of RFC 5545 is written anew. Raises :class:`StateConflict`
    ``appointment-recurring`` when the time of a series is to change: one start and one end do not
    say what becomes of the other instances.
    """
    document = parse(body)
    events = [
        part for top in document.children for part in (top, *top.children) if part.name == "VEVENT"
    ]
    if span is not None and any(_REPEATS & event.properties.keys() for event in events):
        raise StateConflict(
            "This appointment repeats; change its times over CalDAV.", code="appointment-recurring"
        )
    for event in events:
        _change(event, now, span, title)
    return write(document, strict=body.count(b"\n") != body.count(b"\r\n"))


def _change(event: Component, now: int, span: Interval | None, title: str | None) -> None:
    """Change an event's own properties; its alarms have some of the same names."""
    sequence = _number(event.text("SEQUENCE"))
    event.drop(
        _STAMPS | (_TIMES if span else set()) | ({"SUMMARY"} if title is not None else set())
    )
    event.add(
        Property("DTSTAMP", "", format_utc(now)),
        Property("LAST-MODIFIED", "", format_utc(now)),
        Property("SEQUENCE", "", str(sequence + 1)),
    )
    if span is not None:
        event.add(
            Property("DTSTART", "", format_utc(span[0])), Property("DTEND", "", format_utc(span[1]))
        )
    if title is not None:
        event.add(Property("SUMMARY", "", escape_text(title)))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
