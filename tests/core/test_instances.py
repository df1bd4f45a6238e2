"""The engine as a whole: bounds, robustness, what it reports, and three other engines."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import icalendar
import pytest
import recurring_ical_events
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.availability.merge import coalesce_rows
from gateway.core.ical.document import write
from gateway.core.ical.lines import unfold
from gateway.core.ical.reader import read_calendar
from gateway.core.intervals import DAY
from gateway.core.recurrence.expand import (
    BusyRules,
    Expansion,
    default_window,
    expand,
    expand_components,
)
from gateway.core.recurrence.vtimezone import write_vtimezone
from gateway.core.status import FBType
from tests.core.golden import OWNER
from tests.core.test_golden import CASES

BERLIN = BusyRules(ZoneInfo("Europe/Berlin"), OWNER)
YEAR = (1767225600, 1798761600)  # 2026, UTC
APRIL = "DTSTART:20260401T100000Z"
LONG_AGO = "DTSTART:20200401T100000Z"
DAILY = "FREQ=DAILY"


def calendar(*events: str) -> bytes:
    parts = [f"BEGIN:VEVENT\r\nUID:a\r\n{event}\r\nEND:VEVENT\r\n" for event in events]
    return f"BEGIN:VCALENDAR\r\n{''.join(parts)}END:VCALENDAR\r\n".replace("\n\n", "\n").encode()


def codes(expansion: Expansion) -> list[str]:
    return [problem.code for problem in expansion.problems]


def test_default_window_is_on_utc_days():
    now = int(datetime(2026, 3, 5, 17, 30, tzinfo=UTC).timestamp())
    start, end = (datetime.fromtimestamp(edge, UTC) for edge in default_window(now))
    assert start == datetime(2026, 2, 2, tzinfo=UTC)
    assert end == datetime(2027, 4, 9, tzinfo=UTC)


# -- bounds --------------------------------------------------------------------------------------

HOURS = ",".join(map(str, range(24)))
SIXTY = ",".join(map(str, range(60)))
MINUTES = [f"202601{n // 1440 + 1:02}T{n // 60 % 24:02}{n % 60:02}00Z" for n in range(40_000)]
BOMBS = [
    "FREQ=SECONDLY",
    "FREQ=MINUTELY",
    "FREQ=HOURLY",
    "FREQ=SECONDLY;COUNT=1000000000;BYSECOND=1",
    f"FREQ=DAILY;BYHOUR={HOURS};BYMINUTE={SIXTY};BYSECOND={SIXTY}",
    f"FREQ=YEARLY;BYMONTHDAY=1,2,3,4,5,6,7,8,9;BYHOUR={HOURS};BYMINUTE={SIXTY};BYSECOND={SIXTY}"
    ";BYSETPOS=-1;COUNT=1000000000",
]


@pytest.mark.rule("R25")
@pytest.mark.parametrize("rule", BOMBS)
def test_a_rule_bomb_is_unknown_from_where_it_was_cut(rule):
    body = calendar(f"DTSTART:19700105T100000Z\nDURATION:PT1M\nRRULE:{rule}")
    expansion = expand(body, YEAR, BERLIN, cpu_budget_s=0.5)
    assert codes(expansion) == ["too-many-instances"]
    assert len(expansion.instances) <= 5000
    assert expansion.open_ended
    known = [row for row in expansion.instances if row.fbtype is FBType.BUSY]
    (cut,) = [row for row in expansion.instances if row.fbtype is FBType.UNKNOWN]
    assert cut.end == YEAR[1]
    assert not known or known[-1].start < cut.start <= known[-1].start + 3600


@pytest.mark.parametrize("rows", [1, 2, 10, 300])
def test_no_more_rows_than_asked_for(rows):
    body = calendar("DTSTART:20251201T100000Z\nDURATION:P10D\nRRULE:FREQ=DAILY")
    expansion = expand(body, YEAR, BERLIN, max_rows=rows)
    assert len(expansion.instances) == rows
    assert expansion.instances[-1].fbtype is FBType.UNKNOWN


@pytest.mark.parametrize(
    "event",
    [
        "DTSTART:19700105T100000Z\nDURATION:PT1M\n" + "RRULE:FREQ=SECONDLY\n" * 300,
        f"{APRIL}\nRRULE:FREQ=DAILY\nEXDATE:{','.join(['20260101T100000Z'] * 50_000)}",
        f"DTSTART:20260101T100000Z\nDURATION:PT1M\nRDATE:{','.join(MINUTES)}",
    ],
)
def test_big_objects_end_too(event):
    expansion = expand(calendar(event), YEAR, BERLIN, cpu_budget_s=0.2)
    assert len(expansion.instances) <= 5000
    assert FBType.UNKNOWN in {row.fbtype for row in expansion.instances}


def test_deep_nesting_is_no_time_at_all():
    expansion = expand(
        calendar("BEGIN:A\n" * 20_000 + "END:B\n" * 20_000), YEAR, BERLIN, cpu_budget_s=0.2
    )
    assert expansion.instances == ()
    assert codes(expansion) == ["bad-start"]


def test_a_free_bomb_is_no_unknown_time():
    body = calendar(
        "DTSTART:19700105T100000Z\nDURATION:PT1M\nTRANSP:TRANSPARENT\nRRULE:FREQ=SECONDLY"
    )
    expansion = expand(body, YEAR, BERLIN)
    assert codes(expansion) == ["too-many-instances"]
    assert {row.fbtype for row in expansion.instances} <= {FBType.FREE}


def test_a_bomb_leaves_its_neighbours_alone():
    good = "DTSTART:20260401T100000Z\nDTEND:20260401T110000Z"
    other = calendar("DTSTART:19700105T100000Z\nDURATION:PT1M\nRRULE:FREQ=SECONDLY", good)
    other = other.replace(b"UID:a", b"UID:b", 1)
    rows = expand(other, YEAR, BERLIN).instances
    assert (1775037600, FBType.BUSY) in {(row.start, row.fbtype) for row in rows}


# -- what an expansion says about the object -----------------------------------------------------


@pytest.mark.parametrize(
    ("event", "recurring", "open_ended", "first", "last"),
    [
        (f"{APRIL}\nDURATION:PT1H", False, False, "2026-04-01", "2026-04-01"),
        ("DTSTART:20280401T100000Z\nDURATION:PT1H", False, True, "2028-04-01", "2028-04-01"),
        (f"{LONG_AGO}\nDURATION:PT1H", False, False, "2020-04-01", "2020-04-01"),
        (f"{LONG_AGO}\nRRULE:{DAILY}", True, True, "2020-04-01", None),
        (f"{APRIL}\nRRULE:{DAILY};COUNT=3", True, False, "2026-04-01", "2026-04-03"),
        ("DTSTART:20261230T100000Z\nRRULE:FREQ=DAILY;COUNT=9", True, True, "2026-12-30", None),
        (
            f"{LONG_AGO}\nRRULE:{DAILY};UNTIL=20200403T100000Z",
            True,
            False,
            "2020-04-01",
            "2020-04-04",
        ),
        (f"{APRIL}\nRRULE:{DAILY};UNTIL=20280403T100000Z", True, True, "2026-04-01", "2028-04-04"),
        (f"{APRIL}\nRDATE:20290401T100000Z", True, True, "2026-04-01", "2029-04-01"),
        (f"{APRIL}\nDTEND:never", False, False, "2026-04-01", "2026-04-02"),
        (f"{APRIL}\nRRULE:FREQ=OFTEN", True, True, "2026-04-01", None),
        (f"{APRIL}\nRRULE:FREQ=OFTEN;UNTIL=20260404", True, False, "2026-04-01", "2026-04-04"),
        ("SUMMARY:no start", False, False, None, None),
    ],
)
def test_extent(event, recurring, open_ended, first, last):
    def day(instant):
        return None if instant is None else f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d}"

    expansion = expand(calendar(event), YEAR, BERLIN)
    assert expansion.recurring is recurring
    assert expansion.open_ended is open_ended
    assert (day(expansion.first_start), day(expansion.last_end)) == (first, last)


@pytest.mark.parametrize(
    ("event", "dependent"),
    [
        ("DTSTART:20260401T100000Z", False),
        ("DTSTART;TZID=Asia/Tokyo:20260401T100000", False),
        ("DTSTART:20260401T100000", True),
        ("DTSTART;VALUE=DATE:20260401", True),
    ],
)
def test_zone_dependence(event, dependent):
    assert expand(calendar(event), YEAR, BERLIN).zone_dependent is dependent


def test_recurrence_ids_are_the_original_starts():
    body = calendar(
        "DTSTART:20260401T100000Z\nRRULE:FREQ=DAILY;COUNT=2",
        "RECURRENCE-ID:20260402T100000Z\nDTSTART:20260410T100000Z",
    )
    rows = expand(body, YEAR, BERLIN).instances
    assert [(row.start, row.recurrence_id) for row in rows] == [
        (1775037600, 1775037600),
        (1775037600 + 9 * DAY, 1775037600 + DAY),
    ]
    assert (
        expand(calendar("DTSTART:20260401T100000Z"), YEAR, BERLIN).instances[0].recurrence_id
        is None
    )


def test_problems_hold_no_text_of_the_event():
    secret = "DTSTART:secret\nSUMMARY:secret\nRRULE:secret\nEXDATE:secret\nDURATION:secret"
    expansion = expand(calendar(secret), YEAR, BERLIN)
    assert expansion.problems
    assert "secret" not in repr(expansion)


def test_custom_zones_do_not_leak_from_one_object_into_another():
    zone = (
        "BEGIN:VTIMEZONE\r\nTZID:Ours\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
        "TZOFFSETFROM:+0300\r\nTZOFFSETTO:+0300\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
    )
    event = calendar("DTSTART;TZID=Ours:20260401T100000\nDURATION:PT1H")
    defined = event.replace(b"BEGIN:VEVENT", zone.encode() + b"BEGIN:VEVENT", 1)
    assert codes(expand(defined, YEAR, BERLIN)) == []
    assert codes(expand(event, YEAR, BERLIN)) == ["unknown-zone"]


# -- nothing raises, nothing is silently free ----------------------------------------------------

PIECES = re.findall(rb"[^\r\n]+\r?\n", b"".join(case.body for case in CASES))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_cut_and_shuffled_calendars_never_raise(data):
    body = bytearray(data.draw(st.sampled_from([case.body for case in CASES])))
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["cut", "insert", "byte", "line"]))
        at = data.draw(st.integers(0, len(body)))
        if kind == "cut":
            del body[at : at + data.draw(st.integers(1, 30))]
        elif kind == "insert":
            body[at:at] = data.draw(st.binary(max_size=8))
        elif kind == "byte" and at < len(body):
            body[at] = data.draw(st.integers(0, 255))
        else:
            body[at:at] = data.draw(st.sampled_from(PIECES))
    quick = expand(bytes(body), YEAR, BERLIN, cpu_budget_s=0.1)
    full = read_calendar(unfold(bytes(body)), full=True)
    assert expand_components(full, YEAR, BERLIN, cpu_budget_s=0.1) == quick
    if not quick.instances and not quick.problems:
        assert quick.component in ("VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_noise_never_raises(noise):
    assert expand(noise, YEAR, BERLIN).problems


# -- other engines -------------------------------------------------------------------------------

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]
DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


@st.composite
def plain_series(draw):
    """A zoned event with a daily or weekly rule, exclusions and one moved instance."""
    zone = draw(st.sampled_from(ZONES))
    start = datetime(2026, 3, 20) + timedelta(  # noqa: DTZ001 (a clock face)
        days=draw(st.integers(-5, 12)), minutes=15 * draw(st.integers(0, 95))
    )
    weekdays = draw(st.lists(st.sampled_from(DAYS), max_size=3, unique=True))
    return {
        "zone": zone,
        "start": start,
        "minutes": draw(st.sampled_from([15, 30, 60, 480, 1440, 2000])),
        "interval": draw(st.integers(1, 3)),
        "weekdays": weekdays,
        "excluded": draw(st.sets(st.integers(0, 9), max_size=3)),
        "moved": draw(st.none() | st.tuples(st.integers(0, 9), st.integers(-600, 600))),
        "count": draw(st.integers(1, 12)),
    }


def days_of(series) -> list[date]:
    """By looking at one day after the other: is it one of the rule's?"""
    first = series["start"].date()
    monday = first - timedelta(days=first.weekday())
    found, day = [], first
    if series["weekdays"] and DAYS[first.weekday()] not in series["weekdays"]:
        found.append(first)  # COUNT counts DTSTART (RFC 5545 3.3.10)
        day += timedelta(days=1)
    while len(found) < series["count"]:
        if series["weekdays"]:
            week = (day - monday).days // 7
            hit = week % series["interval"] == 0 and DAYS[day.weekday()] in series["weekdays"]
        else:
            hit = (day - first).days % series["interval"] == 0
        if hit:
            found.append(day)
        day += timedelta(days=1)
    return found


