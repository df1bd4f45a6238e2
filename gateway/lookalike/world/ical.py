"""iCalendar as text: just enough to imitate a server and to edit an event "on the phone".

Nothing here interprets a calendar; it cuts a body into components and unfolded content lines and
puts it together again (RFC 5545 section 3.1). Bytes that are not UTF-8 survive a round trip.
A full parser is avoided on purpose: the imitation must carry bodies no parser accepts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

_UID = re.compile(rb"^UID(?:;[^:\r\n]*)?:([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_KIND = re.compile(rb"^BEGIN:(VEVENT|VTODO|VJOURNAL|VFREEBUSY)\s*$", re.MULTILINE | re.IGNORECASE)
_FOLD = re.compile(rb"\r?\n[ \t]")


class MalformedBodyError(ValueError):
    """The text is not a well-nested iCalendar object."""


@dataclass
class Component:
    """One BEGIN…END block: ``lines`` are unfolded content lines without BEGIN and END."""

    name: str
    lines: list[str] = field(default_factory=list)
    children: list["Component"] = field(default_factory=list)

    def find_line(self, name: str) -> str | None:
        """Return the first content line of that property, or None."""
        return next((line for line in self.lines if name_of(line) == name), None)

    def find_value(self, name: str) -> str | None:
        """Return the raw value of the first such property, or None."""
        line = self.find_line(name)
        return None if line is None else value_of(line)

    def all_lines(self, name: str) -> list[str]:
        """Return every content line of that property, in order."""
        return [line for line in self.lines if name_of(line) == name]

    def drop(self, *names: str) -> None:
        """Remove every content line of the named properties."""
        self.lines = [line for line in self.lines if name_of(line) not in names]

    def set_line(self, line: str) -> None:
        """Replace the first line of the same property in place, or append it."""
        name = name_of(line)
        for index, old in enumerate(self.lines):
            if name_of(old) == name:
                self.lines[index] = line
                return
        self.lines.append(line)

    def walk(self) -> Iterator["Component"]:
        """Yield this component and everything inside it, outermost first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def parts(self, *names: str) -> list["Component"]:
        """Return the direct children with one of the names (all children without names)."""
        return [child for child in self.children if not names or child.name in names]


def name_of(line: str) -> str:
    """Return the upper-case property name of a content line."""
    return line.partition(":")[0].partition(";")[0].upper()


def split_line(line: str) -> tuple[str, str]:
    """Split a content line at the first colon outside quotes into head and value."""
    head, _, value = line.partition(":")
    if '"' not in head:
        return head, value
    quoted = False
    for index, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == ":" and not quoted:
            return line[:index], line[index + 1 :]
    return line, ""


def value_of(line: str) -> str:
    """Return the raw value of a content line."""
    return split_line(line)[1]


def param_of(line: str, name: str) -> str | None:
    """Return one parameter's value without quotes, or None."""
    head, _ = split_line(line)
    for part in re.findall(r';((?:"[^"]*"|[^;"])*)', head):
        key, _, value = part.partition("=")
        if key.strip().upper() == name:
            return str(value).strip('"')
    return None


def unfold(data: bytes) -> list[str]:
    """Return the unfolded, non-empty content lines of a body."""
    text = _FOLD.sub(b"", data).decode("utf-8", "surrogateescape")
    return [line for line in re.split(r"\r?\n", text) if line]


def parse_body(data: bytes) -> Component:
    """Cut a body into its VCALENDAR component; raises MalformedBodyError when it does not nest."""
    stack: list[Component] = []
    root: Component | None = None
    for line in unfold(data):
        name = name_of(line)
        if name == "BEGIN":
            part = Component(value_of(line).strip().upper())
            if stack:
                stack[-1].children.append(part)
            stack.append(part)
        elif name == "END":
            if not stack or stack[-1].name != value_of(line).strip().upper():
                raise MalformedBodyError(line)
            root = stack.pop()
        elif not stack:
            raise MalformedBodyError(line)
        else:
            stack[-1].lines.append(line)
    if stack or root is None or root.name != "VCALENDAR":
        raise MalformedBodyError("no complete VCALENDAR")
    return root


def serialise(component: Component) -> bytes:
    """Return the body with CRLF line ends, folded at 75 octets (RFC 5545 section 3.1)."""
    out: list[bytes] = []
    _serialise_into(component, out)
    return b"\r\n".join(out) + b"\r\n"


def _serialise_into(component: Component, out: list[bytes]) -> None:
    out.append(b"BEGIN:" + component.name.encode())
    out.extend(_folded(line) for line in component.lines)
    for child in component.children:
        _serialise_into(child, out)
    out.append(b"END:" + component.name.encode())


def _folded(line: str) -> bytes:
    raw = line.encode("utf-8", "surrogateescape")
    if len(raw) <= 75:
        return raw
    pieces, start, room = [], 0, 75
    while start < len(raw):
        stop = min(start + room, len(raw))
        while stop < len(raw) and raw[stop] & 0xC0 == 0x80 and stop > start + 1:
            stop -= 1  # never inside a UTF-8 sequence
        pieces.append(raw[start:stop])
        start, room = stop, 74
    return b"\r\n ".join(pieces)


def find_uid(data: bytes) -> str:
    """Return the first UID of a body, or an empty string; works on broken bodies too."""
    match = _UID.search(_FOLD.sub(b"", data) if b"\n " in data or b"\n\t" in data else data)
    return match[1].decode("utf-8", "replace").strip() if match else ""


def find_kind(data: bytes) -> str:
    """Return the first component type of a body, upper case; VEVENT when there is none."""
    match = _KIND.search(data)
    return match[1].decode("ascii").upper() if match else "VEVENT"


def is_date(line: str) -> bool:
    """Tell whether a time property holds a DATE (by its VALUE parameter or its shape)."""
    return param_of(line, "VALUE") == "DATE" or bool(re.fullmatch(r"\d{8}", value_of(line)))


def parse_moment(value: str) -> datetime:
    """Return a DATE or DATE-TIME value as a naive datetime; raises ValueError."""
    text = value.strip().rstrip("Zz")
    shape = "%Y%m%d" if len(text) == 8 else "%Y%m%dT%H%M%S"
    return datetime.strptime(text, shape)  # noqa: DTZ007 - wall time, the zone stays in the line


def format_moment(moment: datetime, like: str) -> str:
    """Render a naive datetime in the shape (DATE, DATE-TIME, UTC) of the value ``like``."""
    if len(like.strip()) == 8:
        return moment.strftime("%Y%m%d")
    return moment.strftime("%Y%m%dT%H%M%S") + ("Z" if like.strip().endswith(("Z", "z")) else "")


def shift_line(line: str, delta: timedelta) -> str:
    """Move every wall time in a time property by ``delta``; the zone stays as it is."""
    head, value = split_line(line)
    moved = [format_moment(parse_moment(part) + delta, part) for part in value.split(",")]
    return f"{head}:{','.join(moved)}"
