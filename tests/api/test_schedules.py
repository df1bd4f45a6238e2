"""Schedules and slots over HTTP: shapes, zones, policies, people, limits, bad input (R23-R27)."""

from typing import Any

import pytest

from gateway.api.schedules.shapes import ScheduleOut, SlotsOut
from gateway.services.accounts.roles import set_calendar_roles
from gateway.store.access import principals
from gateway.store.booking import bookings
from gateway.store.engine import lock_principal
from tests.api.conftest import NOW, Place
from tests.services.people import DAY, HOUR, MONDAY, Person, connect, event, meeting

OFFICE = {
    day: [["09:00", "17:00"]] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")
}
FULL = {
    "name": "Intro",
    "duration_minutes": 30,
    "interval_minutes": 60,
    "buffer_before_minutes": 5,
    "buffer_after_minutes": 10,
    "minimum_notice_minutes": 120,
    "horizon_days": 60,
    "time_zone": "Europe/London",
    "working_hours": {"monday": [["22:00", "02:00"], ["09:00", "12:30"]], "sunday": []},
    "date_overrides": {"2026-12-31": [["10:00", "12:00"]], "2026-12-24": []},
    "limit_per_day": 3,
    "limit_per_week": 9,
    "on_unknown": "ignore",
    "on_tentative": "free",
}


def equip(place: Place, *, synced: bool = True) -> Person:
    """Give Ann an account with Home linked and Work as conflict calendar."""
    person = connect(place.database, place.keyring, place.ann)
    with place.database.write() as session:
        set_calendar_roles(
            session,
            place.ann.id,
            linked=person.calendar["home"],
            conflicts=[person.calendar["work"]],
            now=place.clock.now,
        )
    if synced:
        for name in ("home", "work"):
            person.set_calendar(name, state="ok", synced_at=place.clock.now)
    return person


def colleague(place: Place, name: str = "Amy", **changes: Any) -> principals.Principal:
    """Another person of Ann's subaccount."""
    values = {"subaccount_id": place.ann.subaccount_id, "time_zone": "Europe/Berlin", "now": NOW}
    with place.database.write() as session:
        return principals.create_principal(session, name=name, **{**values, **changes})


def local_block(place: Place, who: principals.Principal, start: int, hours: float = 1) -> None:
    """Put a Blocked Slot into somebody's platform calendar."""
    Person(place.database, who, None, {}).put("platform", meeting(start, hours))  # type: ignore[arg-type]


async def make(place: Place, **changes: Any) -> str:
    """Create a schedule of Ann's and return its id."""
    body = {
        "name": "Intro",
        "principal": place.ann.id,
        "duration_minutes": 30,
        "working_hours": OFFICE,
        **changes,
    }
    status, made = await place.platform.post(
        "/v1/schedules", {name: value for name, value in body.items() if value is not None}
    )
    assert status == 201, made
    return str(made["id"])


async def slots(place: Place, schedule: str, **params: str) -> dict[str, Any]:
    """Ask for the slots of 2 November, a Monday."""
    asked = {"start": "2026-11-02T00:00:00+01:00", "end": "2026-11-03T00:00:00+01:00", **params}
    status, found = await place.reader.get(f"/v1/schedules/{schedule}/slots", **asked)
    assert status == 200, found
    SlotsOut.model_validate(found, strict=True, extra="forbid")
    return dict(found)


def starts(found: dict[str, Any]) -> list[str]:
    """The local starts of the slots."""
    return [slot["start"][11:16] for slot in found["slots"]]


# --- schedules ---


async def test_a_schedule_keeps_every_field(both: Place) -> None:
    body = {**FULL, "principal": both.ann.id}
    status, made = await both.platform.post("/v1/schedules", body)
    assert status == 201
    assert made == {
        **FULL,
        "id": made["id"],
        "subaccount": both.ann.subaccount_id,
        "principals": [both.ann.id],
        "require": "all",
        "personal_hours": False,
        "working_hours": {
            **{day: [] for day in (*OFFICE, "saturday", "sunday")},
            "monday": [["09:00", "12:30"], ["22:00", "02:00"]],
        },
        "created_at": "2026-10-26T07:33:20Z",
        "updated_at": "2026-10-26T07:33:20Z",
    }
    ScheduleOut.model_validate(made, strict=True, extra="forbid")
    assert await both.platform.get(f"/v1/schedules/{made['id']}") == (200, made)
    assert await both.platform.get("/v1/schedules") == (200, {"schedules": [made], "next": None})


