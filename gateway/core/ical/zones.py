"""Time zones: from a TZID to a rule for offsets, never by guessing an offset.

A name is looked up as IANA name, then in the alias tables (Windows and Rails names, names with a
maker's prefix), then as the VTIMEZONE of the same object, last as an IANA name in other letters, a
name that *is* an offset (``GMT+05:00``), or one as people are shown it (``(UTC+01:00) Amsterdam,
Berlin``). Names that are no places (``GMT``, ``EST``) are what the object's VTIMEZONE says, if it
has one: writers use them for clocks that do change. What stays unresolved is unknown; the caller
must say so.

Local times that a clock change skips or repeats follow RFC 5545 3.3.5: a time in the gap is read
with the offset before the gap, a repeated time is its first occurrence.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from gateway.core.ical.reader import ZoneBlock, zone_key
from gateway.core.ical.zone_names import NO_PLACES, OLD_WINDOWS, RAILS

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (a clock face, not an instant)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)

EASTERNMOST = 14 * 3600
"""No zone is further ahead of UTC (Pacific/Kiritimati)."""
WESTERNMOST = 12 * 3600
"""No zone is further behind UTC."""


class Zone(Protocol):
    """Turns clock faces into instants and back; both are epoch seconds."""

    @property
    def name(self) -> str:
        """The IANA name where there is one, else the TZID."""
        ...

    def to_utc(self, wall: int) -> int:
        """Return the instant of a wall time, by RFC 5545 3.3.5 in gaps and folds."""
        ...

    def to_wall(self, instant: int) -> int:
        """Return what a clock shows at an instant."""
        ...


class FixedZone:
    """A constant offset in seconds east of UTC."""

    __slots__ = ("_offset", "name")

    def __init__(self, name: str, offset: int) -> None:
        self.name = name
        self._offset = offset

    def to_utc(self, wall: int) -> int:
        """Wall time minus the offset."""
        return wall - self._offset

    def to_wall(self, instant: int) -> int:
        """Instant plus the offset."""
        return instant + self._offset


class IanaZone:
    """A zone of the tz database."""

    __slots__ = ("info", "name")

    def __init__(self, info: ZoneInfo) -> None:
        self.info = info
        self.name = info.key

    def to_utc(self, wall: int) -> int:
        """``fold=0`` of PEP 495 is RFC 5545 3.3.5 word for word, in gaps and in folds."""
        local = _EPOCH + timedelta(seconds=wall)
        offset = self.info.utcoffset(local)
        assert offset is not None
        return wall - offset.days * 86_400 - offset.seconds

    def to_wall(self, instant: int) -> int:
        """Clock face at an instant."""
        local = (_EPOCH_UTC + timedelta(seconds=instant)).astimezone(self.info)
        offset = local.utcoffset()
        assert offset is not None
        return instant + offset.days * 86_400 + offset.seconds


UTC_ZONE = FixedZone("UTC", 0)

_UTC_NAMES = {"utc", "z", "zulu", "gmt", "etc/utc", "etc/gmt", "tzone://microsoft/utc"}
_NO_ZONES = {"localtime", "factory", "posixrules"}
_OFFSET_NAME = re.compile(r"(?:GMT|UTC)?\s*([+-])(\d{1,2})(?::?([0-5]\d))?$", re.IGNORECASE)


@lru_cache(maxsize=1)
def _iana_names() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    # Imported when first needed: the package costs half of a command's start-up time.
    from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

    found = RAILS | WINDOWS_TO_OLSON | OLD_WINDOWS
    return {name.lower(): iana for name, iana in found.items()}


@lru_cache(maxsize=1024)
def zone_of(info: ZoneInfo) -> IanaZone:
    """Return the zone object of a ZoneInfo."""
    return IanaZone(info)


@lru_cache(maxsize=4096)
def find_named_zone(tzid: str) -> Zone | None:
    """Find a zone by name alone: IANA, Windows, Rails or prefixed; None if no table has it."""
    name = zone_key(tzid)
    if name.lower() in _UTC_NAMES:
        return UTC_ZONE
    candidate = _iana(name) or _aliases().get(name.lower()) or _without_prefix(name)
    return zone_of(ZoneInfo(candidate)) if candidate else None


def _iana(name: str) -> str | None:
    lowered = name.strip("/").lower()
    if lowered in _NO_ZONES or lowered.startswith(("posix/", "right/")):
        return None
    try:
        return ZoneInfo(name.strip("/")).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _without_prefix(name: str) -> str | None:
    """``/maker.example/20050126_1/Europe/Berlin``: the longest tail that is an IANA name.

    A tail of one word is not enough (``/maker/EST`` may mean anything).
    """
    parts = [part for part in name.split("/") if part]
    for first in range(1, len(parts) - 1):
        found = _iana("/".join(parts[first:]))
        if found:
            return found
    return None


@lru_cache(maxsize=256)
def find_similar_zone(tzid: str) -> Zone | None:
    """Return what a name most likely means when no table and no VTIMEZONE has it.

    An IANA name in other letters (``europe/lisbon``; where the object defines such a name itself,
    it has been seen to mean something else), a name that is an offset (``GMT+05:00``, ``UTC-3``,
    ``+0530``, east is plus as in ISO 8601), or a name as a list shows it, offset before it.
    ``Etc/GMT+5`` never comes here: it is an IANA name, and by POSIX means five hours *behind*.
    """
    name = zone_key(tzid)
    iana = _iana_names().get(name.strip("/").lower())
    if iana is not None and _iana(iana):
        return zone_of(ZoneInfo(iana))
    match = _OFFSET_NAME.match(name)
    if match is None:
        return _shown_zone(name)
    offset = int(match[2]) * 3600 + int(match[3] or 0) * 60
    if offset > EASTERNMOST:
        return None
    return FixedZone(tzid, -offset if match[1] == "-" else offset)


_SHOWN = re.compile(r"\((?:GMT|UTC)(?:([+-])(\d\d):(\d\d))?\)\s*(.+)$", re.IGNORECASE)


def _shown_zone(name: str) -> Zone | None:
    """``(UTC+01:00) Amsterdam, Berlin``: the place, when its clock shows that offset in a year."""
    match = _SHOWN.match(name)
    if match is None:
        return None
    offset = int(match[2] or 0) * 3600 + int(match[3] or 0) * 60
    iana = _aliases().get(match[4].lower()) or _aliases().get(match[4].split(",")[0].lower())
    if iana is None or _iana(iana) is None:
        return None
    zone = zone_of(ZoneInfo(iana))
    shown = {zone.to_wall(instant) - instant for instant in _WINTER_AND_SUMMER}
    return zone if (-offset if match[1] == "-" else offset) in shown else None


_WINTER_AND_SUMMER = (1_767_225_600, 1_782_864_000)  # 2026-01-01 and 2026-07-01


class ZoneTable:
    """The zones of one calendar object: names first, then its own VTIMEZONE blocks."""

    def __init__(
        self,
        own: Zone,
        blocks: dict[str, ZoneBlock],
        read_block: Callable[[str, ZoneBlock], Zone | None],
    ) -> None:
        """``own`` is the principal's zone, ``blocks`` maps TZID to a VTIMEZONE."""
        self.own = own
        self._blocks = blocks
        self._read_block = read_block
        self._found: dict[str, Zone | None] = {}

    def find(self, tzid: str) -> Zone | None:
        """Return the zone of a TZID, or None when it is unknown."""
        if tzid not in self._found:
            own_first = zone_key(tzid).lower() in NO_PLACES
            self._found[tzid] = (
                (self._from_block(tzid) if own_first else None)
                or find_named_zone(tzid)
                or self._from_block(tzid)
                or find_similar_zone(tzid)
            )
        return self._found[tzid]

    def _from_block(self, tzid: str) -> Zone | None:
        block = self._blocks.get(zone_key(tzid))
        return self._read_block(tzid, block) if block is not None else None
