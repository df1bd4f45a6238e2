"""A whole calendar as one file (GET on a calendar): the objects as they are, zones once.

Radicale's own joins CRLF lines alone and keeps the first of two zones that share a name, so an
object with bare LF would be lost and one with a zone of its own would move.
"""

from collections.abc import Iterable

from gateway.core.ical.document import new_calendar, outline, write
from gateway.core.ical.lines import Property, escape_text


def export(texts: Iterable[str], *, name: str, description: str | None) -> str:
    """Join calendar objects; one whose zone contradicts an earlier one follows by itself."""
    zones: dict[str, str] = {}
    parts: list[str] = []
    alone: list[str] = []
    for text in texts:
        blocks = outline(text.replace("\r\n", "\n").replace("\r", "\n"))
        own = {_tzid(block): block for kind, block in blocks if kind == "VTIMEZONE"}
        if any(zones.get(tzid, block) != block for tzid, block in own.items()):
            alone.append(text)
            continue
        zones.update(own)
        parts += [block for kind, block in blocks if kind != "VTIMEZONE"]
    titles = (("X-WR-CALNAME", name), ("X-WR-CALDESC", description or ""))
    shown = (Property(key, "", escape_text(value)) for key, value in titles if value)
    frame = new_calendar(*shown)
    frame.end = None
    lines = "\n".join([*zones.values(), *parts, "END:VCALENDAR", ""]).replace("\n", "\r\n")
    whole = write(frame).decode() + lines
    return whole + "".join(text if text.endswith("\n") else f"{text}\r\n" for text in alone)


def _tzid(block: str) -> str:
    return next((line for line in block.split("\n") if line[:4].upper() == "TZID"), "")
