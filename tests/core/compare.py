"""Hold ``gateway busy`` against recurring-ical-events, file by file, and explain each difference.

``python -m tests.core.compare FOLDER`` reads every ``*.ics`` below a folder and prints one line a
file: ``equal``, ``raises`` (the library gives up; what we said instead follows) or ``differs``.
A difference is explained only by proof. Either all of it lies inside spans that we call unknown,
for the reason that the problem codes give; or a rewrite of the text, which writes out what an RFC
section says it means, makes both engines agree. What neither explains is ``UNEXPLAINED``, and the
exit code is 1.

All-day events are made to block, so that their days are compared too. Each file is asked over the
years its own dates name.
"""

import logging
import re
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events
from dateutil.rrule import rrulestr

from gateway.core.availability.files import busy_of_files
from gateway.core.ical.lines import unfold
from gateway.core.intervals import Interval, merge

ZONE = ZoneInfo("Europe/Berlin")
GIVE_UP_S = 60
_DATE = re.compile(r"^(?:DTSTART|DTEND|RECURRENCE-ID|RDATE)[^\n]*?[:,](\d{4})\d{4}", re.MULTILINE)
_ZONES = re.compile(r"BEGIN:VTIMEZONE\n.*?END:VTIMEZONE\n?", re.DOTALL)
_COMPONENT = re.compile(r"BEGIN:(VEVENT|VTODO|VFREEBUSY)\n.*?END:\1\n?", re.DOTALL)

CODES = {
    "not-icalendar": ("RFC 5545 3.4", "no VCALENDAR to read: nobody knows what it holds"),
    "bad-start": ("RFC 5545 3.6.1", "an event needs one readable DTSTART"),
    "bad-end": ("RFC 5545 3.3.6, 3.8.2.2", "the end cannot be read"),
    "end-before-start": ("RFC 5545 3.8.2.2", "DTEND must be later than DTSTART"),
    "mixed-times": ("RFC 5545 3.8.2.2", "DTSTART and DTEND must both be a DATE or both a time"),
    "unknown-zone": ("RFC 5545 3.2.19", "the TZID has no VTIMEZONE and is no name anybody knows"),
    "bad-rule": ("RFC 5545 3.3.10, RFC 7529 4", "the RRULE cannot be read"),
    "bad-rdate": ("RFC 5545 3.8.5.2", "the RDATE cannot be read"),
    "rdate-by-day": ("RFC 5545 3.3.9, 3.8.5.2", "an RDATE without a time of day in a timed series"),
    "truncated": ("RFC 5545 3.6", "the component has no END"),
    "too-many-instances": ("RFC 5545 3.3.10", "more instances than one object may have"),
}


@dataclass(frozen=True)
class Answer:
    """Merged blocked spans, merged unknown spans, and the codes of what was not understood."""

    busy: list[Interval]
    unknown: list[Interval]
    codes: list[str]


def ours(body: bytes, window: Interval) -> Answer:
    """What ``gateway busy`` prints, as epoch seconds."""
    told = busy_of_files([("file", body)], window, ZONE, all_day="block")
    spans: dict[bool, list[Interval]] = {True: [], False: []}
    for period in told["busy"]:
        start, end = (datetime.fromisoformat(period[edge]) for edge in ("start", "end"))
        spans[period["status"] == "unknown"].append((int(start.timestamp()), int(end.timestamp())))
    codes = [problem["code"] for problem in told["problems"] if problem["code"] in CODES]
    return Answer(list(merge(spans[False])), list(merge(spans[True])), codes)


def theirs(body: bytes, window: Interval) -> list[Interval]:
    """What the library finds, judged by the same rules; whatever it raises comes out."""
    low, high = (datetime.fromtimestamp(edge, ZONE) for edge in window)
    found = []
    signal.alarm(GIVE_UP_S)
    try:
        for calendar in icalendar.Calendar.from_ical(body, multiple=True):
            for event in recurring_ical_events.of(calendar).between(low, high):
                start = max(_time_of(event, "DTSTART"), window[0])
                end = min(_time_of(event, "DTEND"), window[1])
                if start < end and _blocks(event):
                    found.append((start, end))
    finally:
        signal.alarm(0)
    return list(merge(found))