async def test_put_replaces_the_whole_and_delete_removes_it(both: Place) -> None:
    schedule = await make(both, buffer_before_minutes=15)
    amy = colleague(both)
    both.clock.now += 60
    status, changed = await both.platform.call(
        "PUT",
        f"/v1/schedules/{schedule}",
        {
            "name": "Both",
            "duration_minutes": 60,
            "principals": [amy.id, both.ann.id],
            "require": "any",
        },
    )
    assert status == 200
    assert changed == {
        **changed,
        "name": "Both",
        "principals": [amy.id, both.ann.id],
        "require": "any",
        "duration_minutes": 60,
        "interval_minutes": 60,
        "buffer_before_minutes": 0,
        "working_hours": None,
        "time_zone": "Europe/Berlin",
        "created_at": "2026-10-26T07:33:20Z",
        "updated_at": "2026-10-26T07:34:20Z",
    }
    assert await both.platform.call("DELETE", f"/v1/schedules/{schedule}") == (204, None)
    status, problem = await both.platform.get(f"/v1/schedules/{schedule}")
    assert (status, problem["detail"]) == (404, "There is no such schedule.")


async def test_lists_are_paged_and_filtered_by_person(place: Place) -> None:
    amy = colleague(place)
    ids = [await make(place), await make(place, principal=None, principals=[amy.id, place.ann.id])]
    _, first = await place.platform.get("/v1/schedules", limit="1")
    _, second = await place.platform.get("/v1/schedules", limit="1", cursor=first["next"])
    shown = [row["id"] for page in (first, second) for row in page["schedules"]]
    assert sorted(shown) == sorted(ids)
    assert second["next"] is None
    _, hers = await place.platform.get("/v1/schedules", principal=amy.id)
    assert [row["id"] for row in hers["schedules"]] == ids[1:]


async def test_a_schedule_goes_with_its_last_person_only(place: Place) -> None:
    amy = colleague(place)
    schedule = await make(place, principal=None, principals=[place.ann.id, amy.id])
    await place.platform.call("DELETE", f"/v1/principals/{amy.id}")
    _, found = await place.platform.get(f"/v1/schedules/{schedule}")
    assert found["principals"] == [place.ann.id]
    assert len((await slots(place, schedule))["slots"]) == 16
    await place.platform.call("DELETE", f"/v1/principals/{place.ann.id}")
    assert (await slots(place, schedule))["slots"] == []


async def test_schedules_of_another_subaccount_are_not_there(place: Place) -> None:
    schedule = await make(place)
    window = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    for caller in (place.stranger,):
        assert (await caller.get(f"/v1/schedules/{schedule}"))[0] == 404
        assert (await caller.get(f"/v1/schedules/{schedule}/slots", **window))[0] == 404
        assert (await caller.call("DELETE", f"/v1/schedules/{schedule}"))[0] == 404
        body = {"name": "x", "principal": place.bob.id, "duration_minutes": 5}
        assert (await caller.call("PUT", f"/v1/schedules/{schedule}", body))[0] == 404
        assert (await caller.get("/v1/schedules"))[1] == {"schedules": [], "next": None}
    for names in ({"principal": place.bob.id}, {"principals": [place.ann.id, place.bob.id]}):
        body = {"name": "x", "duration_minutes": 5, **names}
        status, problem = await place.platform.post("/v1/schedules", body)
        pointer = "/principal" if "principal" in names else "/principals/1"
        assert (status, problem["errors"][0]["pointer"]) == (404, pointer)
    body = {"name": "x", "duration_minutes": 5, "principals": [place.ann.id, place.bob.id]}
    status, problem = await place.admin.post("/v1/schedules", body)
    assert (status, problem["code"]) == (422, "subaccounts-mixed")


# --- slots ---


