"""One iCalendar document as a tree: parse it, change it, write it (RFC 5545 3.4 and 3.6).

Everything here that must know what stands inside what uses this nesting. Real bodies lose an END
now and then, so it recovers: a component that can be an object begins at its BEGIN wherever that
stands, an END that ends nothing is ignored, and nothing is open deeper than :data:`MAX_DEPTH`.

Reading never raises, whatever the body is, and costs no more than its length.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise, repeat
from typing import Union

from gateway.core.ical.lines import Property, fold, split_line, unfold

PRODID = "-//icloud-caldav-gateway//EN"
VERSION = "2.0"

OBJECT_COMPONENTS = ("VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY")
_OBJECTS = frozenset(OBJECT_COMPONENTS)

MAX_DEPTH = 16
"""Deeper nesting is noise; without a bound, closing it would cost the square of its depth."""

_NAME = re.compile(r"[ \t]*([A-Za-z0-9-]+)")
MAX_SHARED = 8192
"""Characters of a VTIMEZONE that is read once for many documents."""

_ZONE = re.compile(r"\nBEGIN:VTIMEZONE\n(?:(?!BEGIN:V)[^\n]*+\n)*?END:VTIMEZONE(?=\n)")
_LINE_END = re.compile(rb"\n(?![ \t])")
_OF_ZONES = {"VTIMEZONE", "STANDARD", "DAYLIGHT"}
_OUTSIDE: tuple[list[str], ...] = ([], ["VCALENDAR"])
_EDGE = re.compile(r"\n(BEGIN|END):([^\n]*)", re.IGNORECASE)


@dataclass(slots=True)
class Component:
    """A component: its properties by name, and all that stands in it in order.

    ``content`` holds properties, components, and the text of lines that are neither; ``sources``
    the bytes each was read from, or nothing where they were not kept. ``begin`` and ``end`` are
    the bytes of these two lines, empty for our own; ``end`` is None when there is none.
    ``closed`` is false when its END never came, or came while a part of it was open (a truncated
    body). ``broken`` holds the lines of properties that could not be taken apart, by name.
    """

    name: str
    properties: dict[str, list[Property]] = field(default_factory=dict)
    closed: bool = False
    broken: dict[str, str] = field(default_factory=dict)
    content: list[Union[Property, str, "Component"]] = field(default_factory=list)
    sources: list[bytes] = field(default_factory=list)
    begin: bytes = b""
    end: bytes | None = None

    @property
    def children(self) -> list["Component"]:
        """The components inside it, in order."""
        return [item for item in self.content if isinstance(item, Component)]

    def first(self, name: str) -> Property | None:
        """Return the first property of a name, or None."""
        found = self.properties.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Property]:
        """Every property of a name, in order."""
        return self.properties.get(name, [])

    def text(self, name: str) -> str:
        """Return the stripped value of the first property of a name, or an empty string."""
        found = self.properties.get(name)
        return found[0].value.strip() if found else ""

    def add(self, *properties: Property) -> None:
        """Append properties of our own."""
        for prop in properties:
            self.properties.setdefault(prop.name, []).append(prop)
        self.keep(*properties)

    def keep(self, *items: Union[Property, str, "Component"], source: bytes = b"") -> None:
        """Append to the content alone; ``source`` is what all of it was read from."""
        if source or self.sources:
            self.sources += [b""] * (len(self.content) - len(self.sources))
            self.sources += [source] * len(items)
        self.content += items

    def drop(self, names: Collection[str]) -> None:
        """Remove all properties of these names; what is nested keeps its own."""
        old, self.content, sources, self.sources = self.content, [], self.sources, []
        for number, item in enumerate(old):
            if not isinstance(item, Property) or item.name not in names:
                self.keep(item, source=sources[number] if sources else b"")
        for name in names:
            self.properties.pop(name, None)


def new_component(name: str, *properties: Property) -> Component:
    """Make a component of our own."""
    made = Component(name, closed=True, end=b"")
    made.add(*properties)
    return made


def new_calendar(*properties: Property, product: Property | None = None) -> Component:
    """Make an empty VCALENDAR; ``product`` is somebody else's PRODID that is to stay."""
    frame = (Property("VERSION", "", VERSION), product or Property("PRODID", "", PRODID))
    return new_component("VCALENDAR", *frame, *properties)


