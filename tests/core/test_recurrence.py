# ruff: noqa: DTZ001 (a rule knows clock faces, not instants)
"""The rule walk, held against dateutil as a second engine, and its bounds."""

import re
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile
from types import SimpleNamespace

import dateutil.rrule
import pytest
from dateutil.rrule import rrulestr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.core.ical.rules import parse_rule
from gateway.core.ical.values import DAY, day_number
from gateway.core.recurrence.budget import BudgetExceededError, WorkBudget
from gateway.core.recurrence.walk import Walk, week_of

EPOCH = datetime(1970, 1, 1)
DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


def wall(moment: datetime) -> int:
    return int((moment - EPOCH).total_seconds())


def walked(
    rule: str, start: datetime, low: datetime, high: datetime, steps: float = 40
) -> list[datetime]:
    walk = Walk(parse_rule(rule), wall(start), WorkBudget(steps), date_only=False)
    return [EPOCH + timedelta(seconds=s) for s in walk.between(wall(low), wall(high))]


@pytest.fixture(autouse=True)
def _dateutil_ends_in_2030(monkeypatch):
    """dateutil walks an empty rule to the year 9999, which takes seconds: let it stop earlier."""
    names = vars(dateutil.rrule.datetime) | {"MAXYEAR": 2030}
    monkeypatch.setattr(dateutil.rrule, "datetime", SimpleNamespace(**names))


def by_dateutil(rule: str, start: datetime, low: datetime, high: datetime) -> list[datetime]:
    """What dateutil finds, with DTSTART counted by COUNT where the rule does not yield it.

    RFC 5545 3.3.10: "The DTSTART property value always counts as the first occurrence."
    """
    found = iter(rrulestr(rule, dtstart=start))
    count = re.search(r"COUNT=(\d+)", rule)
    first = next(found, None)
    if first is None:
        return []
    found = chain([first], found)
    if count is not None and first != start:
        found = islice(found, int(count[1]) - 1)
    found = takewhile(lambda moment: moment <= high, found)
    return [moment for moment in found if moment >= low]


def numbers(low: int, high: int, size: int = 3, *, negative: bool = False):
    values = st.integers(low, high)
    if negative:
        values = values | values.map(lambda n: -n)
    return st.lists(values, min_size=1, max_size=size, unique=True).map(
        lambda found: ",".join(map(str, found))
    )


@st.composite
def rules(draw, frequencies=("YEARLY", "MONTHLY", "WEEKLY", "DAILY")):
    freq = draw(st.sampled_from(frequencies))
    parts = [f"FREQ={freq}", "WKST=" + draw(st.sampled_from(DAYS))]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 5))}")
    if draw(st.integers(0, 2)) == 0:
        parts.append(f"COUNT={draw(st.integers(1, 60))}")

    def maybe(name, values, chance=3):
        if draw(st.integers(0, chance)) == 0:
            parts.append(f"{name}={draw(values)}")

    maybe("BYMONTH", numbers(1, 12))
    if freq != "WEEKLY":
        maybe("BYMONTHDAY", numbers(1, 31, negative=True))
    if freq == "YEARLY":
        maybe("BYYEARDAY", numbers(1, 366, 5, negative=True), 7)
    day = st.sampled_from(DAYS)
    if freq == "MONTHLY" or (freq == "YEARLY" and draw(st.booleans())):
        ordinal = st.sampled_from(["", "1", "2", "-1", "3", "-2", "5", "+4"])
        day = st.tuples(ordinal, day).map("".join)
    maybe("BYDAY", st.lists(day, min_size=1, max_size=3, unique=True).map(",".join), 1)
    maybe("BYHOUR", numbers(0, 23, 2), 6)
    maybe("BYMINUTE", numbers(0, 59, 2), 6)
    # dateutil lets the first week begin at DTSTART, so its positions differ in that week
    if freq != "WEEKLY" and len(parts) > 3:
        maybe("BYSETPOS", numbers(1, 4, 2, negative=True), 4)
    return ";".join(parts)


