"""Every golden file, read in four ways that must agree."""

import pytest

from gateway.core.appointments.mirror import serve_mirrored
from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.lines import unfold
from gateway.core.ical.objects import parse_calendar_object
from gateway.core.ical.reader import read_calendar
from gateway.core.recurrence.expand import expand, expand_components
from tests.core import (
    golden_busy,
    golden_dates,
    golden_odd,
    golden_overrides,
    golden_rules,
    golden_times,
    golden_zones,
)
from tests.core.golden import CALENDARS, OWNER, Case, shown

TABLES = (
    golden_busy,
    golden_dates,
    golden_odd,
    golden_overrides,
    golden_rules,
    golden_times,
    golden_zones,
)
CASES = [case for table in TABLES for case in table.CASES]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)


def test_every_file_has_its_case():
    files = {str(path.relative_to(CALENDARS))[:-4] for path in CALENDARS.rglob("*.ics")}
    assert files == {case.file for case in CASES}
    assert len(CASES) >= 150


@pytest.mark.rule("R23")
@every_case
def test_instances(case: Case):
    expansion = expand(case.body, case.span, case.rules)
    assert shown(expansion) == case.rows
    assert [problem.code for problem in expansion.problems] == case.problems
    if case.zone_dependent is not None:
        assert expansion.zone_dependent is case.zone_dependent
    if case.open_ended is not None:
        assert expansion.open_ended is case.open_ended


@every_case
def test_order_of_components_and_prefilter_make_no_difference(case: Case):
    quick = expand(case.body, case.span, case.rules)
    calendar = read_calendar(unfold(case.body), full=True)
    assert expand_components(calendar, case.span, case.rules) == quick
    calendar.components.reverse()
    assert shown(expand_components(calendar, case.span, case.rules)) == case.rows


def is_servable(body: bytes) -> bool:
    try:
        parse_calendar_object(body)
    except InvalidCalendarData:
        return False
    return True


SERVABLE = [case for case in CASES if is_servable(case.body)]


def test_what_is_not_served_is_what_could_not_be_parsed():
    kept = [case.file for case in CASES if case not in SERVABLE]
    assert len(SERVABLE) > 230
    assert [name for name in kept if name.startswith(("times", "zones", "busy"))] == [
        "busy/freebusy_bad"
    ]


@pytest.mark.rule("R10")
@pytest.mark.parametrize("case", SERVABLE, ids=lambda case: case.file)
def test_a_served_mirror_is_busy_when_the_original_is(case: Case):
    for detail in ("full", "busy"):
        served = serve_mirrored(case.body, OWNER, detail=detail)
        assert shown(expand(served, case.span, case.rules)) == case.rows
        assert serve_mirrored(served, OWNER, detail=detail) == served