@pytest.mark.rule("R23", "R24", "R26")
async def test_slots_are_working_hours_minus_busy_time(both: Place) -> None:
    person = equip(both)
    schedule = await make(both)
    person.put("home", meeting(MONDAY + 8 * HOUR + 900, 1))
    person.put("work", meeting(MONDAY + 11 * HOUR, 4))
    found = await slots(both, schedule)
    assert found == {
        "start": "2026-11-02T00:00:00+01:00",
        "end": "2026-11-03T00:00:00+01:00",
        "time_zone": "Europe/Berlin",
        "complete": True,
        "slots": [
            {"start": f"2026-11-02T{a}:00+01:00", "end": f"2026-11-02T{b}:00+01:00"}
            for a, b in (
                ("10:30", "11:00"),
                ("11:00", "11:30"),
                ("11:30", "12:00"),
                ("16:00", "16:30"),
                ("16:30", "17:00"),
            )
        ],
    }


@pytest.mark.rule("R24")
async def test_days_and_offsets_are_the_visitors(place: Place) -> None:
    equip(place)
    schedule = await make(place, duration_minutes=240)
    asked = {"start": "2026-11-02T00:00:00+13:00", "end": "2026-11-05T00:00:00+13:00"}
    found = await slots(place, schedule, **asked, time_zone="Pacific/Auckland", group_by="day")
    assert found["days"] == [
        {
            "date": "2026-11-02",
            "slots": [
                {"start": "2026-11-02T21:00:00+13:00", "end": "2026-11-03T01:00:00+13:00"},
            ],
        },
        {
            "date": "2026-11-03",
            "slots": [
                {"start": "2026-11-03T01:00:00+13:00", "end": "2026-11-03T05:00:00+13:00"},
                {"start": "2026-11-03T21:00:00+13:00", "end": "2026-11-04T01:00:00+13:00"},
            ],
        },
        {
            "date": "2026-11-04",
            "slots": [
                {"start": "2026-11-04T01:00:00+13:00", "end": "2026-11-04T05:00:00+13:00"},
            ],
        },
    ]
    assert found["slots"] == [slot for day in found["days"] for slot in day["slots"]]


@pytest.mark.rule("R25")
async def test_unknown_time_is_not_offered_unless_the_policy_says_so(place: Place) -> None:
    equip(place, synced=False)
    blocked = await slots(place, await make(place))
    assert (blocked["slots"], blocked["complete"]) == ([], False)
    ignoring = await make(place, on_unknown="ignore")
    found = await slots(place, ignoring)
    assert (len(found["slots"]), found["complete"]) == (16, False)
    assert (await slots(place, ignoring, on_unknown="block"))["slots"] == []
    tentative = await make(place, on_unknown="tentative", on_tentative="free")
    assert len((await slots(place, tentative))["slots"]) == 16
    assert (await slots(place, tentative, on_tentative="block"))["slots"] == []
    failing = await make(place, on_unknown="fail")
    status, problem = await place.reader.get(
        f"/v1/schedules/{failing}/slots", start="2026-11-02T00:00:00Z", end="2026-11-03T00:00:00Z"
    )
    assert (status, problem["code"]) == (409, "availability-unknown")


@pytest.mark.rule("R25")
async def test_tentative_time_blocks_unless_the_policy_says_so(place: Place) -> None:
    person = equip(place)
    person.put("home", meeting(MONDAY + 8 * HOUR, 7, "STATUS:TENTATIVE"))
    assert starts(await slots(place, await make(place))) == ["16:00", "16:30"]
    assert len((await slots(place, await make(place, on_tentative="free")))["slots"]) == 16


@pytest.mark.rule("R25")
async def test_only_what_was_looked_at_makes_an_answer_incomplete(place: Place) -> None:
    """What lies beyond the horizon is not asked, so it cannot be unknown."""
    equip(place).put("home", meeting(MONDAY))
    far = {"start": "2026-11-02T00:00:00Z", "end": "2027-10-30T00:00:00Z"}
    soon = await make(place, horizon_days=30)
    assert (await slots(place, soon, **far))["complete"]
    beyond = {"start": "2028-05-01T00:00:00Z", "end": "2028-05-02T00:00:00Z"}
    ever = await make(place)
    assert not (await slots(place, ever, **beyond))["complete"]


@pytest.mark.rule("R30")
async def test_a_hold_takes_a_slot_and_buffers_reach_over_the_edges(place: Place) -> None:
    equip(place)
    schedule = await make(place, buffer_before_minutes=30)
    with place.database.write() as session:
        lock_principal(session, place.ann.id)
        bookings.create_hold(
            session,
            place.ann.id,
            (MONDAY + 7 * HOUR, MONDAY + 8 * HOUR),
            expires_at=NOW + 300,
            now=NOW,
        )
    assert starts(await slots(place, schedule))[0] == "09:30"
    place.clock.now += 301
    assert starts(await slots(place, schedule))[0] == "09:00"