def _time_of(event: Any, name: str) -> int:
    value: date = event[name].dt
    moment = value if isinstance(value, datetime) else datetime(*value.timetuple()[:3])  # noqa: DTZ001
    return int((moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).timestamp())


def _blocks(event: Any) -> bool:
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return False
    all_day = not isinstance(event["DTSTART"].dt, datetime)
    return all_day or str(event.get("TRANSP", "")).upper() != "TRANSPARENT"


def window_of(body: bytes) -> Interval:
    """The years a file's dates name, with one before and two after; at most sixteen."""
    years = [int(year) for year in _DATE.findall(_ZONES.sub("", unfold(body)))]
    years = [year for year in years if 1971 <= year < 2100] or [2026]
    last = min(max(years) + 3, min(years) + 15)
    low, high = (datetime(year, 1, 1, tzinfo=ZONE) for year in (min(years) - 1, last))
    return int(low.timestamp()), int(high.timestamp())


def outside(spans: list[Interval], hidden: list[Interval]) -> list[Interval]:
    """Cut the hidden spans out of others; both sorted and merged."""
    left = []
    for start, end in spans:
        for low, high in hidden:
            if low < end and start < high:
                if start < low:
                    left.append((start, low))
                start = max(start, high)
        if start < end:
            left.append((start, end))
    return left


@dataclass(frozen=True)
class Rewrite:
    """A section, what it says, and how to write that out in the text of a calendar."""

    section: str
    says: str
    change: Callable[[str], str]


