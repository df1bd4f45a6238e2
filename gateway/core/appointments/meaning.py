"""Whether two bodies mean the same, and taking over times from iCloud (R17).

iCloud re-serialises what it is given: other property order, zones, defaults, its own PRODID and
stamps. Comparing etags or text would make every push look like a foreign edit.
"""

from zoneinfo import ZoneInfo

from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.document import Component, new_calendar, new_component, write
from gateway.core.ical.lines import Property, unescape_text, unfold
from gateway.core.ical.plain_text import strip_html
from gateway.core.ical.reader import RawCalendar, ZoneBlock, read_calendar
from gateway.core.ical.rules import Rule
from gateway.core.ical.values import DAY, Form, Moment, Period, date_of, day_number, moment_of
from gateway.core.ical.zones import ZoneTable
from gateway.core.recurrence.budget import WorkBudget
from gateway.core.recurrence.event import Event, UnreadableError, read_event
from gateway.core.recurrence.model import BusyRules
from gateway.core.recurrence.vtimezone import object_zones

TIME_PROPERTIES = (
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXDATE",
    "EXRULE",
    "RECURRENCE-ID",
    "X-APPLE-TRAVEL-DURATION",
    "X-APPLE-TRAVEL-RETURN-DURATION",
)
"""What an appointment takes from iCloud when it is changed there."""

LATEST = day_number(2100, 1, 1) * DAY
"""Custom zones are compared by what they say until then."""

_TEXTS = ("SUMMARY", "DESCRIPTION", "LOCATION")
_UTC = ZoneInfo("UTC")

Meaning = dict[object, tuple[object, object]]
"""Per component, by what it replaces (None: the master): its times and its words."""


def same_meaning(a: bytes, b: bytes) -> bool:
    """Whether two bodies agree in times, recurrence, overrides, texts, STATUS and TRANSP.

    UID, stamps, order, folding, defaults written or left out, equal zones under other names, and
    a cancelled override for an EXDATE make no difference. A body that cannot be read equals only
    itself.
    """
    if a == b:
        return True
    first, second = _meaning(a), _meaning(b)
    return first is not None and first == second


def same_times(a: bytes, b: bytes) -> bool:
    """Like :func:`same_meaning` for times, recurrence and overrides alone (R17)."""
    if a == b:
        return True
    first, second = _meaning(a), _meaning(b)
    if first is None or second is None:
        return False
    return {key: times for key, (times, _) in first.items()} == {
        key: times for key, (times, _) in second.items()
    }


def _zones(blocks: dict[str, ZoneBlock]) -> ZoneTable:
    return object_zones(blocks, _UTC, LATEST, WorkBudget(2.0))


def _meaning(body: bytes) -> Meaning | None:
    """Return the meaning of a body; None when it holds no event that can be read, or several."""
    calendar = read_calendar(unfold(body), full=True)
    zones = _zones(calendar.zone_blocks)
    parts = [part for part in calendar.components if part.name == "VEVENT"]
    gone = [original_of(part, zones) for part in parts if _is_cancelled_override(part)]
    result: Meaning = {}
    for part in parts:
        if _is_cancelled_override(part):
            continue
        try:
            event = read_event(part, zones, BusyRules(_UTC))
        except UnreadableError:
            return None
        excluded = [] if event.recurrence_id else gone
        original = original_of(part, zones)
        if original is None and None in result:
            return None  # two events: which one is meant?
        result[original] = (_times(event, zones, excluded), _words(part))
    return result or None


def original_of(part: Component, zones: ZoneTable) -> object:
    """Return what an override replaces, comparable between bodies; None for a master."""
    prop = part.first("RECURRENCE-ID")
    if prop is None:
        return None
    try:
        return _point(moment_of(prop), zones)
    except (ValueError, OverflowError):
        return prop.value


def _point(moment: Moment, zones: ZoneTable) -> tuple[object, int]:
    """Return a time to compare: an instant, or a day or floating clock face as written."""
    if moment.form is Form.UTC:
        return "at", moment.wall
    if moment.form is Form.ZONED:
        zone = zones.find(moment.tzid or "")
        return ("at", zone.to_utc(moment.wall)) if zone else (moment.tzid, moment.wall)
    return moment.form.value, moment.wall