async def test_limits_count_appointments_and_living_holds(place: Place) -> None:
    equip(place)
    schedule = await make(place, limit_per_day=2)
    whole = {"start": "2026-11-02T00:00:00+01:00", "end": "2026-11-04T00:00:00+01:00"}

    async def days() -> list[str]:
        found = await slots(place, schedule, **whole, group_by="day")
        return [day["date"] for day in found["days"] if day["slots"]]

    status, _ = await place.platform.post(
        "/v1/appointments",
        {
            "principal": place.ann.id,
            "start": "2026-11-02T09:00:00+01:00",
            "end": "2026-11-02T09:30:00+01:00",
            "title": "One",
        },
    )
    assert status == 201
    assert await days() == ["2026-11-02", "2026-11-03"]
    hold = {
        "principal": place.ann.id,
        "start": "2026-11-02T11:00:00+01:00",
        "end": "2026-11-02T11:30:00+01:00",
    }
    status, held = await place.platform.post("/v1/holds", hold)
    assert status == 201
    assert await days() == ["2026-11-03"]
    await place.platform.call("DELETE", f"/v1/holds/{held['id']}")
    assert await days() == ["2026-11-02", "2026-11-03"]


async def test_a_slot_on_offer_can_be_held_and_booked_and_is_gone(both: Place) -> None:
    equip(both)
    schedule = await make(both)
    slot = (await slots(both, schedule))["slots"][3]
    status, hold = await both.platform.post("/v1/holds", {"principal": both.ann.id, **slot})
    assert status == 201
    assert slot not in (await slots(both, schedule))["slots"]
    body = {"principal": both.ann.id, **slot, "title": "Intro", "hold": hold["id"]}
    status, _ = await both.platform.post("/v1/appointments", body)
    assert status == 201
    left = (await slots(both, schedule))["slots"]
    assert (len(left), slot in left) == (15, False)


async def test_notice_moves_with_the_clock(place: Place) -> None:
    equip(place)
    schedule = await make(place, minimum_notice_minutes=60)
    today = {"start": "2026-10-26T00:00:00+01:00", "end": "2026-10-27T00:00:00+01:00"}
    assert starts(await slots(place, schedule, **today))[0] == "10:00"
    place.clock.now = MONDAY - 7 * DAY + 14 * HOUR + 1800
    assert starts(await slots(place, schedule, **today)) == ["16:30"]
    place.clock.now += 1
    assert starts(await slots(place, schedule, **today)) == []


# --- several people ---


async def test_all_any_and_at_least(both: Place) -> None:
    equip(both)
    amy, ada = colleague(both), colleague(both, "Ada")
    for who, hour in ((both.ann, 8), (amy, 9), (ada, 9)):
        local_block(both, who, MONDAY + hour * HOUR)
    body = {
        "principals": [both.ann.id, amy.id, ada.id],
        "start": "2026-11-02T09:00:00+01:00",
        "end": "2026-11-02T12:00:00+01:00",
        "duration_minutes": 60,
        "time_zone": "Europe/Berlin",
    }
    everyone = [both.ann.id, amy.id, ada.id]

    async def ask(require: Any) -> list[tuple[str, list[str]]]:
        status, found = await both.reader.post("/v1/availability", {**body, "require": require})
        assert status == 200, found
        SlotsOut.model_validate(found, strict=True, extra="forbid")
        return [(slot["start"][11:16], slot["principals"]) for slot in found["slots"]]

    assert await ask("all") == await ask(3) == [("11:00", everyone)]
    assert await ask(2) == [("09:00", [amy.id, ada.id]), ("11:00", everyone)]
    some = [("09:00", [amy.id, ada.id]), ("10:00", [both.ann.id]), ("11:00", everyone)]
    assert await ask("any") == await ask(1) == some


