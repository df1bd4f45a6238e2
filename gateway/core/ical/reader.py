"""From text to components: the one reader of the engine, with the two prefilters.

Prefilters (they are what makes reading cheap): lines of properties that carry no time are skipped
without being taken apart, and a VTIMEZONE is kept as text, to be read only when its TZID is no
IANA name. ``full=True`` switches the first one off; tests prove that the results agree.
"""

import re
from dataclasses import dataclass, field

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
OBJECT_COMPONENTS = ("VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY")

MAX_DEPTH = 16
"""Deeper nesting is noise; without a bound, closing it would cost the square of its depth."""

_TIME_LINES = re.compile(
    r"^[ \t]*(BEGIN|END|" + "|".join(TIME_BEARING) + r")(?![A-Za-z0-9-])[^\n]*",
    re.MULTILINE | re.IGNORECASE,
)
_ALL_LINES = re.compile(r"^[ \t]*([A-Za-z0-9-]+)[^\n]*", re.MULTILINE)


@dataclass(slots=True)
class Component:
    """One VEVENT, VTODO, VJOURNAL, VFREEBUSY or VAVAILABILITY, without what it nests.

    ``closed`` is false when its END never came (a truncated body). ``broken`` holds the lines of
    properties that could not be taken apart, by name. ``nested`` holds the text of alarms and the
    like, when the calendar was read in full.
    """

    name: str
    properties: dict[str, list[Property]] = field(default_factory=dict)
    closed: bool = False
    broken: dict[str, str] = field(default_factory=dict)
    nested: list[str] = field(default_factory=list)

    def first(self, name: str) -> Property | None:
        """The first property of a name, or None."""
        found = self.properties.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Property]:
        """Every property of a name, in order."""
        return self.properties.get(name, [])

    def text(self, name: str) -> str:
        """The stripped value of the first property of a name, or an empty string."""
        found = self.properties.get(name)
        return found[0].value.strip() if found else ""


@dataclass(slots=True)
class RawCalendar:
    """The components of a body, the text of its VTIMEZONE blocks by TZID, and (read in full only)
    the properties of VCALENDAR itself.
    """

    components: list[Component] = field(default_factory=list)
    zone_blocks: dict[str, str] = field(default_factory=dict)
    has_calendar: bool = False
    header: dict[str, Property] = field(default_factory=dict)


def read_calendar(text: str, *, full: bool = False) -> RawCalendar:
    """Read unfolded text (see :func:`gateway.core.ical.lines.unfold`); never raises.

    A component begins at its BEGIN wherever that stands, so a lost END costs one component only.
    """
    reader = _Reader(text, full=full)
    for match in (_ALL_LINES if full else _TIME_LINES).finditer(text):
        name = match[1].upper()
        if name == "BEGIN":
            reader.begin(_named(match[0]), match.start())
        elif name == "END":
            reader.end(_named(match[0]), match.end())
        elif reader.component is not None:
            if not reader.inner:
                _keep_property(reader.component, name, match[0])
        elif full and reader.zone_from < 0:
            prop = split_line(match[0])
            if prop is not None:
                reader.calendar.header.setdefault(name, prop)
    return reader.calendar


def _named(line: str) -> str:
    return line.partition(":")[2].strip().upper()


class _Reader:
    """Where in the nesting the reader stands: in which component, in what inside it."""

    __slots__ = ("_full", "_inner_from", "_text", "calendar", "component", "inner", "zone_from")

    def __init__(self, text: str, *, full: bool) -> None:
        self._text = text
        self._full = full
        self._inner_from = 0
        self.calendar = RawCalendar()
        self.component: Component | None = None
        self.inner: list[str] = []
        self.zone_from = -1

    def begin(self, what: str, position: int) -> None:
        if what in OBJECT_COMPONENTS:
            self.component, self.inner, self.zone_from = Component(what), [], -1
            self.calendar.components.append(self.component)
        elif self.component is not None:
            if not self.inner:
                self._inner_from = position
            if len(self.inner) < MAX_DEPTH:
                self.inner.append(what)
        elif what == "VTIMEZONE":
            self.zone_from = position
        elif what == "VCALENDAR":
            self.calendar.has_calendar = True

    def end(self, what: str, position: int) -> None:
        if self.component is None:
            if what == "VTIMEZONE" and self.zone_from >= 0:
                _keep_zone(self.calendar, self._text[self.zone_from : position])
                self.zone_from = -1
        elif what == self.component.name:
            self.component.closed = not self.inner
            self.component = None
        elif what in self.inner:
            del self.inner[self.inner.index(what) :]
            if self._full and not self.inner:
                self.component.nested.append(self._text[self._inner_from : position])
        elif what == "VCALENDAR":
            self.component = None


def _keep_property(current: Component, name: str, line: str) -> None:
    prop = split_line(line)
    if prop is None:
        if line.lstrip().startswith(name):  # in other letters it is prose: "Duration of the talk"
            current.broken[name] = line
    else:
        current.properties.setdefault(name, []).append(prop)


def zone_key(tzid: str) -> str:
    """A TZID as it is compared: without quotes, blanks and escapes.

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