MOMENTS = st.datetimes(datetime(1996, 1, 1), datetime(2012, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rules(), MOMENTS, st.integers(0, 2000), st.integers(1, 900))
def test_agrees_with_dateutil_on_rules_of_days(rule, start, skip, length):
    low = start + timedelta(days=skip)
    high = low + timedelta(days=length)
    # dateutil wants a day to be in both lists where BYDAY mixes MO with 1MO; RFC 5545 says either
    assume(not mixes_ordinals(rule))
    assert walked(rule, start, low, high) == by_dateutil(rule, start, low, high)


def mixes_ordinals(rule: str) -> bool:
    items = rule.partition("BYDAY=")[2].partition(";")[0].split(",")
    return len({len(item) > 2 for item in items}) > 1


@st.composite
def fine_rules(draw):
    freq = draw(st.sampled_from(["HOURLY", "MINUTELY", "SECONDLY"]))
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 200))}"]
    if draw(st.booleans()):
        parts.append(f"COUNT={draw(st.integers(1, 400))}")
    for name, values in (
        (
            "BYDAY",
            st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True).map(",".join),
        ),
        ("BYHOUR", numbers(0, 23, 8)),
        ("BYMINUTE", numbers(0, 59, 8)),
        ("BYMONTHDAY", numbers(1, 31, 9, negative=True)),
    ):
        if draw(st.integers(0, 4)) == 0:
            parts.append(f"{name}={draw(values)}")
    return ";".join(parts)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fine_rules(), MOMENTS, st.integers(0, 40), st.integers(1, 8))
def test_agrees_with_dateutil_on_rules_of_hours_minutes_and_seconds(rule, start, skip, length):
    low = start + timedelta(hours=skip)
    high = low + timedelta(hours=length)
    try:
        expected = by_dateutil(rule, start, low, high)
    except ValueError:  # dateutil refuses what can never match
        expected = []
    assert walked(rule, start, low, high) == expected


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    numbers(1, 53, negative=True),
    st.lists(st.sampled_from(DAYS), min_size=1, max_size=3, unique=True),
    MOMENTS,
)
def test_week_numbers_agree_with_iso(weeks, days, start):
    """With Monday as first day, weeks are ISO weeks; each day of each year is looked at."""
    rule = f"FREQ=YEARLY;BYWEEKNO={weeks};BYDAY={','.join(days)}"
    wanted = {int(item) for item in weeks.split(",")}
    expected = []
    for offset in range(1500):
        day = start + timedelta(days=offset)
        iso = day.isocalendar()
        last = datetime(iso.year, 12, 28).isocalendar().week
        if DAYS[day.weekday()] in days and (iso.week in wanted or iso.week - last - 1 in wanted):
            expected.append(day)
    assert walked(rule, start, start, start + timedelta(days=1499)) == expected


def test_week_of_counts_from_any_first_day():
    assert week_of(day_number(2026, 1, 1), 0) == (1, 53)
    assert week_of(day_number(2025, 12, 28), 0) == (52, 52)
    assert week_of(day_number(2025, 12, 28), 6) == (53, 53)
    assert week_of(day_number(2027, 1, 1), 0) == (53, 53)


