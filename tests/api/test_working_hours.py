"""People's own working hours over HTTP, and schedules that ask for them."""

from typing import Any

import pytest

from gateway.api.schedules.shapes import PersonalHoursOut
from tests.api.conftest import Place
from tests.api.test_schedules import OFFICE, colleague, equip, make, slots, starts

NOTHING = {day: [] for day in (*OFFICE, "saturday", "sunday")}


async def put(place: Place, who: str, **body: Any) -> dict[str, Any]:
    """Set somebody's hours."""
    status, found = await place.platform.call("PUT", f"/v1/principals/{who}/working-hours", body)
    assert status == 200, found
    PersonalHoursOut.model_validate(found, strict=True, extra="forbid")
    return dict(found)


async def test_hours_are_kept_field_by_field(both: Place) -> None:
    path = f"/v1/principals/{both.ann.id}/working-hours"
    status, problem = await both.platform.get(path)
    assert (status, problem["detail"]) == (404, "This person has no working hours of their own.")
    body = {
        "working_hours": {"monday": [["22:00", "06:00"], ["09:00", "12:00"]]},
        "date_overrides": {"2026-12-24": [], "2026-12-23": [["00:00", "24:00"]]},
    }
    found = await put(both, both.ann.id, **body)
    assert found == {
        "time_zone": "Europe/Berlin",
        "working_hours": {**NOTHING, "monday": [["09:00", "12:00"], ["22:00", "06:00"]]},
        "date_overrides": {"2026-12-23": [["00:00", "24:00"]], "2026-12-24": []},
        "written_by": "api",
        "updated_at": "2026-10-26T07:33:20Z",
    }
    assert await both.platform.get(path) == (200, found)
    changed = await put(both, both.ann.id, time_zone="Asia/Tokyo", working_hours={})
    assert (changed["time_zone"], changed["working_hours"]) == ("Asia/Tokyo", NOTHING)
    assert await both.platform.call("DELETE", path) == (204, None)
    assert (await both.platform.call("DELETE", path))[0] == 404


async def test_a_schedule_offers_each_persons_own_hours(place: Place) -> None:
    equip(place)
    amy = colleague(place)
    await put(place, place.ann.id, working_hours={"monday": [["09:00", "11:00"]]})
    await put(
        place,
        amy.id,
        time_zone="Europe/London",
        working_hours={"monday": [["09:00", "11:00"]]},
    )
    people = {"principal": None, "principals": [place.ann.id, amy.id], "working_hours": None}
    common = await make(place, **people, personal_hours=True, duration_minutes=60)
    assert starts(await slots(place, common)) == ["10:00"]
    either = await make(place, **people, personal_hours=True, duration_minutes=60, require="any")
    found = await slots(place, either)
    assert [(slot["start"][11:16], slot["principals"]) for slot in found["slots"]] == [
        ("09:00", [place.ann.id]),
        ("10:00", [place.ann.id, amy.id]),
        ("11:00", [amy.id]),
    ]
    _, shown = await place.platform.get(f"/v1/schedules/{common}")
    assert (shown["personal_hours"], shown["working_hours"]) == (True, None)


async def test_who_has_no_hours_offers_nothing(place: Place) -> None:
    equip(place)
    schedule = await make(place, working_hours=None, personal_hours=True)
    assert (await slots(place, schedule))["slots"] == []
    await put(place, place.ann.id, working_hours={"monday": [["09:00", "10:00"]]})
    assert starts(await slots(place, schedule)) == ["09:00", "09:30"]


async def test_the_overrides_of_a_schedule_win_over_those_of_the_person(place: Place) -> None:
    equip(place)
    await put(
        place,
        place.ann.id,
        working_hours=OFFICE,
        date_overrides={"2026-11-02": [["09:00", "10:00"]]},
    )
    own = {"working_hours": None, "personal_hours": True}
    assert starts(await slots(place, await make(place, **own))) == ["09:00", "09:30"]
    closed = await make(place, **own, date_overrides={"2026-11-02": []})
    assert (await slots(place, closed))["slots"] == []


async def test_a_question_without_a_schedule_can_ask_for_them_too(place: Place) -> None:
    equip(place)
    await put(place, place.ann.id, working_hours={"monday": [["09:00", "10:00"]]})
    body = {
        "principals": [place.ann.id],
        "start": "2026-11-02T00:00:00+01:00",
        "end": "2026-11-03T00:00:00+01:00",
        "duration_minutes": 60,
        "personal_hours": True,
    }
    _, found = await place.reader.post("/v1/availability", body)
    assert starts(found) == ["09:00"]


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "invalid-request", "/working_hours"),
        ({"working_hours": None}, "invalid-request", "/working_hours"),
        (
            {"working_hours": {"monday": [["09:00", "25:00"]]}},
            "local-time-invalid",
            "/working_hours/monday/0",
        ),
        ({"working_hours": {}, "time_zone": "X"}, "time-zone-unknown", "/time_zone"),
        (
            {"working_hours": {}, "date_overrides": {"soon": []}},
            "date-invalid",
            "/date_overrides/soon/[key]",
        ),
    ],
)
async def test_wrong_hours_are_refused_with_a_pointer(
    place: Place, body: dict[str, Any], code: str, pointer: str
) -> None:
    path = f"/v1/principals/{place.ann.id}/working-hours"
    status, problem = await place.platform.call("PUT", path, body)
    assert (status, problem["code"]) == (422, code)
    assert problem["errors"][0]["pointer"] == pointer