def _times(event: Event, zones: ZoneTable, gone: list[object]) -> object:
    start = event.start_of(event.start)
    written = ("as written", event.start) if event.zone_dependent else ("at", start)
    dates = [
        (_point(item.start, zones), item.end)
        if isinstance(item, Period)
        else (_point(item, zones), None)
        for item in event.rdates
    ]
    return (
        written,
        event.end_of(event.start) - start,
        event.all_day,
        event.zone.name if event.recurring and not event.zone_dependent else None,
        sorted(str(_rule(rule, event)) for rule in event.rules),
        sorted(str(item) for item in {*gone, *(_point(m, zones) for m in event.exdates)}),
        sorted(map(str, dates)),
        event.this_and_future,
        event.travel,
        event.doubt,
        event.broken_tail,
    )


def _rule(rule: Rule, event: Event) -> object:
    """Return a rule with its defaults filled in, so that leaving them out makes no difference."""
    until: object = None
    if rule.until is not None:
        form, wall = rule.until.form, rule.until.wall
        if event.all_day:
            until = wall // DAY
        elif form is Form.UTC:
            until = wall
        else:
            until = event.zone.to_utc(wall + (DAY - 1 if form is Form.DATE else 0))
    byday = rule.byday
    if rule.freq == "WEEKLY" and not byday:
        byday = ((0, date_of(event.start // DAY).weekday()),)
    wkst = rule.wkst if rule.freq == "WEEKLY" and rule.interval > 1 else 0
    by = sorted(rule.by.items())
    return (rule.freq, rule.interval, rule.count, until, sorted(byday), by, wkst)


def _words(part: Component) -> object:
    """Texts without HTML and white space, STATUS and TRANSP with their defaults."""
    texts = []
    for name in _TEXTS:
        text = unescape_text(part.text(name))
        texts.append(" ".join((strip_html(text) if name == "DESCRIPTION" else text).split()))
    status = part.text("STATUS").upper() or "CONFIRMED"
    transp = part.text("TRANSP").upper() or "OPAQUE"
    return (*texts, status, transp)


def _is_cancelled_override(part: Component) -> bool:
    return "RECURRENCE-ID" in part.properties and part.text("STATUS").upper() == "CANCELLED"


# -- taking over times ---------------------------------------------------------------------------


def adopt_times(local: bytes, upstream: bytes) -> bytes:
    """Return the local body with the times of the upstream one (R17).

    DTSTART, end, recurrence, overrides and travel time are upstream's; UID, texts, STATUS, TRANSP,
    alarms and everything else stay local. An override that upstream made carries the words of the
    local master; one that upstream cancelled becomes an EXDATE, unless it was cancelled here.
    Raises InvalidCalendarData when either body holds no event.
    """
    ours = read_calendar(unfold(local), full=True)
    theirs = read_calendar(unfold(upstream), full=True)
    our_events = [part for part in ours.components if part.name == "VEVENT"]
    their_events = [part for part in theirs.components if part.name == "VEVENT"]
    if not our_events or not their_events:
        raise InvalidCalendarData("There is no event to take times from or to.")
    our_zones, their_zones = _zones(ours.zone_blocks), _zones(theirs.zone_blocks)
    known = {original_of(part, our_zones): part for part in our_events}
    merged = _frame(ours, theirs)
    gone: list[Property] = []
    kept: list[tuple[Component, Component]] = []
    for part in their_events:
        words = known.get(original_of(part, their_zones))
        if _is_cancelled_override(part) and not (words and _is_cancelled_override(words)):
            gone.append(part.properties["RECURRENCE-ID"][0]._replace(name="EXDATE"))
        else:
            kept.append((words or known.get(None, our_events[0]), part))
    for words, part in kept:
        is_master = "RECURRENCE-ID" not in part.properties
        merged.keep(_merged(words, part, gone if is_master else []))
    return write(merged, strict=True)


def _frame(ours: RawCalendar, theirs: RawCalendar) -> Component:
    """Return the head of the local calendar with the zones of the upstream one."""
    header = (prop for name, prop in ours.header.items() if name not in ("VERSION", "PRODID"))
    frame = new_calendar(*header, product=ours.header.get("PRODID"))
    frame.keep(*theirs.zones())
    return frame


def _merged(words: Component, times: Component, exdates: list[Property]) -> Component:
    """One VEVENT: all but times from ``words``, the times from ``times``."""
    event = new_component("VEVENT")
    for name, properties in words.properties.items():
        if name not in TIME_PROPERTIES:
            event.add(*properties)
    for name in TIME_PROPERTIES:
        event.add(*times.all(name))
    event.add(*exdates)
    event.keep(*words.children)
    return event
