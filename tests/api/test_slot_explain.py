"""Why a slot is on offer or not, told by the same rules that offer it (R25, R26)."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.api.schedules.shapes import SlotExplanation
from tests.api.conftest import Place
from tests.api.test_schedules import colleague, equip, local_block, make, slots
from tests.services.people import DAY, HOUR, MONDAY, meeting

NINE = MONDAY + 8 * HOUR  # 09:00 in Berlin
MINUTE = 60


def utc(epoch: int) -> str:
    """Write a time as the API takes it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def explain(place: Place, schedule: str, start: int, **params: str) -> dict[str, Any]:
    """Ask why; the answer has its documented shape."""
    status, found = await place.platform.get(
        f"/v1/schedules/{schedule}/explain", start=utc(start), **params
    )
    assert status == 200, found
    SlotExplanation.model_validate(found, strict=True, extra="forbid")
    return dict(found)


def against(found: dict[str, Any]) -> tuple[bool, list[str], list[list[str]]]:
    """What a test compares: offered, the rules, and what speaks against it for each person."""
    return found["offered"], found["against"], [one["against"] for one in found["people"]]


@pytest.mark.rule("R26")
async def test_a_refused_slot_names_the_meeting_behind_its_buffer(place: Place) -> None:
    person = equip(place)
    shown = person.put("home", meeting(NINE + HOUR))
    schedule = await make(place, buffer_after_minutes=15)
    found = await explain(place, schedule, NINE + HOUR // 2, time_zone="Europe/London")
    assert against(found) == (False, [], [["busy"]])
    assert (found["start"], found["end"]) == (
        "2026-11-02T08:30:00+00:00",
        "2026-11-02T09:00:00+00:00",
    )
    explanation = found["people"][0]["explanation"]
    assert explanation["end"] == "2026-11-02T09:15:00+00:00"
    assert [(row["object"], row["role"]) for row in explanation["reasons"]] == [(shown, "linked")]
    assert "ecret" not in repr(found)
    assert against(await explain(place, schedule, NINE)) == (True, [], [[]])


async def test_each_rule_has_its_word(place: Place) -> None:
    equip(place)
    schedule = await make(place, minimum_notice_minutes=120, horizon_days=30, limit_per_day=1)
    cases = {
        "off-grid": NINE + 10 * MINUTE,
        "outside-working-hours": NINE - HOUR,
        "minimum-notice": place.clock.now // 1800 * 1800,
        "beyond-horizon": NINE + 49 * DAY,
    }
    for word, start in cases.items():
        offered, rules, _ = against(await explain(place, schedule, start))
        assert (offered, word in rules) == (False, True), (word, rules)
    body = {"principal": place.ann.id, "start": utc(NINE + 4 * HOUR), "end": utc(NINE + 5 * HOUR)}
    assert (await place.platform.post("/v1/appointments", {**body, "title": "x"}))[0] == 201
    assert against(await explain(place, schedule, NINE)) == (False, [], [["limit-reached"]])
    assert against(await explain(place, schedule, NINE + DAY)) == (True, [], [[]])


@pytest.mark.rule("R25")
async def test_unknown_time_is_busy_under_block_only(place: Place) -> None:
    equip(place, synced=False)
    schedule = await make(place)
    found = await explain(place, schedule, NINE)
    assert (against(found), found["complete"]) == ((False, [], [["busy"]]), False)
    unknown = found["people"][0]["explanation"]["unknown"]
    assert {row["problem"] for row in unknown} == {"never-synced"}
    assert against(await explain(place, schedule, NINE, on_unknown="ignore"))[0] is True
    path = f"/v1/schedules/{schedule}/explain"
    status, problem = await place.platform.get(path, start=utc(NINE), on_unknown="fail")
    assert (status, problem["code"]) == (409, "availability-unknown")


async def test_of_several_people_each_has_a_verdict(place: Place) -> None:
    equip(place)
    amy = colleague(place)
    local_block(place, amy, NINE)
    people = {"principal": None, "principals": [place.ann.id, amy.id]}
    everybody = await make(place, **people)
    anybody = await make(place, **people, require="any")
    assert against(await explain(place, everybody, NINE)) == (False, [], [[], ["busy"]])
    assert against(await explain(place, anybody, NINE)) == (True, [], [[], ["busy"]])
    personal = await make(place, **people, working_hours=None, personal_hours=True)
    hours = {"working_hours": {"monday": [["10:00", "12:00"]]}, "time_zone": "Europe/Berlin"}
    path = f"/v1/principals/{place.ann.id}/working-hours"
    assert (await place.platform.call("PUT", path, hours))[0] == 200
    assert against(await explain(place, personal, NINE)) == (
        False,
        [],
        [["outside-working-hours"], ["no-working-hours", "busy"]],
    )


async def test_a_schedule_of_another_subaccount_is_not_there(place: Place) -> None:
    schedule = await make(place)
    path = f"/v1/schedules/{schedule}/explain"
    status, problem = await place.stranger.get(path, start=utc(NINE))
    assert (status, problem["code"]) == (404, "not-found")


@pytest.mark.rule("R23")
@pytest.mark.parametrize("seed", range(4))
async def test_what_is_offered_is_what_nothing_speaks_against(place: Place, seed: int) -> None:
    """Every quarter of an hour of a day, under random rules."""
    dice = random.Random(seed)
    person = equip(place)
    for _ in range(4):
        person.put("home", meeting(MONDAY + dice.randrange(0, 24) * HOUR, dice.choice([0.5, 1, 2])))
    schedule = await make(
        place,
        duration_minutes=dice.choice([15, 30, 60]),
        interval_minutes=dice.choice([15, 30]),
        buffer_before_minutes=dice.choice([0, 10, 30]),
        buffer_after_minutes=dice.choice([0, 10, 30]),
        working_hours={"monday": [["08:00", "12:00"], ["13:15", "18:00"], ["20:00", "24:00"]]},
    )
    offered = {
        int(datetime.fromisoformat(slot["start"]).timestamp())
        for slot in (await slots(place, schedule))["slots"]
    }
    assert offered
    first = MONDAY - HOUR  # midnight in Berlin
    for start in range(first, first + DAY - HOUR, 15 * MINUTE):
        found = await explain(place, schedule, start)
        assert found["offered"] == (start in offered), utc(start)
        nothing = not found["against"] and not found["people"][0]["against"]
        assert found["offered"] == nothing
