"""Google's freebusy.query: its requests, its answers, its errors (R23, R25, R26)."""

from typing import Any

import pytest

from gateway.api.freebusy.google_shapes import GoogleFreeBusy
from tests.api.conftest import Place
from tests.api.test_schedules import colleague, equip
from tests.services.people import HOUR, MONDAY, meeting

PATH = "/v1/compat/google/freeBusy"
WINDOW = {"timeMin": "2026-11-02T00:00:00Z", "timeMax": "2026-11-03T00:00:00Z"}
NOT_FOUND = {"errors": [{"domain": "global", "reason": "notFound"}], "busy": []}


async def ask(place: Place, *ids: str, **changes: Any) -> dict[str, Any]:
    """Ask as Google's clients do."""
    body = {**WINDOW, "items": [{"id": name} for name in ids], **changes}
    status, found = await place.reader.post(PATH, body)
    assert status == 200, found
    GoogleFreeBusy.model_validate(found, strict=True, extra="forbid")
    return dict(found)


@pytest.mark.rule("R23", "R26")
async def test_the_answer_field_by_field(both: Place) -> None:
    person = equip(both)
    person.put("home", meeting(MONDAY + 9 * HOUR))
    person.put("work", meeting(MONDAY + 10 * HOUR, 1, "STATUS:TENTATIVE"))
    found = await ask(both, both.ann.id, "p_nobody", timeZone="Europe/Berlin")
    assert found == {
        "kind": "calendar#freeBusy",
        "timeMin": "2026-11-02T00:00:00.000Z",
        "timeMax": "2026-11-03T00:00:00.000Z",
        "calendars": {
            both.ann.id: {
                "busy": [{"start": "2026-11-02T10:00:00+01:00", "end": "2026-11-02T12:00:00+01:00"}]
            },
            "p_nobody": NOT_FOUND,
        },
    }


async def test_times_are_utc_unless_a_zone_is_asked(place: Place) -> None:
    equip(place).put("home", meeting(MONDAY + 9 * HOUR))
    found = await ask(place, place.ann.id, timeMin="2026-11-02T00:00:00.000-05:00")
    assert found["timeMin"] == "2026-11-02T05:00:00.000Z"
    assert found["calendars"][place.ann.id]["busy"] == [
        {"start": "2026-11-02T09:00:00Z", "end": "2026-11-02T10:00:00Z"}
    ]


async def test_people_are_known_by_address_and_external_id_too(both: Place) -> None:
    colleague(both, "Amy", email="Amy@Example.com", external_id="crm-7")
    colleague(both, "Twin", email="twin@example.com")
    colleague(both, "Twin", email="TWIN@example.com")
    names = ["amy@example.com", "AMY@example.com", "crm-7"]
    found = await ask(both, *names, "twin@example.com", "crm-8", both.bob.id)
    assert found["calendars"] == {
        **{name: {"busy": []} for name in names},
        **dict.fromkeys(("twin@example.com", "crm-8", both.bob.id), NOT_FOUND),
    }


@pytest.mark.rule("R25")
async def test_unknown_time_is_busy(place: Place) -> None:
    equip(place, synced=False)
    found = await ask(place, place.ann.id)
    assert found["calendars"][place.ann.id]["busy"] == [
        {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    ]


async def test_what_googles_clients_add_is_taken(place: Place) -> None:
    """A root URL of theirs puts calendar/v3 in front; alt=json and limits come along."""
    body = {
        **WINDOW,
        "items": [{"id": place.ann.id, "etag": "x"}],
        "groupExpansionMax": 5,
        "calendarExpansionMax": 50,
    }
    path = "/v1/compat/google/calendar/v3/freeBusy?alt=json&prettyPrint=false"
    status, found = await place.reader.post(path, body)
    assert (status, found["calendars"]) == (200, {place.ann.id: {"busy": []}})
    assert (await ask(place))["calendars"] == {}


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"timeMin": "2026-11-02T00:00:00"}, "time-naive", "/timeMin"),
        ({"timeMax": "2026-11-01T00:00:00Z"}, "window-reversed", "/timeMax"),
        ({"timeMax": "2028-11-01T00:00:00Z"}, "window-too-wide", "/timeMax"),
        (
            {"timeMin": "2019-11-01T00:00:00Z", "timeMax": "2019-11-02T00:00:00Z"},
            *("window-too-far", "/timeMin"),
        ),
        ({"timeZone": "Moon/Base"}, "time-zone-unknown", "/timeZone"),
        ({"items": [{"id": "p"}] * 201}, "too-many-items", "/items"),
        ({"items": [{"id": "p"}] * 10_000}, "too-many-items", "/items"),
        ({"items": [{}]}, "invalid-request", "/items/0/id"),
        ({"items": "p"}, "invalid-request", "/items"),
    ],
)
async def test_errors_are_both_a_problem_and_googles_error(
    place: Place, changes: dict[str, Any], code: str, pointer: str
) -> None:
    status, problem = await place.reader.post(PATH, {**WINDOW, "items": [], **changes})
    assert (status, problem["status"], problem["code"]) == (400, 400, code)
    assert problem["errors"][0]["pointer"] == pointer
    assert problem["error"] == {
        "code": 400,
        "message": problem["detail"],
        "errors": [{"domain": "global", "reason": "badRequest", "message": problem["detail"]}],
    }


async def test_a_missing_key_is_googles_auth_error(place: Place) -> None:
    status, problem = await place.nobody.post(PATH, WINDOW)
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert problem["error"]["errors"][0]["reason"] == "authError"