def text_of(series, days) -> bytes:
    zone, start = series["zone"], series["start"]
    freq = "WEEKLY" if series["weekdays"] else "DAILY"
    rule = f"FREQ={freq};INTERVAL={series['interval']};COUNT={series['count']}"
    rule += f";BYDAY={','.join(series['weekdays'])}" if series["weekdays"] else ""
    lines = [
        f"DTSTART;TZID={zone}:{start:%Y%m%dT%H%M%S}",
        f"DURATION:PT{series['minutes']}M",
        f"RRULE:{rule}",
    ]
    for index in series["excluded"]:
        if index < len(days):
            lines.append(f"EXDATE;TZID={zone}:{days[index]:%Y%m%d}T{start:%H%M%S}")
    events = ["\n".join(lines)]
    moved = series["moved"]
    if moved and moved[0] < len(days) and moved[0] not in series["excluded"]:
        original = datetime.combine(days[moved[0]], start.time(), ZoneInfo(zone))
        new = original.astimezone(UTC) + timedelta(minutes=moved[1])
        events.append(
            f"RECURRENCE-ID;TZID={zone}:{original:%Y%m%dT%H%M%S}\nDTSTART:{new:%Y%m%dT%H%M%SZ}\nDURATION:PT30M"
        )
    return calendar(*events)


