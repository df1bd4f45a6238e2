"""A whole calendar as one file (GET on a calendar): the objects as they are, zones once.

Radicale's own joins CRLF lines alone and keeps the first of two zones that share a name, so an
object with bare LF would be lost and one with a zone of its own would move.
"""

import re
from collections.abc import Iterable

from gateway.core.ical.lines import escape_text, fold

_LINE_END = re.compile("\r\n|\r|\n")
_PRODID = "-//icloud-caldav-gateway//EN"


def export(texts: Iterable[str], *, name: str, description: str | None) -> str:
    """Join calendar objects; one whose zone contradicts an earlier one follows by itself."""
    zones: dict[str, list[str]] = {}
    parts: list[str] = []
    alone: list[str] = []
    for text in texts:
        blocks = _blocks(text)
        own = {_tzid(block): block for block in blocks if _is_zone(block)}
        if any(zones.get(tzid, block) != block for tzid, block in own.items()):
            alone.append(text)
            continue
        zones.update(own)
        parts += [line for block in blocks if not _is_zone(block) for line in block]
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{_PRODID}"]
    titles = [("X-WR-CALNAME", name), ("X-WR-CALDESC", description or "")]
    shown = [fold(f"{key}:{escape_text(value)}").decode() for key, value in titles if value]
    lines = [*(line for zone in zones.values() for line in zone), *parts, "END:VCALENDAR"]
    whole = "".join([*(f"{line}\r\n" for line in head), *shown, *(f"{x}\r\n" for x in lines)])
    return whole + "".join(text if text.endswith("\n") else f"{text}\r\n" for text in alone)


def _blocks(text: str) -> list[list[str]]:
    """Return the components of an object, each as its lines, folded as they are."""
    blocks: list[list[str]] = []
    depth = 0
    for line in _LINE_END.split(text):
        key = line.rstrip().upper()  # a line that begins with a blank continues another
        depth += key.startswith("BEGIN:")
        if depth >= 2:
            if depth == 2 and key.startswith("BEGIN:"):
                blocks.append([])
            blocks[-1].append(line)
        depth -= key.startswith("END:")
    return blocks


def _is_zone(block: list[str]) -> bool:
    return block[0].rstrip().upper() == "BEGIN:VTIMEZONE"


def _tzid(block: list[str]) -> str:
    return next((line for line in block if line.upper().startswith("TZID")), "")
