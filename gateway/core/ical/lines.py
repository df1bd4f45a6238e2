"""iCalendar text as lines: unfold, split, fold (RFC 5545 3.1), forgiving on the way in.

What real calendars contain and this module survives: a byte order mark, UTF-16, LF or CR line
ends, folds inside a UTF-8 character, control characters, blanks around names, an unquoted colon in
a parameter (``TZID=GMT+05:00``). What it writes is strict: CRLF, folded at 75 octets.
"""

import codecs
import re
from typing import NamedTuple

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_FOLD = re.compile(rb"\n[ \t]")
# name *(;param) : value, with quoted parameter values that may hold colons
_LINE = re.compile(r'\s*([A-Za-z0-9-]+)\s*((?:;(?:[^":]|"[^"]*")*)?):(.*)', re.DOTALL)
_PARAMETER = re.compile(r';\s*([A-Za-z0-9-]+)\s*=\s*("[^"]*"|[^;]*)')


class Property(NamedTuple):
    """One content line: upper-case name, raw parameters (with their ``;``), raw value."""

    name: str
    parameters: str
    value: str

    def parameter(self, name: str) -> str | None:
        """Return the first value of a parameter, unquoted, or None; names are case-blind."""
        if not self.parameters:
            return None
        for found, value in _PARAMETER.findall(self.parameters):
            if found.upper() == name:
                text: str = value.strip()
                return _decode_parameter(text[1:-1] if text[:1] == '"' else text)
        return None

    def line(self) -> str:
        """Return the content line as text, unfolded, without line end."""
        return f"{self.name}{self.parameters}:{self.value}"


_CARETS = {"^^": "^", "^n": "\n", "^'": '"'}


def _decode_parameter(text: str) -> str:
    """Return what a parameter value says (RFC 6868 3.2); another character behind a caret stays."""
    return re.sub(r"\^[\^n']", lambda m: _CARETS[m[0]], text) if "^" in text else text


def encode_parameter(value: str) -> str:
    """Write a text as a parameter value, quoted where needed (RFC 5545 3.2, RFC 6868 3.1)."""
    value = value.replace("^", "^^").replace("\n", "^n").replace('"', "^'")
    return f'"{value}"' if any(mark in value for mark in ":;,") else value


def unfold(body: bytes) -> str:
    """Decode a body into unfolded lines separated by LF; never raises.

    Unfolding happens on bytes, before decoding, because a fold may sit inside a character.
    """
    if body[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        body = body.decode("utf-16", "replace").encode("utf-8", "replace")
    text = join_folds(body).decode("utf-8", "replace")
    return _CONTROL.sub("", text).lstrip("\ufeff")


def join_folds(body: bytes) -> bytes:
    """Return a body in UTF-8 or the like as unfolded lines separated by LF, not yet decoded."""
    if b"\r" in body:
        # A file of bare CRs has those for line ends; else a CR that ends no line is noise.
        body = body.replace(b"\r\n", b"\n") if b"\n" in body else body.replace(b"\r", b"\n")
    if b"\n " in body or b"\n\t" in body:
        body = _FOLD.sub(b"", body)
    return body


_FOLD_INSIDE = re.compile(rb"(?:\r|&#13;|&#[xX][dD];)?\n[ \t](?=[\x80-\xbf])")
_HAS_FOLD_INSIDE = re.compile(rb"\n[ \t][\x80-\xbf]")


def join_characters(data: bytes) -> bytes:
    """Undo the folds that sit inside UTF-8 characters, so that the whole can be decoded.

    RFC 5545 3.1 folds octets, and old writers cut where the 75th is. No character begins with a
    continuation byte, so a fold before one is inside a character, also within an XML answer.
    """
    return _FOLD_INSIDE.sub(b"", data) if _HAS_FOLD_INSIDE.search(data) else data


def split_line(line: str) -> Property | None:
    """Take one unfolded line apart; None when it is no content line at all."""
    match = _LINE.match(line)
    if match is None:
        return None
    return Property(match[1].upper(), match[2], match[3])


def with_last_colon(prop: Property) -> Property | None:
    """Read the line again with its last colon as the separator, or None when it has only one.

    For time values, which hold no colon: some writers leave ``TZID=GMT+05:00`` unquoted.
    """
    if ":" not in prop.value:
        return None
    rest, _, value = f"{prop.parameters}:{prop.value}".rpartition(":")
    return Property(prop.name, rest, value)


def fold(line: str) -> bytes:
    """One content line as bytes: at most 75 octets a piece, never inside a character, CRLF."""
    data = line.encode("utf-8", "replace")
    if len(data) <= 75:
        return data + b"\r\n"
    pieces = []
    start, limit = 0, 75
    while len(data) - start > limit:
        cut = start + limit
        while cut > start + 1 and data[cut] & 0xC0 == 0x80:  # a continuation byte: step back
            cut -= 1
        pieces.append(data[start:cut])
        start, limit = cut, 74  # the leading blank counts
    pieces.append(data[start:])
    return b"\r\n ".join(pieces) + b"\r\n"


def unescape_text(value: str) -> str:
    """Return a TEXT value as people read it (RFC 5545 3.3.11)."""
    if "\\" not in value:
        return value
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], value, flags=re.DOTALL)


def escape_text(value: str) -> str:
    """Return a text as a TEXT value (RFC 5545 3.3.11)."""
    value = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return value.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "")