# --- reading ---


class Nesting:
    """Which components are open, by name, and the rules by which they open and close."""

    __slots__ = ("object", "open")

    def __init__(self) -> None:
        self.open: list[str] = []
        self.object = 0
        """How many are open with the event or the like that is open; 0 when none is."""

    def begin(self, name: str) -> bool:
        """Open a component, as the last of ``open``; False when it is too deep or has no name."""
        if not name:
            return False
        if name in _OBJECTS or (name == "VTIMEZONE" and not self.object):
            del self.open[1 if self.open[:1] == ["VCALENDAR"] else 0 :]
            self.object = 0 if name == "VTIMEZONE" else len(self.open) + 1
        elif name == "VCALENDAR" and not self.object:
            self.open.clear()
        elif len(self.open) - self.object >= MAX_DEPTH:
            return False
        self.open.append(name)
        return True

    def end(self, name: str) -> int:
        """Close the innermost component of a name with all it holds.

        Returns its place in ``open``, -1 when none is open that this may end: what is inside an
        event cannot end what the event is inside of, but for the calendar.
        """
        place = len(self.open) - 1
        lowest = self.object - 1 if self.object else 0
        while place >= lowest and self.open[place] != name:
            place -= 1
        if place < lowest:
            if name != "VCALENDAR" or self.open[:1] != [name]:
                return -1
            place = 0
        del self.open[place:]
        if place < self.object:
            self.object = 0
        return place


class _Tree:
    """Components as they open and close, each inside the one that is open."""

    __slots__ = ("_nesting", "_open", "current")

    def __init__(self) -> None:
        self._nesting = Nesting()
        self.current = Component("")
        self._open = [self.current]

    @property
    def root(self) -> Component:
        return self._open[0]

    def edge(self, edge: str, name: str, source: bytes = b"") -> bool:
        """Let a component BEGIN or END; False when nothing does."""
        return self._begin(name, source) if edge == "BEGIN" else self._end(name, source)

    def take(self, name: str, text: str) -> bool:
        """Take a component whole, read from its text; False where it would be a part of an event.

        Then, as when it is long, it is to be read line by line.
        """
        shared = None if self._nesting.object or len(text) > MAX_SHARED else _shared(text)
        if shared is None:
            return False
        self._begin(name, b"")
        self._end(name, b"")
        self.current.content[-1] = shared
        return True

    def _begin(self, name: str, source: bytes) -> bool:
        if not self._nesting.begin(name):
            return False
        del self._open[len(self._nesting.open) :]
        self.current = Component(name, begin=source)
        self._open[-1].keep(self.current)
        self._open.append(self.current)
        return True

    def _end(self, name: str, source: bytes) -> bool:
        place = self._nesting.end(name) + 1
        if not place:
            return False
        ended = self._open[place]
        ended.closed = place == len(self._open) - 1
        ended.end = source
        del self._open[place:]
        self.current = self._open[-1]
        return True


def parse(body: bytes) -> Component:
    """Read a body as a nameless component that holds its calendars; never raises.

    Written again unchanged it is the same bytes, unless it is UTF-16 or has bare CRs as line ends.
    """
    texts = unfold(body).split("\n")
    edges = [0, *(end.end() for end in _LINE_END.finditer(body)), len(body)]
    sources = [body[start:stop] for start, stop in pairwise(edges)]
    tree = _Tree()
    _read(tree, zip(texts, sources if len(sources) == len(texts) else repeat(b""), strict=False))
    return tree.root


def read_text(text: str) -> Component:
    """Like :func:`parse` for unfolded text: to be looked at, or written anew.

    A VTIMEZONE may be one that other documents hold too, so nobody changes it.
    """
    tree = _Tree()
    text = f"\n{text}\n"
    position = 0
    for zone in _ZONE.finditer(text):
        _read(tree, _lines(text[position : zone.start()]))
        position = zone.start()
        if tree.take("VTIMEZONE", zone[0]):
            position = zone.end()
    _read(tree, _lines(text[position:]))
    return tree.root


def _lines(text: str) -> Iterable[tuple[str, bytes]]:
    return zip(text.split("\n"), repeat(b""), strict=False)


