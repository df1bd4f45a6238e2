"""From when to when an object can possibly be: what a time-range query is answered from.

iCloud finds masters that began long before the window; so the span of a recurring object runs
from its first start to the end of its rule, and a query finds every object whose span touches
the window. That is a superset of what RFC 4791 section 9.9 wants, on purpose.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from gateway.lookalike.world.ical import (
    Component,
    MalformedBodyError,
    is_date,
    param_of,
    parse_body,
    parse_moment,
    value_of,
)

ALWAYS = (float("-inf"), float("inf"))
_DURATION = re.compile(r"([+-]?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$")
_SLACK = 14 * 3600.0
_COUNT_LIMIT = 5000
_PLAIN = {"FREQ", "COUNT", "INTERVAL", "BYDAY", "WKST"}


def span_of(data: bytes) -> tuple[float, float]:
    """Return (start, end) in UTC seconds; everything that cannot be understood is `ALWAYS`."""
    try:
        parts = parse_body(data).parts("VEVENT")
        spans = [_component_span(part) for part in parts]
    except (MalformedBodyError, ValueError, KeyError, OverflowError, TypeError):
        return ALWAYS
    if not spans:
        return ALWAYS
    return min(start for start, _ in spans), max(end for _, end in spans)


def _component_span(part: Component) -> tuple[float, float]:
    line = part.find_line("DTSTART")
    if line is None:
        return ALWAYS
    start, slack = _instant(line)
    length = _length(part, line)
    last = max([start, *_rdates(part), *_rule_ends(part, line, start)])
    return start - slack, last + length + slack


def _instant(line: str, value: str | None = None) -> tuple[float, float]:
    """Return UTC seconds and how far off they can be (floating times, unknown zones)."""
    text = value if value is not None else value_of(line)
    moment = parse_moment(text)
    if text.strip().endswith(("Z", "z")):
        return moment.replace(tzinfo=UTC).timestamp(), 0.0
    zone = param_of(line, "TZID")
    if zone and not is_date(line):
        try:
            return moment.replace(tzinfo=ZoneInfo(zone)).timestamp(), 0.0
        except (KeyError, ValueError, OSError):
            pass
    return moment.replace(tzinfo=UTC).timestamp(), _SLACK


def _length(part: Component, start_line: str) -> float:
    end = part.find_line("DTEND")
    if end is not None:
        return max(0.0, _instant(end)[0] - _instant(start_line)[0])
    duration = part.find_value("DURATION")
    if duration is not None:
        return parse_duration(duration).total_seconds()
    return 86400.0 if is_date(start_line) else 0.0


def parse_duration(value: str) -> timedelta:
    """Read an RFC 5545 duration; raises ValueError."""
    match = _DURATION.match(value.strip())
    if match is None:
        raise ValueError(value)
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -length if match[1] == "-" else length


def _rdates(part: Component) -> Iterator[float]:
    for line in part.all_lines("RDATE"):
        for value in value_of(line).split(","):
            yield _instant(line, value.partition("/")[0])[0]


def _rule_ends(part: Component, start_line: str, start: float) -> Iterator[float]:
    for rule in (value_of(line) for line in part.all_lines("RRULE")):
        keys = dict(item.upper().split("=", 1) for item in rule.split(";") if "=" in item)
        if "UNTIL" in keys:
            yield parse_moment(keys["UNTIL"]).replace(tzinfo=UTC).timestamp() + 86400.0
        elif "COUNT" in keys and keys.keys() <= _PLAIN and keys["FREQ"] == "WEEKLY":
            # at least one instance in every week that counts, so never later than this
            yield start + int(keys["COUNT"]) * int(keys.get("INTERVAL", "1")) * 7 * 86400.0
        elif "COUNT" in keys and int(keys["COUNT"]) <= _COUNT_LIMIT:
            first = parse_moment(value_of(start_line))
            last: datetime = list(rrulestr(rule, dtstart=first))[-1]
            yield start + (last - first).total_seconds() + 3600.0
        else:
            yield float("inf")
