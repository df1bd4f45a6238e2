"""From text to the components of an object: what the engine sees of a document.

It is a view of the tree of :mod:`gateway.core.ical.document`, with two prefilters that make it
cheap: lines of properties that carry no time are skipped without being taken apart, and a VTIMEZONE
is kept as text, to be read only when its TZID is no IANA name. ``full=True`` switches the first
one off; tests prove that the results agree.
"""

import re
from dataclasses import dataclass, field

from gateway.core.ical.document import (
    OBJECT_COMPONENTS,
    Component,
    Nesting,
    keep_property,
    name_in,
    read_text,
)
from gateway.core.ical.lines import Property, split_line, unescape_text

TIME_BEARING = (
    "UID",
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXDATE",
    "EXRULE",
    "RECURRENCE-ID",
    "SEQUENCE",
    "DTSTAMP",
    "STATUS",
    "TRANSP",
    "ATTENDEE",
    "ORGANIZER",
    "FREEBUSY",
    "X-APPLE-TRAVEL-DURATION",
    "X-APPLE-TRAVEL-RETURN-DURATION",
    "X-MICROSOFT-CDO-BUSYSTATUS",
)
TEXTS = ("SUMMARY", "X-GATEWAY-KIND")
"""What a write reads beside the times."""


def _lines_of(*names: str) -> re.Pattern[str]:
    return re.compile(
        r"^[ \t]*((?:BEGIN|END)(?=[ \t]*[:;])|" + "|".join(names) + r")(?![A-Za-z0-9-])[^\n]*",
        re.MULTILINE | re.IGNORECASE,
    )


_TIME_LINES = _lines_of(*TIME_BEARING)
_WRITE_LINES = _lines_of(*TIME_BEARING, *TEXTS)


ZoneBlock = str | Component
"""A VTIMEZONE as text, or as a component where the calendar was read in full."""


def zone_components(block: ZoneBlock) -> list[Component]:
    """Return the components of a VTIMEZONE block: one, VTIMEZONE."""
    return [block] if isinstance(block, Component) else read_text(block).children


@dataclass(slots=True)
class RawCalendar:
    """The components of a body, and its VTIMEZONE blocks by TZID.

    ``header`` are the properties of VCALENDAR itself, read in full only.
    """

    components: list[Component] = field(default_factory=list)
    zone_blocks: dict[str, ZoneBlock] = field(default_factory=dict)
    has_calendar: bool = False
    header: dict[str, Property] = field(default_factory=dict)

    def zones(self) -> list[Component]:
        """Its VTIMEZONEs, one for each TZID."""
        return [zone for block in self.zone_blocks.values() for zone in zone_components(block)]


def read_calendar(text: str, *, full: bool = False, texts: bool = False) -> RawCalendar:
    """Read unfolded text (see :func:`gateway.core.ical.lines.unfold`); never raises.

    A component begins at its BEGIN wherever that stands, so a lost END costs one component only.
    ``texts`` keeps :data:`TEXTS` beside the times.
    """
    if full:
        return view_of(read_text(text))
    return _read_lines(text, _WRITE_LINES if texts else _TIME_LINES)


def _read_lines(text: str, lines: re.Pattern[str]) -> RawCalendar:
    nesting, calendar = Nesting(), RawCalendar()
    component: Component | None = None  # whose properties come now
    zone_from = 0
    for match in lines.finditer(text):
        name = match[1].upper()
        if name == "BEGIN":
            if nesting.begin(what := name_in(match[0])):
                component = None
                if what in OBJECT_COMPONENTS:
                    component = Component(what)
                    calendar.components.append(component)
                elif not nesting.object and what == "VTIMEZONE":
                    zone_from = match.start()
                elif not nesting.object and what == "VCALENDAR":
                    calendar.has_calendar = True
        elif name == "END":
            depth = len(nesting.open)
            if (place := nesting.end(what := name_in(match[0]))) >= 0:
                if what in OBJECT_COMPONENTS:
                    calendar.components[-1].closed = place == depth - 1
                elif what == "VTIMEZONE" and not nesting.object:
                    _keep_zone(calendar, text[zone_from : match.end()])
                is_inside = len(nesting.open) == nesting.object > 0
                component = calendar.components[-1] if is_inside else None
        elif component is not None:
            keep_property(component, match[0])
    return calendar


def view_of(root: Component) -> RawCalendar:
    """Look at a document, as :func:`parse` gives it, as the engine does."""
    calendar = RawCalendar()
    calendars = [part for part in root.children if part.name == "VCALENDAR"]
    calendar.has_calendar = bool(calendars)
    for holder in (root, *calendars):
        for name, found in holder.properties.items():
            calendar.header.setdefault(name, found[0])
    for top in root.children:
        for part in top.children if top.name == "VCALENDAR" else [top]:
            if part.name in OBJECT_COMPONENTS:
                calendar.components.append(part)
            elif part.name == "VTIMEZONE" and part.end is not None and "TZID" in part.properties:
                key = zone_key(part.properties["TZID"][0].value)
                calendar.zone_blocks.setdefault(key, part)
    return calendar


def zone_key(tzid: str) -> str:
    """Return a TZID as it is compared: without quotes, blanks and escapes.

    In VTIMEZONE it is TEXT and so escaped (``Amsterdam\\, Berlin``), elsewhere a parameter, where
    some writers escape it all the same (RFC 5545 3.2.19, 3.8.3.1).
    """
    return unescape_text(tzid.strip().strip('"')).strip()


def _keep_zone(calendar: RawCalendar, block: str) -> None:
    for line in block.split("\n"):
        prop = split_line(line)
        if prop is not None and prop.name == "TZID":
            calendar.zone_blocks.setdefault(zone_key(prop.value), block)
            return