@pytest.mark.rule("R23")
@settings(max_examples=120, deadline=None)
@given(st.lists(plain_series(), min_size=1, max_size=2))
def test_busy_minutes_agree_with_a_minute_by_minute_look(many):
    """For each minute of a month: does any instance, found day by day, cover it?"""
    low = int(datetime(2026, 3, 14, tzinfo=UTC).timestamp())
    window = (low, low + 45 * DAY)
    expected: set[int] = set()
    rows = []
    for series in many:
        days = days_of(series)
        moved = series["moved"]
        zone = ZoneInfo(series["zone"])
        instants = {datetime.combine(day, series["start"].time(), zone).timestamp() for day in days}
        # DTSTART is an instance even when it is off the rule
        instants.add(series["start"].replace(tzinfo=zone).timestamp())
        spans = []
        for index, day in enumerate(days):
            start = datetime.combine(day, series["start"].time(), zone).timestamp()
            if index in series["excluded"]:
                instants.discard(start)
            elif moved and index == moved[0]:
                instants.discard(start)
                spans.append((start + moved[1] * 60, 30))
        spans += [(start, series["minutes"]) for start in instants]
        for start, minutes in spans:
            expected.update(int(start) // 60 + minute for minute in range(minutes))
        rows += expand(text_of(series, days), window, BERLIN).instances
    found = coalesce_rows(((r.busy_start, r.busy_end, r.fbtype) for r in rows), window)
    shown = {minute for start, end, _ in found for minute in range(start // 60, end // 60)}
    assert shown == {minute for minute in expected if window[0] <= minute * 60 < window[1]}


@settings(max_examples=80, deadline=None)
@given(plain_series(), st.booleans())
def test_both_prefilters_change_nothing(series, renamed):
    """Every line read and every VTIMEZONE evaluated: the same instances.

    A VTIMEZONE whose TZID is an IANA name is not read; under a private name it must be.
    """
    body = text_of(series, days_of(series))
    name = series["zone"]
    block = write(write_vtimezone(ZoneInfo(name), name, 2025, 2027)).decode()
    noise = (
        "SUMMARY:DTSTART:20260401T000000Z\r\nDESCRIPTION:RRULE:FREQ=DAILY\\n"
        "\r\n EXDATE:20260401\r\nBEGIN:VALARM\r\nTRIGGER:-PT5M\r\nDURATION:PT9H\r\n"
        "REPEAT:2\r\nEND:VALARM\r\nGEO:1;2\r\n"
    )
    dressed = body.replace(b"BEGIN:VEVENT\r\n", f"{block}BEGIN:VEVENT\r\n".encode(), 1)
    dressed = dressed.replace(b"UID:a\r\n", f"UID:a\r\n{noise}".encode())
    if renamed:
        dressed = dressed.replace(f"TZID={name}".encode(), b"TZID=Own/Zone")
        dressed = dressed.replace(f"TZID:{name}".encode(), b"TZID:Own/Zone")
    plain = expand(body, YEAR, BERLIN).instances
    assert expand(dressed, YEAR, BERLIN).instances == plain
    full = read_calendar(unfold(dressed), full=True)
    assert expand_components(full, YEAR, BERLIN).instances == plain


@settings(max_examples=120, deadline=None)
@given(plain_series())
def test_spans_agree_with_recurring_ical_events_where_no_clock_changes(series):
    """It reckons lengths on the clock and so differs where an instance spans a clock change."""
    series["start"] += timedelta(days=80)
    if series["weekdays"]:  # it does not count a DTSTART that the rule does not yield
        while DAYS[series["start"].weekday()] not in series["weekdays"]:
            series["start"] += timedelta(days=1)
    body = text_of(series, days_of(series))
    low = datetime(2026, 5, 1, tzinfo=UTC)
    high = low + timedelta(days=120)
    events = recurring_ical_events.of(icalendar.Calendar.from_ical(body)).between(low, high)
    theirs = sorted(
        (int(e["DTSTART"].dt.timestamp()), int(e["DTEND"].dt.timestamp())) for e in events
    )
    window = (int(low.timestamp()), int(high.timestamp()))
    rows = expand(body, window, BERLIN).instances
    assert sorted((row.start, row.end) for row in rows) == theirs
