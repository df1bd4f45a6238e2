"""Recurrence rules as values: parse an RRULE (RFC 5545 3.3.10). Walking one is ``recurrence``."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.core.ical.values import DAY, Form, Moment, date_in, parse_moment

FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)$")
_LIST_LIMITS = {
    "BYSECOND": (0, 60),
    "BYMINUTE": (0, 59),
    "BYHOUR": (0, 23),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYMONTH": (1, 12),
    "BYSETPOS": (-366, 366),
}
_ZERO_ALLOWED = {"BYSECOND", "BYMINUTE", "BYHOUR"}

Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed RRULE. ``byday`` holds ``(n, weekday)`` with n = 0 for "every" and Monday = 0."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: Moment | None = None
    wkst: int = 0
    byday: tuple[tuple[int, int], ...] = ()
    by: dict[str, Numbers] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """No BY part at all: the rule is a bare step."""
        return not self.by and not self.byday


def parse_rule(value: str) -> Rule:
    """Read an RRULE value; raises ValueError saying which part is wrong.

    Forgiven: lower case, blanks, a trailing semicolon or comma, escapes, a part that is empty or
    comes twice alike, a non-positive COUNT (some writers mean "no limit" by -1), INTERVAL=0,
    unknown X- parts. RFC 7529's RSCALE is understood for the Gregorian calendar.
    """
    parts = _parts(value)
    freq = parts.pop("FREQ", "")
    if freq not in FREQUENCIES:
        raise ValueError("RRULE has no known FREQ")
    if parts.pop("RSCALE", "GREGORIAN") != "GREGORIAN" or parts.pop("SKIP", "OMIT") != "OMIT":
        raise ValueError("RRULE counts in another calendar or moves invalid dates (RFC 7529)")
    count = _positive(parts.pop("COUNT", None), "COUNT", forgive=True)
    until = parts.pop("UNTIL", None)
    return Rule(
        freq=freq,
        interval=_positive(parts.pop("INTERVAL", None), "INTERVAL") or 1,
        count=count,
        until=None if until is None else _until(until),
        wkst=_weekday(parts.pop("WKST", "MO")),
        byday=_byday(parts.pop("BYDAY", None), freq),
        by=_number_lists(parts),
    )


def _parts(value: str) -> dict[str, str]:
    """Return the parts of a rule in upper case; an empty one is as good as absent."""
    parts: dict[str, str] = {}
    for item in value.replace("\\", "").strip().split(";"):
        if not item.strip():
            continue
        name, equals, text = item.partition("=")
        name, text = name.strip().upper(), text.strip(" ,").upper()
        if not equals or parts.get(name, text) != text:
            raise ValueError(f"RRULE part {name[:20]!r} has no value or comes twice")
        if text:
            parts[name] = text
    return parts


_LONGEST_DAYS = {
    "YEARLY": 366,
    "MONTHLY": 31,
    "WEEKLY": 7,
    "DAILY": 1,
    "HOURLY": 1,
    "MINUTELY": 1,
    "SECONDLY": 1,
}


def readable_reach(value: str, start: int, to_wall: Callable[[int], int]) -> int | None:
    """Return the wall time after which no instance of a rule begins; None without a bound.

    For rules that cannot be read as a whole: what still bounds them is a readable UNTIL, or a
    readable COUNT together with FREQ and INTERVAL. ``start`` is the wall time of the first
    instance, ``to_wall`` turns an instant into wall time.
    """
    parts = dict(item.strip().upper().partition("=")[::2] for item in value.split(";"))
    parts = {name.strip(): text.strip(" ,") for name, text in parts.items()}
    reaches = []
    with suppress(ValueError, OverflowError):
        until = _until(parts.get("UNTIL", ""))
        wall = to_wall(until.wall) if until.form is Form.UTC else until.wall
        reaches.append(wall + DAY - 1 if until.form is Form.DATE else wall)
    days = _days_of_count(parts)
    if days is not None:
        reaches.append((start // DAY + days + 1) * DAY - 1)
    return min(reaches, default=None)


def _days_of_count(parts: dict[str, str]) -> int | None:
    """How many days COUNT steps take at the longest; None when that cannot be told."""
    count, interval = parts.get("COUNT", ""), parts.get("INTERVAL", "") or "1"
    if not re.fullmatch(r"\d{1,6}", count) or not int(count):
        return None
    if int(count) == 1:
        return 0
    freq = parts.get("FREQ", "")
    if freq not in _LONGEST_DAYS or not re.fullmatch(r"\d{1,4}", interval):
        return None
    step = max(int(interval), 1)
    by = {name for name in parts if name.startswith("BY")}
    return (int(count) - 1) * _days_of_step(freq, by, step) * step


def _days_of_step(freq: str, by: set[str], step: int) -> int:
    """How many days lie between two instances at the longest, for each unit of INTERVAL.

    A BY part may leave out steps, so one that is there makes every step a year; a leap day comes
    every eight years at the latest. One BY part alone that names days leaves out less: each weekday
    comes every week, each day of a month within four months.
    """
    days = _LONGEST_DAYS[freq]
    if by == {"BYDAY"} and (freq == "WEEKLY" or (freq == "DAILY" and step == 1)):
        return 7
    if freq == "MONTHLY" and step == 1 and by in ({"BYDAY"}, {"BYMONTHDAY"}):
        return 4 * 31
    if days > 28 or by:
        return 8 * 366 if days == 366 else 366
    return days


def _positive(text: str | None, name: str, *, forgive: bool = False) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?\d{1,12}", text):
        raise ValueError(f"RRULE {name} is not a number")
    number = int(text)
    if number > 0:
        return number
    if forgive or number == 0:
        return None
    raise ValueError(f"RRULE {name} is not positive")


def _until(text: str) -> Moment:
    try:
        return parse_moment(text)
    except ValueError:
        day = date_in(text)
        if day is None:
            raise ValueError("RRULE UNTIL is not a date") from None
        return Moment(day * DAY, Form.DATE)  # no such time of day: to the end of that day


def _weekday(text: str) -> int:
    if text not in WEEKDAYS:
        raise ValueError("RRULE WKST is not a weekday")
    return WEEKDAYS.index(text)


def _byday(text: str | None, freq: str) -> tuple[tuple[int, int], ...]:
    """BYDAY items; ordinals mean something only in MONTHLY and YEARLY rules (RFC 5545 3.3.10)."""
    if text is None:
        return ()
    items = []
    for item in filter(None, map(str.strip, text.split(","))):
        match = _BYDAY.match(item)
        if match is None or (match[1] and int(match[1]) == 0):
            raise ValueError("RRULE BYDAY has something that is no weekday")
        ordinal = int(match[1] or 0) if freq in ("MONTHLY", "YEARLY") else 0
        items.append((ordinal, WEEKDAYS.index(match[2])))
    return tuple(dict.fromkeys(items))


def _number_lists(parts: dict[str, str]) -> dict[str, Numbers]:
    result: dict[str, Numbers] = {}
    for name, text in parts.items():
        if name not in _LIST_LIMITS:
            if name.startswith("X-"):
                continue
            raise ValueError(f"RRULE has the unknown part {name[:20]!r}")
        low, high = _LIST_LIMITS[name]
        numbers = set()
        for item in filter(None, map(str.strip, text.split(","))):
            if not re.fullmatch(r"\s*[+-]?\d{1,3}\s*", item):
                raise ValueError(f"RRULE {name} has something that is no number")
            number = int(item)
            if not low <= number <= high or (number == 0 and name not in _ZERO_ALLOWED):
                raise ValueError(f"RRULE {name} has a number out of range")
            numbers.add(number)
        result[name] = tuple(sorted(numbers))
    return result


def format_rule(rule: Rule, until: str | None = None) -> str:
    """Write a rule as an RRULE value; ``until`` is the UNTIL text, in the form of its DTSTART."""
    parts = [f"FREQ={rule.freq}"]
    if rule.interval > 1:
        parts.append(f"INTERVAL={rule.interval}")
    if rule.count is not None:
        parts.append(f"COUNT={rule.count}")
    if until is not None:
        parts.append(f"UNTIL={until}")
    for name, numbers in rule.by.items():
        parts.append(f"{name}={','.join(map(str, numbers))}")
    if rule.byday:
        days = (f"{ordinal or ''}{WEEKDAYS[weekday]}" for ordinal, weekday in rule.byday)
        parts.append(f"BYDAY={','.join(days)}")
    if rule.wkst:
        parts.append(f"WKST={WEEKDAYS[rule.wkst]}")
    return ";".join(parts)
