"""VTIMEZONE both ways: read one into a zone, write one for an IANA zone (RFC 5545 3.6.5)."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from gateway.core.ical.document import Component, changed, new_component
from gateway.core.ical.lines import Property, encode_parameter, escape_text
from gateway.core.ical.reader import ZoneBlock, zone_components, zone_key
from gateway.core.ical.rules import WEEKDAYS, parse_rule
from gateway.core.ical.values import (
    DAY,
    Form,
    Period,
    date_of,
    day_number,
    format_moment,
    moment_of,
    moments_of,
    parse_offset,
)
from gateway.core.ical.zones import FixedZone, IanaZone, Zone, ZoneTable, zone_of
from gateway.core.recurrence.budget import BudgetExceededError, WorkBudget
from gateway.core.recurrence.walk import Walk

HORIZON_YEARS = 15
"""How far past the latest time asked for a custom zone's onsets are worked out at once."""


ZONE_CPU_SECONDS = 0.1
"""What one VTIMEZONE may cost: a rule since 1601 takes a hundredth of it."""


class TableZone:
    """A zone read from a VTIMEZONE: onsets with the offsets before and after.

    At a wall time w the offset before an onset holds while ``w < onset + max(before, after)``:
    in a gap that is the RFC's "offset before the gap", in a fold its "first occurrence".
    """

    __slots__ = ("_first", "_instants", "_offsets", "_walls", "name")

    def __init__(self, name: str, onsets: list[tuple[int, int, int]]) -> None:
        """``onsets`` are (UTC seconds, offset before, offset after), in any order, at least one."""
        ordered = sorted(onsets)
        self.name = name
        self._first = ordered[0][1]
        self._instants = [onset for onset, _, _ in ordered]
        self._offsets = [after for _, _, after in ordered]
        self._walls: list[int] = []
        before = self._first
        for onset, _, after in ordered:
            self._walls.append(onset + max(before, after))
            before = after

    def to_utc(self, wall: int) -> int:
        """Return the instant of a wall time."""
        index = bisect_right(self._walls, wall)
        return wall - (self._offsets[index - 1] if index else self._first)

    def to_wall(self, instant: int) -> int:
        """Return what a clock shows at an instant."""
        index = bisect_right(self._instants, instant)
        return instant + (self._offsets[index - 1] if index else self._first)


def read_vtimezone(tzid: str, block: ZoneBlock, latest: int, budget: WorkBudget) -> Zone | None:
    """Return a zone from a VTIMEZONE, good up to the wall time ``latest``.

    None when it has no usable observance or costs more than ``budget`` allows: an unknown zone.
    """
    onsets: list[tuple[int, int, int]] = []
    try:
        observances = _observances(block)
        if len(observances) == 1 and not {"RRULE", "RDATE"} & observances[0].properties.keys():
            return FixedZone(tzid, _offset_to(observances[0]))  # it holds at all times
        for observance in observances:
            onsets += _onsets(observance, latest + HORIZON_YEARS * 366 * DAY, budget)
    except (ValueError, OverflowError, BudgetExceededError):
        return None
    if not onsets:
        return None
    if len(onsets) == 1:
        return FixedZone(tzid, onsets[0][2])
    return TableZone(tzid, onsets)


def _observances(block: ZoneBlock) -> list[Component]:
    """Return the STANDARD and DAYLIGHT parts of a VTIMEZONE."""
    tops = zone_components(block)
    parts = [*tops, *(part for top in tops for part in top.children)]
    return [part for part in parts if part.name in ("STANDARD", "DAYLIGHT")]


def _offset_to(observance: Component) -> int:
    if "TZOFFSETTO" not in observance.properties:
        raise ValueError("an observance without TZOFFSETTO")
    return parse_offset(observance.text("TZOFFSETTO"))


def _onsets(observance: Component, latest: int, budget: WorkBudget) -> list[tuple[int, int, int]]:
    """When one observance begins, each time; raises ValueError when it cannot be understood."""
    for needed in ("DTSTART", "TZOFFSETFROM"):
        if needed not in observance.properties:
            raise ValueError(f"an observance without {needed}")
    before = parse_offset(observance.text("TZOFFSETFROM"))
    after = _offset_to(observance)
    start = moment_of(observance.properties["DTSTART"][0])
    begin = start.wall + before if start.form is Form.UTC else start.wall
    walls = {begin}
    for prop in observance.all("RDATE"):
        for item in moments_of(prop):
            moment = item.start if isinstance(item, Period) else item
            walls.add(moment.wall + before if moment.form is Form.UTC else moment.wall)
    for prop in observance.all("RRULE"):
        rule = parse_rule(prop.value)
        last = latest
        if rule.until is not None:
            until = rule.until.wall + (before if rule.until.form is Form.UTC else 0)
            last = min(last, until + DAY - 1 if rule.until.form is Form.DATE else until)
        walls.update(Walk(rule, begin, budget, date_only=False).between(begin, last))
    return [(wall - before, before, after) for wall in walls]


def object_zones(
    blocks: dict[str, ZoneBlock], own: ZoneInfo, latest: int, budget: WorkBudget
) -> ZoneTable:
    """Return the zone table of one calendar object, for wall times up to ``latest``.

    ``blocks`` are its VTIMEZONEs by TZID, ``own`` is the principal's zone.
    """

    def read(tzid: str, block: ZoneBlock) -> Zone | None:
        granted = WorkBudget(ZONE_CPU_SECONDS)
        before = granted.left
        zone = read_vtimezone(tzid, block, latest, granted)
        budget.spend(before - max(granted.left, 0))
        return zone

    return ZoneTable(zone_of(own), blocks, read)


