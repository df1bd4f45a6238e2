"""Whether the times that iCloud holds of an appointment can be the appointment's (R17).

An appointment always blocks. What comes back from a phone without length, in a zone nobody knows
or not to be read at all would block nothing, or anything: then it keeps the time it had.
"""

from dataclasses import replace
from enum import StrEnum

from gateway.core.ical.lines import unfold
from gateway.core.ical.reader import read_calendar
from gateway.core.ical.rules import parse_rule
from gateway.core.ical.values import DAY, Form, moment_of
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import BusyRules, expand
from gateway.core.recurrence.model import Expansion
from gateway.core.status import FBType

LOOKED_AHEAD_S = 3660 * DAY
"""How far is looked for an instance of what has none in the window."""


class Times(StrEnum):
    """What the times of a body amount to."""

    USABLE = "usable"
    EMPTIED = "emptied"
    """No instance is left: the person deleted all of them."""
    UNUSABLE = "unusable"
    """They cannot be read, or an instance has no length."""


def judge_times(body: bytes, window: Interval, rules: BusyRules) -> tuple[Times, Expansion]:
    """Judge the times of an appointment's body; returns its expansion over ``window`` too.

    ``body`` has one event and its overrides, with the words of the appointment.
    """
    rules = replace(rules, always_busy=True)
    expansion = expand(body, window, rules)
    seen = expansion
    if not seen.instances and seen.first_start is not None:
        ahead = (seen.first_start - DAY, seen.first_start + LOOKED_AHEAD_S)
        seen = expand(body, ahead, rules)
    return _judge(seen, body), expansion


def _judge(seen: Expansion, body: bytes) -> Times:
    instances = seen.instances
    if any(one.fbtype == FBType.UNKNOWN for one in instances) and seen.problems:
        return Times.UNUSABLE
    if any(one.end <= one.start for one in instances):
        return Times.UNUSABLE
    if _ends_before_it_begins(body, seen.first_start):
        return Times.EMPTIED
    if any(one.fbtype != FBType.FREE for one in instances) or seen.open_ended:
        return Times.USABLE
    return Times.UNUSABLE if seen.problems else Times.EMPTIED


def _ends_before_it_begins(body: bytes, first_start: int | None) -> bool:
    """Whether all there is is a rule whose UNTIL lies before its start.

    That is how a phone writes a series that was ended before its first instance. RFC 5545 3.8.5.3
    counts DTSTART as an instance all the same; of an appointment nobody means that.
    """
    events = [one for one in read_calendar(unfold(body)).components if one.name == "VEVENT"]
    if len(events) != 1 or events[0].all("RDATE"):
        return False
    start, found = events[0].first("DTSTART"), events[0].all("RRULE")
    if start is None or len(found) != 1:
        return False
    try:
        until, begin = parse_rule(found[0].value).until, moment_of(start).wall
    except (ValueError, OverflowError):
        return False
    if until is None:
        return False
    if until.form is Form.UTC:
        return first_start is not None and until.wall < first_start
    return until.wall + (DAY - 1 if until.form is Form.DATE else 0) < begin
