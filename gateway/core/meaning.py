"""Whether two bodies mean the same, and taking over times from iCloud (R17).

iCloud re-serialises what it is given: other property order, zones, defaults, its own PRODID and
stamps. Comparing etags or text would make every push look like a foreign edit.
"""

from zoneinfo import ZoneInfo

from gateway.core.budget import Budget
from gateway.core.content_lines import fold, split_line, unescape_text, unfold
from gateway.core.errors import InvalidCalendarData
from gateway.core.plain_text import strip_html
from gateway.core.reader import Component, read_calendar
from gateway.core.rows import BusyRules
from gateway.core.rules import Rule
from gateway.core.values import DAY, Form, Moment, Period, date_of, day_number, moment_of
from gateway.core.vevent import Event, UnreadableError, read_event
from gateway.core.vtimezone import object_zones
from gateway.core.zones import ZoneTable

TIME_PROPERTIES = (
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXDATE",
    "RECURRENCE-ID",
    "X-APPLE-TRAVEL-DURATION",
    "X-APPLE-TRAVEL-RETURN-DURATION",
)
_TEXTS = ("SUMMARY", "DESCRIPTION", "LOCATION")
_UTC = ZoneInfo("UTC")
LATEST = day_number(2100, 1, 1) * DAY
"""Custom zones are compared by what they say until then."""