@pytest.mark.parametrize(
    ("rule", "start", "expected"),
    [
        # RFC 5545 3.8.5.3, examples
        ("FREQ=DAILY;COUNT=3", (1997, 9, 2), ["0902", "0903", "0904"]),
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
            (1997, 8, 5),
            ["0805", "0810", "0819", "0824"],
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
            (1997, 8, 5),
            ["0805", "0817", "0819", "0831"],
        ),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=-2MO", (1997, 9, 22), ["0922", "1020", "1117"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-3;COUNT=3", (1997, 9, 28), ["0928", "1029", "1128"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=3", (1997, 9, 2), ["0213", "0313"]),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", (1997, 9, 4), ["0904", "1007", "1106"]),
        (
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8;COUNT=2",
            (1996, 11, 5),
            ["1105", "1107"],
        ),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;COUNT=2", (1997, 5, 12), ["0512", "0511"]),
        ("FREQ=YEARLY;BYDAY=20MO;COUNT=2", (1997, 5, 19), ["0519", "0518"]),
        # what the rule does not say comes from DTSTART: the weekday of a week number
        ("FREQ=YEARLY;BYWEEKNO=20;COUNT=2", (1997, 5, 14), ["0514", "0513"]),
        # 3.3.10: invalid dates are skipped, not moved
        ("FREQ=MONTHLY;COUNT=3", (1997, 1, 31), ["0131", "0331", "0531"]),
        ("FREQ=YEARLY;COUNT=2", (1996, 2, 29), ["0229", "0229"]),
        # ordinals mean nothing in a weekly rule
        ("FREQ=WEEKLY;BYDAY=1MO;COUNT=2", (1997, 9, 1), ["0901", "0908"]),
    ],
)
def test_known_answers(rule, start, expected):
    begin = datetime(*start, 9)
    found = walked(rule, begin, begin, begin + timedelta(days=4000))
    assert [f"{moment:%m%d}" for moment in found] == expected
    assert {moment.hour for moment in found} == {9}


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30;COUNT=10",
        "FREQ=HOURLY;INTERVAL=999999999999",
        "FREQ=YEARLY;INTERVAL=9999",
        "FREQ=MONTHLY;INTERVAL=999999",
        "FREQ=WEEKLY;INTERVAL=99999999",
    ],
)
def test_a_rule_that_yields_nothing_here_costs_next_to_nothing(rule):
    budget = WorkBudget(1)
    walk = Walk(parse_rule(rule), wall(datetime(1970, 1, 1, 10)), budget, date_only=False)
    low = wall(datetime(2026, 1, 1))
    assert list(walk.between(low, low + 400 * DAY)) == []
    assert WorkBudget(1).left - budget.left < 45_000


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        ("FREQ=DAILY;COUNT=1000000000", 401),
        ("FREQ=WEEKLY;COUNT=1000000000", 58),
        ("FREQ=MONTHLY;COUNT=1000000000", 14),
        ("FREQ=YEARLY;COUNT=1000000000", 2),
        ("FREQ=HOURLY;INTERVAL=24;COUNT=1000000000", 401),
        ("FREQ=SECONDLY;INTERVAL=86400;COUNT=1000000000", 401),
        ("FREQ=SECONDLY;INTERVAL=86400;COUNT=20454", 1),
        ("FREQ=DAILY;COUNT=20454", 1),
        ("FREQ=DAILY;COUNT=20453", 0),
    ],
)
def test_plain_counts_are_reckoned_not_counted(rule, count):
    budget = WorkBudget(1)
    start = wall(datetime(1970, 1, 1))
    walk = Walk(parse_rule(rule), start, budget, date_only=False)
    low = wall(datetime(2025, 12, 31))
    assert len(list(walk.between(low, low + 400 * DAY))) == count
    assert walk.finished is (count < 2 and "YEARLY" not in rule)


def test_the_budget_stops_a_walk():
    walk = Walk(parse_rule("FREQ=SECONDLY"), 0, WorkBudget(0.001), date_only=False)
    with pytest.raises(BudgetExceededError):
        list(walk.between(0, 10**9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "FREQ"),
        ("FREQ=FORTNIGHTLY", "FREQ"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=x", "INTERVAL"),
        ("FREQ=DAILY;UNTIL", "UNTIL"),
        ("FREQ=DAILY;UNTIL=20261301", "UNTIL"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH"),
        ("FREQ=YEARLY;BYMONTH=5L", "BYMONTH"),
        ("FREQ=YEARLY;BYEASTER=0", "BYEASTER"),
        ("FREQ=DAILY;FREQ=WEEKLY", "FREQ"),
        ("FREQ=DAILY;WKST=XX", "WKST"),
        ("FREQ=YEARLY;RSCALE=CHINESE", "another calendar"),
    ],
)
def test_a_bad_rule_is_refused_with_the_part_that_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_rule(text)


def test_forgiven_spellings():
    plain = parse_rule("FREQ=WEEKLY;BYDAY=MO,TU")
    assert parse_rule(" freq=weekly; byday=mo, tu;; X-FOO=1;") == plain
    assert parse_rule("FREQ=WEEKLY;BYDAY=MO,TU;COUNT=-1") == plain
    assert parse_rule("RSCALE=GREGORIAN;SKIP=OMIT;FREQ=WEEKLY;BYDAY=MO,TU") == plain