async def test_a_schedule_of_two_names_who_is_free(place: Place) -> None:
    equip(place)
    amy = colleague(place)
    local_block(place, amy, MONDAY + 8 * HOUR, 8)
    names = {"principal": None, "principals": [place.ann.id, amy.id]}
    both = await make(place, **names, duration_minutes=240)
    assert (await slots(place, both))["slots"] == []
    either = await make(place, **names, duration_minutes=240, require="any")
    found = (await slots(place, either))["slots"]
    assert [slot["principals"] for slot in found] == [[place.ann.id]] * 2


async def test_one_person_nobody_knows_about_makes_the_answer_incomplete(place: Place) -> None:
    equip(place, synced=False)
    amy = colleague(place)
    body = {
        "principals": [amy.id, place.ann.id],
        "start": "2026-11-02T09:00:00+01:00",
        "end": "2026-11-02T10:00:00+01:00",
        "duration_minutes": 60,
        "require": "any",
        "visitor_time_zone": "Asia/Tokyo",
        "group_by": "day",
    }
    _, found = await place.reader.post("/v1/availability", body)
    slot = {
        "start": "2026-11-02T17:00:00+09:00",
        "end": "2026-11-02T18:00:00+09:00",
        "principals": [amy.id],
    }
    assert found == {
        "start": "2026-11-02T17:00:00+09:00",
        "end": "2026-11-02T18:00:00+09:00",
        "time_zone": "Asia/Tokyo",
        "complete": False,
        "slots": [slot],
        "days": [{"date": "2026-11-02", "slots": [slot]}],
    }


async def test_hours_and_holidays_in_a_question_without_a_schedule(place: Place) -> None:
    body = {
        "principals": [place.ann.id],
        "start": "2026-11-02T00:00:00Z",
        "end": "2026-11-04T00:00:00Z",
        "duration_minutes": 60,
        "time_zone": "America/New_York",
        "working_hours": {"monday": [["09:00", "10:00"]], "tuesday": [["09:00", "10:00"]]},
        "date_overrides": {"2026-11-03": []},
    }
    _, found = await place.reader.post("/v1/availability", body)
    assert [slot["start"] for slot in found["slots"]] == ["2026-11-02T09:00:00-05:00"]