def same_meaning(a: bytes, b: bytes) -> bool:
    """Whether two bodies agree in times, recurrence, overrides, texts, STATUS and TRANSP.

    UID, stamps, order, folding, defaults written or left out and equal zones under other names
    make no difference. A body that cannot be read equals only itself.
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
    return {key: value[0] for key, value in first.items()} == {
        key: value[0] for key, value in second.items()
    }


def _zones(blocks: dict[str, str]) -> ZoneTable:
    return object_zones(blocks, _UTC, LATEST, Budget(2.0))


Meaning = dict[object, tuple[object, object]]


def _meaning(body: bytes) -> Meaning | None:
    """Per component (by its RECURRENCE-ID): its times, and its words; None when unreadable."""
    calendar = read_calendar(unfold(body), full=True)
    zones = _zones(calendar.zone_blocks)
    result: Meaning = {}
    events = [part for part in calendar.components if part.name == "VEVENT"]
    master_zone = None
    for part in sorted(events, key=lambda part: "RECURRENCE-ID" in part.properties):
        try:
            event = read_event(part, zones, BusyRules(_UTC))
        except UnreadableError:
            return None
        if event.recurrence_id is None:
            master_zone = event.zone
        result[_point(event, event.recurrence_id, zones, master_zone or event.zone)] = (
            _times(event, zones),
            _words(part, all_day=event.all_day),
        )
    return result or None


def _point(event: Event, moment: Moment | None, zones: ZoneTable, home: object) -> object:
    """A time as something comparable: a day, an instant, or a floating clock face."""
    if moment is None:
        return None
    if moment.form is Form.DATE:
        return ("day", moment.day)
    if moment.form is Form.FLOATING:
        return ("wall", moment.wall)
    if moment.form is Form.UTC:
        return ("at", moment.wall)
    zone = zones.find(moment.tzid or "")
    return ("at", zone.to_utc(moment.wall)) if zone else (moment.tzid, moment.wall)


def _times(event: Event, zones: ZoneTable) -> object:
    floating = event.zone_dependent and not event.all_day
    start = ("wall", event.start) if floating or event.all_day else event.start_of(event.start)
    end = event.end_of(event.start) - event.start_of(event.start)
    dates = [
        (_point(event, item.start, zones, event.zone), str(item.end))
        if isinstance(item, Period)
        else _point(event, item, zones, event.zone)
        for item in event.rdates
    ]
    return (
        start,
        end,
        event.all_day,
        _zone_key(event) if event.recurring else None,
        sorted(str(_rule(rule, event)) for rule in event.rules),
        sorted(str(_point(event, moment, zones, event.zone)) for moment in event.exdates),
        sorted(map(str, dates)),
        event.this_and_future,
        event.travel,
        event.doubt,
        event.broken_tail,
    )


def _zone_key(event: Event) -> str:
    return "floating" if event.zone_dependent else event.zone.name


def _rule(rule: Rule, event: Event) -> object:
    """A rule with its defaults filled in, so that leaving them out makes no difference."""
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


def _words(part: Component, *, all_day: bool) -> object:
    texts = []
    for name in _TEXTS:
        text = unescape_text(part.text(name))
        texts.append(" ".join((strip_html(text) if name == "DESCRIPTION" else text).split()))
    status = part.text("STATUS").upper() or "CONFIRMED"
    transp = part.text("TRANSP").upper() or "OPAQUE"
    return (*texts, status, transp)


# -- taking over times ---------------------------------------------------------------------------


def adopt_times(local: bytes, upstream: bytes) -> bytes:
    """The local body with the times of the upstream one (R17).

    DTSTART, end, recurrence, overrides and travel time are upstream's; UID, texts, STATUS, TRANSP
    and everything else stay local. An override that upstream made carries the texts of the local
    master; one it cancelled becomes an EXDATE. Raises InvalidCalendarData when either body holds no
    event.
    """
    ours = read_calendar(unfold(local), full=True)
    theirs = read_calendar(unfold(upstream), full=True)
    our_events = [part for part in ours.components if part.name == "VEVENT"]
    their_events = [part for part in theirs.components if part.name == "VEVENT"]
    if not our_events or not their_events:
        raise InvalidCalendarData("There is no event to take times from or to.")
    zones = _zones(theirs.zone_blocks | ours.zone_blocks)
    known = {_original(part, zones): part for part in our_events}
    words = known.get(None, our_events[0])
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0"]
    lines += [p.line() for name, p in ours.header.items() if name != "VERSION"]
    for block in theirs.zone_blocks.values():
        lines += [prop.line() for line in block.split("\n") if (prop := split_line(line))]
    cancelled = [part for part in their_events if _is_cancelled_override(part)]
    for part in their_events:
        if part in cancelled:
            continue
        extra = [] if "RECURRENCE-ID" in part.properties else [_exdate(c) for c in cancelled]
        lines += _merged(known.get(_original(part, zones), words), part, extra)
    lines.append("END:VCALENDAR")
    return b"".join(map(fold, lines))


def _original(part: Component, zones: ZoneTable) -> object:
    """What an override replaces, comparable between two bodies; None for a master."""
    prop = part.first("RECURRENCE-ID")
    if prop is None:
        return None
    try:
        moment = moment_of(prop)
    except (ValueError, OverflowError):
        return prop.value
    return _point_of(moment, zones)


def _point_of(moment: Moment, zones: ZoneTable) -> object:
    if moment.form is Form.ZONED:
        zone = zones.find(moment.tzid or "")
        if zone is not None:
            return ("at", zone.to_utc(moment.wall))
    if moment.form is Form.UTC:
        return ("at", moment.wall)
    return (moment.form, moment.wall)


def _is_cancelled_override(part: Component) -> bool:
    return "RECURRENCE-ID" in part.properties and part.text("STATUS").upper() == "CANCELLED"


def _exdate(part: Component) -> str:
    return part.properties["RECURRENCE-ID"][0]._replace(name="EXDATE").line()


def _merged(words: Component, times: Component, extra: list[str]) -> list[str]:
    """One VEVENT: all but times from ``words``, the times from ``times``."""
    lines = ["BEGIN:VEVENT"]
    for name, properties in words.properties.items():
        if name not in TIME_PROPERTIES:
            lines += [prop.line() for prop in properties]
    for name in TIME_PROPERTIES:
        lines += [prop.line() for prop in times.all(name)]
    return [*lines, *extra, "END:VEVENT"]