# -- writing -----------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def transitions(
    info: ZoneInfo, first_year: int, last_year: int
) -> tuple[tuple[int, int, int], ...]:
    """Offset changes of a zone in whole years: (UTC seconds, offset before, offset after)."""
    result = []
    cursor = day_number(first_year, 1, 1) * DAY
    end = day_number(last_year + 1, 1, 1) * DAY
    before = _offset(info, cursor)
    while cursor < end:
        after = _offset(info, cursor + 7 * DAY)
        if after != before:
            low, high = cursor, cursor + 7 * DAY
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(info, middle) == before else (low, middle)
            result.append((high, before, _offset(info, high)))
            cursor, before = high, _offset(info, high)
        else:
            cursor += 7 * DAY
    return tuple(result)


def _offset(info: ZoneInfo, instant: int) -> int:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=instant)
    offset = moment.astimezone(info).utcoffset()
    assert offset is not None
    return offset.days * DAY + offset.seconds


class ZonesWritten:
    """The VTIMEZONEs a body needs: collects zones as times are written, then writes them."""

    def __init__(self, blocks: dict[str, ZoneBlock]) -> None:
        """``blocks`` are the VTIMEZONEs that custom zones were read from, by zone key."""
        self._blocks = blocks
        self._needed: dict[str, tuple[Zone, int, int]] = {}

    def need(self, zone: Zone, wall: int) -> str:
        """Note that a time in ``zone`` was written; returns the TZID as a parameter value."""
        year = date_of(wall // DAY).year
        _, first, last = self._needed.get(zone.name, (zone, year, year))
        self._needed[zone.name] = (zone, min(first, year), max(last, year))
        return encode_parameter(zone.name)

    def components(self) -> list[Component]:
        """All VTIMEZONEs: generated for IANA zones, the object's own for others."""
        result: list[Component] = []
        for tzid, (zone, first, last) in self._needed.items():
            if isinstance(zone, IanaZone):
                result.append(write_vtimezone(zone.info, tzid, first, last))
            elif (block := self._blocks.get(zone_key(tzid))) is not None:
                result += [changed(found, _strict) for found in zone_components(block)]
            else:
                made = new_component("VTIMEZONE", Property("TZID", "", escape_text(tzid)))
                offset = zone.to_wall(0)
                made.keep(_observance("STANDARD", "19700101T000000", offset, offset))
                result.append(made)
        return result


def _strict(prop: Property) -> Property:
    """Write a line of somebody's VTIMEZONE with its offset as RFC 5545 3.3.14 wants it."""
    if prop.name not in ("TZOFFSETFROM", "TZOFFSETTO"):
        return prop
    return prop._replace(value=_format_offset(parse_offset(prop.value)))


@lru_cache(maxsize=256)
def write_vtimezone(info: ZoneInfo, tzid: str, first_year: int, last_year: int) -> Component:
    """Write a VTIMEZONE right from ``first_year`` to ``last_year`` and, where the zone's rule is
    regular, ever after; shared by all callers, so nobody changes it.
    """
    first_year = max(first_year, 1971)
    changes = transitions(info, first_year - 1, max(last_year, first_year) + 3)
    made = new_component("VTIMEZONE", Property("TZID", "", escape_text(tzid)))
    if not changes:
        offset = _offset(info, day_number(first_year, 1, 1) * DAY)
        made.keep(_observance("STANDARD", "19700101T000000", offset, offset))
        return made
    initial = format_moment(day_number(first_year - 1, 1, 1) * DAY)
    made.keep(_observance("STANDARD", initial, changes[0][1], changes[0][1]))
    groups: dict[tuple[int, int], list[int]] = {}
    for onset, before, after in changes:
        groups.setdefault((before, after), []).append(onset + before)
    for (before, after), walls in groups.items():
        kind = "DAYLIGHT" if after > before else "STANDARD"
        repetition = _repetition(walls, last_year + 3)
        made.keep(_observance(kind, format_moment(walls[0]), before, after, *repetition))
    return made


def _observance(kind: str, start: str, before: int, after: int, *more: Property) -> Component:
    return new_component(
        kind,
        Property("DTSTART", "", start),
        Property("TZOFFSETFROM", "", _format_offset(before)),
        Property("TZOFFSETTO", "", _format_offset(after)),
        *more,
    )


def _repetition(walls: list[int], last_year: int) -> list[Property]:
    """Return an RRULE when the onsets fall on the same weekday rule each year, else RDATEs."""
    if len(walls) > 1 and date_of(walls[-1] // DAY).year >= last_year:
        rules = {_yearly(wall) for wall in walls}
        years = [date_of(wall // DAY).year for wall in walls]
        consecutive = years == list(range(years[0], years[0] + len(years)))
        common = set.intersection(*({*rule} for rule in rules)) if consecutive else set()
        times = {wall % DAY for wall in walls}
        if common and len(times) == 1:
            return [Property("RRULE", "", f"FREQ=YEARLY;{min(common)}")]
    return [Property("RDATE", "", format_moment(wall)) for wall in walls[1:]]


def _yearly(wall: int) -> tuple[str, ...]:
    """Return the ways to say this day by weekday: nth of the month, and last where it is that."""
    day = wall // DAY
    when = date_of(day)
    name = WEEKDAYS[when.weekday()]
    ways = [f"BYMONTH={when.month};BYDAY={(when.day - 1) // 7 + 1}{name}"]
    if date_of(day + 7).month != when.month:
        ways.append(f"BYMONTH={when.month};BYDAY=-1{name}")
    return tuple(ways)


def _format_offset(seconds: int) -> str:
    sign = "-" if seconds < 0 else "+"
    minutes, rest = divmod(abs(seconds), 60)
    text = f"{sign}{minutes // 60:02d}{minutes % 60:02d}"
    return f"{text}{rest:02d}" if rest else text