def _per_component(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: _COMPONENT.sub(lambda match: change(match[0]), text)


def _value(part: str, name: str) -> str:
    found = re.search(rf"^{name}(?:;[^:\n]*)?:(.*)$", part, re.MULTILINE)
    return found[1].strip() if found else ""


def _until_of_day(part: str) -> str:
    if "T" in _value(part, "DTSTART"):
        return re.sub(r"(UNTIL=\d{8})(?=[;\n])", r"\1T235959", part)
    return part


def _until_as_date(part: str) -> str:
    def day(match: re.Match[str]) -> str:
        moment = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return f"UNTIL={moment.astimezone(ZONE):%Y%m%d}"

    return part if "T" in _value(part, "DTSTART") else re.sub(r"UNTIL=(\d{8}T\d{6}Z)", day, part)


def _rule_that_ended(part: str) -> str:
    until = re.search(r"UNTIL=(\d{8})", part)
    if until and until[1] < _value(part, "DTSTART")[:8]:
        return re.sub(r"^RRULE.*\n", "", part, flags=re.MULTILINE)
    return part


def _one_day(part: str) -> str:
    start, end = _value(part, "DTSTART"), _value(part, "DTEND")
    if start != end or len(start) != 8:
        return part
    next_day = datetime.strptime(start, "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1)
    part = re.sub(r"^RRULE[^:]*:\n", "", part, flags=re.MULTILINE)
    part = re.sub(r"^DTSTART.*$", f"DTSTART;VALUE=DATE:{start}", part, flags=re.MULTILINE)
    return re.sub(r"^DTEND.*$", f"DTEND;VALUE=DATE:{next_day:%Y%m%d}", part, flags=re.MULTILINE)


def _exdates_in_utc(part: str) -> str:
    def local(match: re.Match[str]) -> str:
        moment = datetime.strptime(match[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return f"{moment.astimezone(ZONE):%Y%m%dT%H%M%S}"

    if _value(part, "DTSTART").endswith("Z") or "DTSTART;" in part:
        return part
    return re.sub(
        r"^EXDATE.*$",
        lambda line: re.sub(r"\d{8}T\d{6}Z", local, line[0]),
        part,
        flags=re.MULTILINE,
    )


def _without_reversed_end(part: str) -> str:
    start, end = _value(part, "DTSTART"), _value(part, "DTEND")
    if end and len(start) == len(end) and end < start:
        return re.sub(r"^DTEND.*\n", "", part, flags=re.MULTILINE)
    return part


def _count_as_until(part: str) -> str:
    """Write COUNT as the UNTIL it means, where the rule does not yield DTSTART itself."""
    start = re.match(r"\d{8}(T\d{6})?", _value(part, "DTSTART"))
    if start is None:
        return part
    form = "%Y%m%dT%H%M%S" if start[1] else "%Y%m%d"
    first = datetime.strptime(start[0], form)  # noqa: DTZ007 - a rule knows clock faces

    def until(match: re.Match[str]) -> str:
        rule, count = match[0], int(match[1])
        days = [*islice(rrulestr(rule.rpartition(":")[2], dtstart=first), count)]
        if not days or days[0] == first or count < 2:
            return rule
        return re.sub(r"COUNT=\d+", f"UNTIL={days[count - 2].strftime(form)}", rule)

    return re.sub(r"^RRULE[^\n]*COUNT=(\d+)[^\n]*$", until, part, flags=re.MULTILINE)


def _own_uids(text: str) -> str:
    numbers = iter(range(1_000_000))
    return re.sub(
        r"^UID:.*$", lambda match: f"{match[0]}-{next(numbers)}", text, flags=re.MULTILINE
    )


def _masters_apart(text: str) -> str:
    return text if "RECURRENCE-ID" in text else _own_uids(text)


def _orphans_apart(text: str) -> str:
    """Write an override that lies after its series' UNTIL as an event of its own."""
    ends = [found.replace("Z", "") for found in re.findall(r"UNTIL=(\w+)", text)]

    def apart(part: str) -> str:
        original = _value(part, "RECURRENCE-ID").replace("Z", "")
        if not original or not any(original > end for end in ends):
            return part
        part = re.sub(r"^(RECURRENCE-ID|RRULE).*\n", "", part, flags=re.MULTILINE)
        return re.sub(r"^UID:", "UID:apart-", part, flags=re.MULTILINE)

    return _per_component(apart)(text)


def _tidy_rule(part: str) -> str:
    def tidy(match: re.Match[str]) -> str:
        return match[0].replace("\\;", ";").replace(" ", "")

    return re.sub(r"^RRULE.*$", tidy, part, flags=re.MULTILINE)


REWRITES = (
    Rewrite(
        "RFC 5545 3.6.4, 3.8.2.6",
        "the library reads no VFREEBUSY; its periods count by FBTYPE",
        lambda text: re.sub(r"BEGIN:VFREEBUSY\n.*?END:VFREEBUSY\n?", "", text, flags=re.DOTALL),
    ),
    Rewrite(
        "RFC 5545 3.3.10",
        "UNTIL is inclusive: as a DATE on a timed series it ends with that day",
        _per_component(_until_of_day),
    ),
    Rewrite(
        "RFC 5545 3.3.10",
        "UNTIL in UTC on an all-day series is an instant, read in the zone of the days",
        _per_component(_until_as_date),
    ),
    Rewrite(
        "RFC 5545 3.8.5.3",
        "DTSTART is the first instance whatever UNTIL says",
        _per_component(_rule_that_ended),
    ),
    Rewrite(
        "RFC 5545 3.6.1, 3.8.2.2",
        "a DATE event lasts at least its day, even with DTEND = DTSTART or an empty RRULE",
        _per_component(_one_day),
    ),
    Rewrite(
        "RFC 5545 3.3.5, 3.8.5.1",
        "EXDATE in UTC is an instant, a floating DTSTART is local: they meet in the person's zone",
        _per_component(_exdates_in_utc),
    ),
    Rewrite(
        "RFC 5545 3.8.4.7",
        "two events that share a UID by mistake both take place; the library keeps one",
        _masters_apart,
    ),
    Rewrite(
        "RFC 5545 3.8.4.4",
        "an override outside its series still takes place at its own time",
        _orphans_apart,
    ),
    Rewrite(
        "RFC 5545 3.3.10",
        "COUNT counts DTSTART, also where the rule does not yield it",
        _per_component(_count_as_until),
    ),
    Rewrite(
        "RFC 5545 3.8.2.2",
        "DTEND must be later than DTSTART; the library swaps them, we know no end",
        _per_component(_without_reversed_end),
    ),
    Rewrite(
        "RFC 5545 3.3.10",
        "blanks and escaped semicolons in a rule that is clear without them",
        _per_component(_tidy_rule),
    ),
    Rewrite(
        "RFC 5545 3.3.4, 3.8.5.2",
        "an RDATE that is a date with a Z behind it is that date",
        lambda text: re.sub(r"^RDATE:(\d{8})Z$", r"RDATE;VALUE=DATE:\1", text, flags=re.MULTILINE),
    ),
    Rewrite(
        "RFC 5545 3.8.5.1",
        "an EXDATE without a value excludes nothing",
        lambda text: re.sub(r"^EXDATE[^:\n]*:\n", "", text, flags=re.MULTILINE),
    ),
    Rewrite(
        "RFC 5545 3.1",
        "a line that is no content line says nothing about the others",
        lambda text: re.sub(r"^[A-Za-z]+\n", "", text, flags=re.MULTILINE).replace(";;", ";"),
    ),
    Rewrite(
        "RFC 5545 3.6",
        "no event and no free/busy in it: whatever else cannot be read is never busy",
        lambda text: text if _COMPONENT.search(text) else "BEGIN:VCALENDAR\nEND:VCALENDAR\n",
    ),
)


def explain(body: bytes, window: Interval, mine: Answer, other: list[Interval]) -> Iterator[str]:
    """Prove a difference by the sections that cause it; nothing when it stays unexplained."""
    hidden = mine.unknown
    if hidden and outside(mine.busy, hidden) == outside(other, hidden):
        yield from _by_codes(mine)
    else:
        yield from _by_rewrites(body, window, mine)


def _by_codes(mine: Answer) -> list[str]:
    return [f"{CODES[code][0]}: {CODES[code][1]}" for code in dict.fromkeys(mine.codes)]


def _by_rewrites(body: bytes, window: Interval, mine: Answer) -> Iterator[str]:
    """The first rewrite that leaves our answer as it is and makes the library's equal to it."""
    text, hidden = unfold(body), mine.unknown
    for rewrite in REWRITES:
        changed = rewrite.change(text)
        if changed == text:
            continue
        again = ours(changed.encode(), window)
        try:
            library = theirs(changed.encode(), window)
        except Exception:  # a rewrite that it cannot read proves nothing
            continue
        kept = rewrite.change is REWRITES[0].change or again.busy == mine.busy
        if kept and outside(again.busy, hidden) == outside(library, hidden):
            yield f"{rewrite.section}: {rewrite.says}"
            yield from _by_codes(mine)
            return


def compare(body: bytes) -> tuple[str, str]:
    """Compare one file; returns the verdict and what there is to say about it."""
    window = window_of(body)
    mine = ours(body, window)
    try:
        other = theirs(body, window)
    except Exception as error:  # anything may come out of a library
        said = f"{type(error).__name__}: {str(error)[:60]!r}; ours: {_shown(mine)}"
        reasons = _by_codes(mine) or list(_by_rewrites(body, window, mine)) or ["UNEXPLAINED"]
        return "raises", "; ".join([said, *reasons])
    if mine.busy == other and not mine.unknown:
        return "equal", f"{len(other)} periods"
    difference = f"ours: {_shown(mine, other)}; theirs: {_shown(Answer(other, [], []), mine.busy)}"
    reasons = list(explain(body, window, mine, other)) or ["UNEXPLAINED"]
    return "differs", "; ".join([difference, *reasons])


def _shown(answer: Answer, besides: list[Interval] | None = None) -> str:
    """Count the periods; name the first that the other side does not have."""
    text = f"{len(answer.busy)} periods"
    if answer.unknown:
        text += f", {len(answer.unknown)} unknown from {_time(answer.unknown[0])}"
    only = [span for span in answer.busy if besides is not None and span not in besides]
    return f"{text}, alone {_time(only[0])}" if only else text


def _time(span: Interval) -> str:
    return "/".join(f"{datetime.fromtimestamp(edge, UTC):%Y-%m-%dT%H:%MZ}" for edge in span)


def _give_up(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"no answer within {GIVE_UP_S} seconds")


def main(folder: Path) -> int:
    """Print every file's verdict and the counts; 1 when a difference is unexplained."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _give_up)
    counts: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.ics")):
        verdict, said = compare(path.read_bytes())
        counts[verdict] += 1
        counts["unexplained"] += "UNEXPLAINED" in said
        print(f"{verdict:<8} {path.relative_to(folder)}: {said}", flush=True)
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    return bool(counts["unexplained"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