# --- bad input ---


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"duration_minutes": 0}, "minutes-invalid", "/duration_minutes"),
        ({"duration_minutes": 1441}, "minutes-invalid", "/duration_minutes"),
        ({"duration_minutes": True}, "minutes-invalid", "/duration_minutes"),
        ({"duration_minutes": 30.0}, "minutes-invalid", "/duration_minutes"),
        ({"interval_minutes": 0}, "minutes-invalid", "/interval_minutes"),
        ({"buffer_before_minutes": -1}, "minutes-invalid", "/buffer_before_minutes"),
        ({"buffer_after_minutes": "5"}, "minutes-invalid", "/buffer_after_minutes"),
        ({"minimum_notice_minutes": 10**9}, "minutes-invalid", "/minimum_notice_minutes"),
        ({"horizon_days": -1}, "invalid-request", "/horizon_days"),
        ({"time_zone": "Mars/Olympus"}, "time-zone-unknown", "/time_zone"),
        ({"time_zone": "../etc/passwd"}, "time-zone-unknown", "/time_zone"),
        (
            {"working_hours": {"monday": [["9", "17:00"]]}},
            "local-time-invalid",
            "/working_hours/monday/0",
        ),
        (
            {"working_hours": {"monday": [["09:00", "24:01"]]}},
            "local-time-invalid",
            "/working_hours/monday/0",
        ),
        (
            {"working_hours": {"monday": [["09:00"]]}},
            "hours-invalid",
            "/working_hours/monday/0",
        ),
        (
            {"working_hours": {"monday": [["09:00", "09:00"]]}},
            "hours-empty",
            "/working_hours/monday/0",
        ),
        (
            {"working_hours": {"monday": [["24:00", "09:00"]]}},
            "hours-empty",
            "/working_hours/monday/0",
        ),
        (
            {"working_hours": {"friday": [["09:00", "12:00"], ["11:59", "13:00"]]}},
            "hours-overlap",
            "/working_hours/friday",
        ),
        ({"working_hours": {"montag": []}}, "invalid-request", "/working_hours/montag"),
        (
            {"date_overrides": {"2026-02-30": []}},
            "date-invalid",
            "/date_overrides/2026-02-30/[key]",
        ),
        (
            {"personal_hours": True, "working_hours": OFFICE},
            "hours-ambiguous",
            "/personal_hours",
        ),
        ({"limit_per_day": 0}, "invalid-request", "/limit_per_day"),
        ({"require": 2}, "require-too-many", "/require"),
        ({"require": 0}, "require-invalid", "/require"),
        ({"require": True}, "require-invalid", "/require"),
        ({"require": "most"}, "require-invalid", "/require"),
        ({"principal": None}, "principal-required", "/principals"),
        ({"principals": ["p_x"]}, "principal-required", "/principals"),
        ({"principal": None, "principals": []}, "too-few-items", "/principals"),
        ({"principal": "p_nobody"}, "not-found", "/principal"),
        ({"name": ""}, "invalid-request", "/name"),
        ({"colour": "red"}, "invalid-request", "/colour"),
    ],
)
async def test_a_wrong_schedule_is_refused_with_a_pointer(
    place: Place, changes: dict[str, Any], code: str, pointer: str
) -> None:
    body = {"name": "x", "principal": place.ann.id, "duration_minutes": 30, **changes}
    body = {name: value for name, value in body.items() if value is not None}
    status, problem = await place.platform.post("/v1/schedules", body)
    assert (problem["code"], problem["errors"][0]["pointer"]) == (code, pointer)
    assert status == (404 if code == "not-found" else 422)


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"start": "2026-11-02T00:00:00"}, "time-naive", "/start"),
        ({"end": "2026-11-01T00:00:00Z"}, "window-reversed", "/end"),
        ({"end": "2028-01-01T00:00:00Z"}, "window-too-wide", "/end"),
        ({"interval_minutes": 1, "end": "2026-12-20T00:00:00Z"}, "window-too-wide", "/end"),
        ({"visitor_time_zone": "Nowhere"}, "time-zone-unknown", "/visitor_time_zone"),
        ({"principals": ["p_1"] * 201}, "too-many-items", "/principals"),
        ({"principals": ["p_1"] * 10_000}, "too-many-items", "/principals"),
        ({"principals": ["{ann}", "p_nobody"]}, "not-found", "/principals/1"),
        ({"principals": ["{ann}", "{ann}", "{bob}"]}, "not-found", "/principals/2"),
        ({"principals": ["{ann}"], "require": 2}, "require-too-many", "/require"),
    ],
)
async def test_a_wrong_question_is_refused_with_a_pointer(
    place: Place, changes: dict[str, Any], code: str, pointer: str
) -> None:
    known = {"{ann}": place.ann.id, "{bob}": place.bob.id}
    body = {
        "principals": [place.ann.id],
        "start": "2026-11-02T00:00:00Z",
        "end": "2026-11-03T00:00:00Z",
        "duration_minutes": 30,
        **changes,
    }
    body["principals"] = [known.get(name, name) for name in body["principals"]]
    status, problem = await place.reader.post("/v1/availability", body)
    assert (problem["code"], problem["errors"][0]["pointer"]) == (code, pointer)
    assert status == (404 if code == "not-found" else 422)


async def test_many_people_and_many_slots_are_too_much_work(place: Place) -> None:
    people = [colleague(place, f"N{number}").id for number in range(25)]
    body = {
        "principals": people,
        "start": "2026-11-02T00:00:00Z",
        "end": "2026-12-02T00:00:00Z",
        "duration_minutes": 30,
        "interval_minutes": 1,
    }
    status, problem = await place.reader.post("/v1/availability", body)
    assert (status, problem["code"]) == (422, "window-too-wide")


@pytest.mark.rule("R26")
async def test_no_text_leaves_through_slots(place: Place) -> None:
    person = equip(place)
    day = ";VALUE=DATE:20261103"
    person.put("home", event(day, ";VALUE=DATE:20261104"))
    person.put("work", meeting(MONDAY + 9 * HOUR))
    schedule = await make(place)
    answer = await place.reader.send(
        "GET",
        f"/v1/schedules/{schedule}/slots",
        params={"start": "2026-11-02T00:00:00Z", "end": "2026-11-05T00:00:00Z"},
    )
    text = await answer.text()
    assert "secret" not in text.lower()
    assert "hidden" not in text.lower()
    assert '"start":"2026-11-02T10:' not in text
    assert '"start":"2026-11-03T10:' not in text  # a day without TRANSP blocks
    assert '"start":"2026-11-04T10:' in text
