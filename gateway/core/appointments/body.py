"""The iCalendar body of what the API makes: one event with UTC times, and changes to one."""

from collections.abc import Iterator, Mapping

from gateway.core.errors import Conflict
from gateway.core.ical.lines import escape_text, fold, split_line, unfold
from gateway.core.ical.values import format_utc
from gateway.core.intervals import Interval

PRODID = "-//icloud-caldav-gateway//EN"
_REPEATS = ("RRULE", "RDATE", "RECURRENCE-ID")
_TIMES = ("DTSTART", "DTEND", "DURATION")


def write_event(
    uid: str,
    span: Interval,
    title: str,
    *,
    now: int,
    texts: Mapping[str, str] | None = None,
    extra: tuple[str, ...] = (),
) -> bytes:
    """Write a new event; ``span`` is UTC epoch seconds, ``texts`` maps property to plain text.

    ``extra`` are whole content lines.
    """
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:{PRODID}",
        "BEGIN:VEVENT",
        f"UID:{uid}",
        f"DTSTAMP:{format_utc(now)}",
        f"CREATED:{format_utc(now)}",
        *_span_lines(span),
        f"SUMMARY:{escape_text(title)}",
        *(f"{name}:{escape_text(text)}" for name, text in (texts or {}).items() if text),
        *extra,
        "SEQUENCE:0",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return b"".join(map(fold, lines))


def change_event(
    body: bytes, *, now: int, span: Interval | None = None, title: str | None = None
) -> bytes:
    """Change time or title of an event and leave everything else as it is.

    Raises :class:`Conflict` ``appointment-recurring`` when the time of a series is to change:
    one start and one end do not say what becomes of the other instances.
    """
    lines = [line for line in unfold(body).split("\n") if line]
    if span is not None and _is_series(lines):
        raise Conflict(
            "This appointment repeats; change its times over CalDAV.", code="appointment-recurring"
        )
    return b"".join(map(fold, _changed(lines, now, span, title)))


def _is_series(lines: list[str]) -> bool:
    """Tell whether an event repeats; a VTIMEZONE has rules of its own."""
    inside = False
    for line in lines:
        name = _name(line)
        if name in ("BEGIN", "END") and line.partition(":")[2].strip().upper() == "VEVENT":
            inside = name == "BEGIN"
        elif inside and name in _REPEATS:
            return True
    return False


def _changed(lines: list[str], now: int, span: Interval | None, title: str | None) -> Iterator[str]:
    """Walk the lines; properties of a VEVENT itself are changed, those of its alarms are not."""
    replaced = {"DTSTAMP", "LAST-MODIFIED", "SEQUENCE"}
    replaced |= set(_TIMES) if span is not None else set()
    replaced |= {"SUMMARY"} if title is not None else set()
    path: list[str] = []
    sequence = 0
    for line in lines:
        name = _name(line)
        if name == "BEGIN":
            path.append(line.partition(":")[2].strip().upper())
            sequence = 0 if path[-1] == "VEVENT" else sequence
        elif name == "END":
            if path and path.pop() == "VEVENT":
                yield from _new_lines(now, span, title, sequence + 1)
        elif path and path[-1] == "VEVENT" and name in replaced:
            if name == "SEQUENCE":
                sequence = _number(line)
            continue
        yield line


def _new_lines(now: int, span: Interval | None, title: str | None, sequence: int) -> Iterator[str]:
    yield f"DTSTAMP:{format_utc(now)}"
    yield f"LAST-MODIFIED:{format_utc(now)}"
    yield f"SEQUENCE:{sequence}"
    if span is not None:
        yield from _span_lines(span)
    if title is not None:
        yield f"SUMMARY:{escape_text(title)}"


def _span_lines(span: Interval) -> Iterator[str]:
    yield f"DTSTART:{format_utc(span[0])}"
    yield f"DTEND:{format_utc(span[1])}"


def _name(line: str) -> str:
    found = split_line(line)
    return found.name if found is not None else ""


def _number(line: str) -> int:
    text = line.rpartition(":")[2].strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