@lru_cache(maxsize=64)
def _shared(text: str) -> Component | None:
    """Read the text of one VTIMEZONE; the zones of a calendar are the same again and again.

    None where something else begins or ends in it, which may end what the zone is inside of.
    """
    if {edge[2].strip().upper() for edge in _EDGE.finditer(f"\n{text}")} - _OF_ZONES:
        return None
    tree = _Tree()
    _read(tree, _lines(text))
    return tree.root.children[0]


def _read(tree: _Tree, lines: Iterable[tuple[str, bytes]]) -> None:
    current = tree.current
    for text, source in lines:
        prop = split_line(text)
        if prop is None:
            _keep_broken(current, text)
        elif prop.name not in ("BEGIN", "END"):
            current.properties.setdefault(prop.name, []).append(prop)
        elif tree.edge(prop.name, name_in(text), source):
            current = tree.current
            continue
        if source:
            current.keep(text if prop is None else prop, source=source)
        elif text:
            current.content.append(text if prop is None else prop)


def outline(text: str) -> list[tuple[str, str]]:
    """Find what stands directly in the calendars of a body: names, and texts without line end.

    The text may be folded, with LF as line ends; what never ends is left out.
    """
    text = f"\n{text}"
    found: list[tuple[str, str]] = []
    nesting = Nesting()
    start = 0
    for edge in _EDGE.finditer(text):
        name = edge[2].strip().upper()
        if edge[1].upper() == "BEGIN":
            if nesting.begin(name) and nesting.open[:-1] in _OUTSIDE:
                start = edge.start() + 1
        elif nesting.end(name) >= 0 and nesting.open in _OUTSIDE and name != "VCALENDAR":
            found.append((name, text[start : edge.end()]))
    return found


def name_in(line: str) -> str:
    """Return the component that a BEGIN or END names, in upper case."""
    return line.partition(":")[2].strip().upper()


def keep_property(component: Component, line: str) -> None:
    """Note the property of a line, or that it cannot be taken apart."""
    prop = split_line(line)
    if prop is None:
        _keep_broken(component, line)
    else:
        component.properties.setdefault(prop.name, []).append(prop)


def _keep_broken(component: Component, line: str) -> None:
    match = _NAME.match(line)
    # In other letters it is prose: "Duration of the talk".
    if match is not None and match[1] == match[1].upper():
        component.broken[match[1]] = line


# --- writing ---


def write(component: Component, *, strict: bool = False) -> bytes:
    """Write a component with all that it holds; a nameless one is its content alone.

    What was not changed stays as it was read, byte for byte. ``strict`` folds every line anew,
    with CRLF, and leaves out what is none. A component that never ended does not end here either.
    """
    pieces: list[bytes] = []
    _write(component, strict, pieces)
    for number, piece in enumerate(() if strict else pieces[:-1]):
        if piece[-1:] != b"\n":  # the last line of a body may have had no line end
            pieces[number] = piece + b"\r\n"
    return b"".join(pieces)


def _write(component: Component, strict: bool, pieces: list[bytes]) -> None:
    if component.name:
        source = b"" if strict else component.begin
        pieces.append(source or fold(f"BEGIN:{component.name}"))
    sources = [] if strict else component.sources
    for number, item in enumerate(component.content):
        if isinstance(item, Component):
            _write(item, strict, pieces)
        elif sources and sources[number]:
            pieces.append(sources[number])
        elif isinstance(item, Property):
            pieces.append(fold(item.line()))
        elif not strict and item.strip():
            pieces.append(fold(item))
    if component.name and component.end is not None:
        source = b"" if strict else component.end
        pieces.append(source or fold(f"END:{component.name}"))


def text_of(component: Component) -> str:
    """Return the unfolded text of a component, without a line end."""
    lines = [f"BEGIN:{component.name}"]
    for item in component.content:
        if isinstance(item, Component):
            lines.append(text_of(item))
        else:
            lines.append(item.line() if isinstance(item, Property) else item)
    if component.end is not None:
        lines.append(f"END:{component.name}")
    return "\n".join(lines)


def changed(component: Component, change: Callable[[Property], Property]) -> Component:
    """Return a component anew, with every property in it as ``change`` returns it."""
    made = new_component(component.name)
    for item in component.content:
        if isinstance(item, Component):
            made.keep(changed(item, change))
        elif isinstance(item, Property):
            made.add(change(item))
    return made
