"""Holds, appointments and Blocked Slots over HTTP (R26-R30)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.api.app import build_api
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from tests.api.conftest import AiohttpClient, Caller, Place
from tests.api.icloud import Live, running
from tests.services.people import HOUR, MONDAY, meeting


def at(epoch: int) -> str:
    """Write an epoch as the API does."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(start: int, hours: float = 1) -> dict[str, str]:
    """Return start and end."""
    return {"start": at(start), "end": at(start + int(hours * HOUR))}


def wish(place: Place, start: int, hours: float = 1, **more: Any) -> dict[str, Any]:
    """Return the body of an appointment of Ann's."""
    return {"principal": place.ann.id, "title": "Very secret", **span(start, hours), **more}


async def busy(place: Place) -> list[tuple[str, str]]:
    """Return Ann's busy periods of the week."""
    _, found = await place.reader.get(
        f"/v1/principals/{place.ann.id}/freebusy",
        start=at(MONDAY),
        end=at(MONDAY + 7 * 24 * HOUR),
        time_zone="UTC",
    )
    return [(row["start"], row["end"]) for row in found["busy"]]


@pytest.mark.rule("R7", "R27")
async def test_an_appointment_is_made_moved_and_cancelled(both: Place) -> None:
    status, made = await both.platform.post(
        "/v1/appointments", wish(both, MONDAY, external_id="crm-1")
    )
    assert (status, made) == (
        201,
        {
            "id": made["id"],
            "principal": both.ann.id,
            **span(MONDAY),
            "status": "confirmed",
            "push": "none",
            "push_reason": None,
            "external_id": "crm-1",
            "created_at": "2026-10-26T07:33:20Z",
            "updated_at": "2026-10-26T07:33:20Z",
            "verified": "cached",
            "verified_age_s": None,
        },
    )
    del made["verified"], made["verified_age_s"]
    path = f"/v1/appointments/{made['id']}"
    assert await both.platform.get(path) == (200, made)
    assert await busy(both) == [(at(MONDAY), at(MONDAY + HOUR))]
    both.clock.now += 10
    status, moved = await both.platform.call("PATCH", path, span(MONDAY + 1800))
    assert (status, moved) == (
        200,
        {**made, **span(MONDAY + 1800), "updated_at": "2026-10-26T07:33:30Z"},
    )
    assert await busy(both) == [(at(MONDAY + 1800), at(MONDAY + 1800 + HOUR))]
    assert await both.platform.call("DELETE", path) == (204, None)
    assert await both.platform.call("DELETE", path) == (204, None)
    _, gone = await both.platform.get(path)
    assert (gone["status"], await busy(both)) == ("cancelled", [])
    for change in (span(MONDAY), {"title": "x"}):
        status, problem = await both.platform.call("PATCH", path, change)
        assert (status, problem["code"]) == (409, "appointment-cancelled")


@pytest.mark.rule("R27")
async def test_taken_time_is_refused_with_the_next_free_times(place: Place) -> None:
    await place.platform.post("/v1/appointments", wish(place, MONDAY, 2))
    status, problem = await place.platform.post("/v1/appointments", wish(place, MONDAY + HOUR, 1))
    assert (status, problem["code"]) == (409, "slot-taken")
    assert problem["next"][0] == span(MONDAY + 2 * HOUR)
    assert (await place.platform.post("/v1/holds", wish_hold(place, MONDAY)))[0] == 409
    status, _ = await place.platform.post(
        "/v1/appointments", wish(place, MONDAY + HOUR, 1, allow_overlap=True)
    )
    assert status == 201
    touching = wish(place, MONDAY + 2 * HOUR, 1)
    assert (await place.platform.post("/v1/appointments", touching))[0] == 201


def wish_hold(place: Place, start: int, hours: float = 1, **more: Any) -> dict[str, Any]:
    """Return the body of a hold on Ann's time."""
    return {"principal": place.ann.id, **span(start, hours), **more}


@pytest.mark.rule("R27", "R30")
async def test_a_hold_blocks_others_and_is_consumed_by_its_booking(both: Place) -> None:
    status, held = await both.platform.post("/v1/holds", wish_hold(both, MONDAY))
    assert (status, held["expires_at"]) == (201, at(both.clock.now + 300))
    assert await busy(both) == [(at(MONDAY), at(MONDAY + HOUR))]
    status, problem = await both.platform.post("/v1/appointments", wish(both, MONDAY))
    assert (status, problem["code"]) == (409, "slot-taken")
    outside = wish(both, MONDAY + 1800, hold=held["id"])
    status, problem = await both.platform.post("/v1/appointments", outside)
    assert (status, problem["code"]) == (409, "hold-mismatch")
    named = wish(both, MONDAY, hold=held["id"])
    assert (await both.platform.post("/v1/appointments", named))[0] == 201
    status, problem = await both.platform.post(
        "/v1/appointments", wish(both, MONDAY + 5 * HOUR, hold=held["id"])
    )
    assert (status, problem["code"]) == (409, "hold-expired")


@pytest.mark.rule("R30")
async def test_a_hold_expires_by_itself_or_is_given_back(place: Place) -> None:
    _, held = await place.platform.post("/v1/holds", wish_hold(place, MONDAY, ttl_s=60))
    _, other = await place.platform.post("/v1/holds", wish_hold(place, MONDAY + 2 * HOUR))
    path = f"/v1/holds/{other['id']}"
    assert await place.platform.get(path) == (200, other)
    assert (await place.stranger.get(path))[0] == 404
    assert (await place.stranger.call("DELETE", path))[0] == 404
    assert await place.platform.call("DELETE", path) == (204, None)
    assert (await place.platform.call("DELETE", path))[0] == 404
    assert (await place.platform.get(path))[0] == 404
    assert await busy(place) == [(at(MONDAY), at(MONDAY + HOUR))]
    place.clock.now += 60
    assert await busy(place) == []
    for method in ("GET", "DELETE"):
        assert (await place.platform.call(method, f"/v1/holds/{held['id']}"))[0] == 404
    late = wish(place, MONDAY, hold=held["id"])
    status, problem = await place.platform.post("/v1/appointments", late)
    assert (status, problem["code"]) == (409, "hold-expired")
    for ttl in (0, 901, 1.5, "60"):
        body = wish_hold(place, MONDAY, ttl_s=ttl)
        assert (await place.platform.post("/v1/holds", body))[0] == 422


@pytest.mark.rule("R14", "R27")
async def test_a_blocked_slot_may_overlap_and_is_freed(both: Place) -> None:
    await both.platform.post("/v1/appointments", wish(both, MONDAY))
    status, made = await both.platform.post(
        "/v1/blocked-slots", {"principal": both.ann.id, **span(MONDAY, 3), "title": "Very secret"}
    )
    assert (status, made) == (
        201,
        {
            "id": made["id"],
            "principal": both.ann.id,
            **span(MONDAY, 3),
            "recurring": False,
            "created_at": "2026-10-26T07:33:20Z",
        },
    )
    assert await busy(both) == [(at(MONDAY), at(MONDAY + 3 * HOUR))]
    assert await both.platform.get(f"/v1/blocked-slots/{made['id']}") == (200, made)
    assert await both.platform.get("/v1/blocked-slots", principal=both.ann.id) == (
        200,
        {"blocked_slots": [made], "next": None},
    )
    path = f"/v1/blocked-slots/{made['id']}"
    assert (await both.stranger.call("DELETE", path))[0] == 404
    assert await both.platform.call("DELETE", path) == (204, None)
    assert await busy(both) == [(at(MONDAY), at(MONDAY + HOUR))]
    _, pushes = await both.platform.get("/v1/pushes")
    assert pushes == {"pushes": []}


async def test_appointments_are_listed_by_start_in_pages(place: Place) -> None:
    for hour in (5, 1, 3, 7):
        await place.platform.post("/v1/appointments", wish(place, MONDAY + hour * HOUR))
    starts: list[str] = []
    params: dict[str, str] = {"limit": "3"}
    for _ in range(2):
        _, page = await place.platform.get("/v1/appointments", **params)
        starts += [row["start"] for row in page["appointments"]]
        params = {"limit": "3", "cursor": page["next"] or ""}
    assert starts == [at(MONDAY + hour * HOUR) for hour in (1, 3, 5, 7)]
    assert page["next"] is None
    _, some = await place.platform.get(
        "/v1/appointments", start=at(MONDAY + 2 * HOUR), end=at(MONDAY + 5 * HOUR)
    )
    assert [row["start"] for row in some["appointments"]] == [at(MONDAY + 3 * HOUR)]
    _, none = await place.stranger.get("/v1/appointments")
    assert none["appointments"] == []
    status, _ = await place.stranger.get("/v1/appointments", principal=place.ann.id)
    assert status == 404


async def test_foreign_things_are_not_there(place: Place) -> None:
    _, made = await place.platform.post("/v1/appointments", wish(place, MONDAY))
    path = f"/v1/appointments/{made['id']}"
    for method, target, body in (
        ("GET", path, None),
        ("PATCH", path, {"title": "mine"}),
        ("DELETE", path, None),
        ("POST", path + "/push", None),
        ("POST", "/v1/appointments", wish(place, MONDAY + 9 * HOUR)),
        ("POST", "/v1/holds", wish_hold(place, MONDAY + 9 * HOUR)),
        ("POST", "/v1/blocked-slots", wish_hold(place, MONDAY + 9 * HOUR)),
    ):
        status, problem = await place.stranger.call(method, target, body)
        assert (status, problem["code"]) == (404, "not-found"), target
    assert await busy(place) == [(at(MONDAY), at(MONDAY + HOUR))]


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"end": at(MONDAY)}, "window-reversed", "/end"),
        ({"end": at(MONDAY + 32 * 24 * HOUR)}, "window-too-wide", "/end"),
        ({"start": "2026-11-02T00:00:00"}, "time-naive", "/start"),
        ({"title": ""}, "invalid-request", "/title"),
        ({"title": "x" * 201}, "invalid-request", "/title"),
        ({"verify": "maybe"}, "invalid-request", "/verify"),
        ({"allow_overlap": 1}, "invalid-request", "/allow_overlap"),
    ],
)
async def test_wishes_that_cannot_be(
    place: Place, change: dict[str, Any], code: str, pointer: str
) -> None:
    status, problem = await place.platform.post(
        "/v1/appointments", {**wish(place, MONDAY), **change}
    )
    assert (status, problem["code"]) == (422, code)
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


async def test_start_and_end_change_together(place: Place) -> None:
    _, made = await place.platform.post("/v1/appointments", wish(place, MONDAY))
    path = f"/v1/appointments/{made['id']}"
    status, problem = await place.platform.call("PATCH", path, {"start": at(MONDAY + HOUR)})
    assert (status, [fault["pointer"] for fault in problem["errors"]]) == (422, ["/end"])


@pytest.mark.rule("R26")
async def test_no_title_comes_back(place: Place) -> None:
    answers = []
    for path, body in (
        ("/v1/appointments", wish(place, MONDAY, description="Very secret", location="Hidden")),
        ("/v1/blocked-slots", {**wish_hold(place, MONDAY + 9 * HOUR), "title": "Very secret"}),
    ):
        answers.append(await place.platform.post(path, body))
        answers.append(await place.platform.get(path))
    assert [status for status, _ in answers] == [201, 200, 201, 200]
    assert "ecret" not in repr(answers)
    assert "Hidden" not in repr(answers)


@pytest.mark.rule("R27", "R29")
async def test_many_callers_of_two_processes_never_share_a_slot(
    both: Place, aiohttp_client: AiohttpClient
) -> None:
    """64 callers want 20 slots, half of them through a second API on the same database."""
    database = Database(both.database.url.render_as_string(hide_password=False))
    app = build_api(both.settings, database, both.keyring, sync=None, clock=both.clock)  # type: ignore[arg-type]

    async def close(_: object) -> None:
        database.close()

    app.on_cleanup.append(close)
    other = Caller(await aiohttp_client(app), both.secrets["platform"])
    slots = [MONDAY + number * HOUR for number in range(20)]
    found = await asyncio.gather(
        *(
            (both.platform if number % 2 else other).post(
                "/v1/appointments", wish(both, slots[number % 20])
            )
            for number in range(64)
        )
    )
    outcomes = Counter((status, answer.get("code")) for status, answer in found)
    assert outcomes == {(201, None): 20, (409, "slot-taken"): 44}
    assert sorted(answer["start"] for status, answer in found if status == 201) == [
        at(slot) for slot in slots
    ]


# --- with iCloud ---


@pytest.fixture
async def live(
    sqlite_database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """Ann connected, Home linked, Work a conflict calendar, everything read."""
    async with running(sqlite_database, keyring, aiohttp_client) as made:
        await made.connect(made.ann)
        await made.choose("Home", "Work")
        await sync(made)
        yield made


async def sync(live: Live) -> None:
    """Sync Ann's account."""
    path = f"/v1/principals/{live.place.ann.id}/connection/sync"
    assert (await live.place.platform.post(path))[0] == 200


def upstream(live: Live, calendar: str = "home") -> list[bytes]:
    """Return the bodies in a calendar on the phone."""
    found = live.ann.calendar(calendar).resources
    return [live.ann.get(calendar, name) for name in found]


@pytest.mark.rule("R13", "R14", "R16")
async def test_an_appointment_reaches_icloud_and_leaves_it(live: Live) -> None:
    place = live.place
    status, made = await place.platform.post("/v1/appointments", wish(place, MONDAY))
    assert (status, made["push"]) == (201, "pending")
    await place.platform.post("/v1/blocked-slots", wish_hold(place, MONDAY + 9 * HOUR))
    await sync(live)
    path = f"/v1/appointments/{made['id']}"
    assert (await place.platform.get(path))[1]["push"] == "pushed"
    (body,) = upstream(live)
    assert b"Very secret" in body
    await place.platform.call("PATCH", path, {**span(MONDAY + 2 * HOUR), "title": "Renamed"})
    assert (await place.platform.get(path))[1]["push"] == "pending"
    await sync(live)
    (body,) = upstream(live)
    assert b"Renamed" in body
    assert await busy(place) == [
        (at(MONDAY + 2 * HOUR), at(MONDAY + 3 * HOUR)),
        (at(MONDAY + 9 * HOUR), at(MONDAY + 10 * HOUR)),
    ]
    await place.platform.call("DELETE", path)
    await sync(live)
    assert upstream(live) == []


@pytest.mark.rule("R7")
async def test_an_appointment_made_unlinked_goes_up_when_asked(live: Live) -> None:
    place = live.place
    await live.choose(None, "Work")
    _, made = await place.platform.post("/v1/appointments", wish(place, MONDAY))
    path = f"/v1/appointments/{made['id']}"
    assert made["push"] == "none"
    status, problem = await place.platform.post(path + "/push")
    assert (status, problem["code"]) == (409, "nothing-linked")
    await live.choose("Home", "Work")
    await sync(live)
    assert (await place.platform.get(path))[1]["push"] == "none"
    for _ in range(2):
        status, pushed = await place.platform.post(path + "/push")
        assert (status, pushed["push"]) == (200, "pending")
    await sync(live)
    assert (await place.platform.get(path))[1]["push"] == "pushed"
    assert len(upstream(live)) == 1


@pytest.mark.rule("R28")
async def test_a_booking_may_ask_icloud_first(live: Live) -> None:
    place = live.place
    live.ann.put("work", meeting(MONDAY).encode())  # not read yet
    status, problem = await place.platform.post(
        "/v1/appointments", wish(place, MONDAY, verify="live")
    )
    assert (status, problem["code"]) == (409, "slot-taken")
    status, made = await place.platform.post(
        "/v1/appointments", wish(place, MONDAY + HOUR, verify="required")
    )
    assert (status, made["verified"], made["verified_age_s"]) == (201, "live", 0)
    place.clock.now += 100
    await live.upstream.stop()
    status, problem = await place.platform.post(
        "/v1/appointments", wish(place, MONDAY + 3 * HOUR, verify="required")
    )
    assert (status, problem["code"]) == (502, "verification-failed")
    assert len(await busy(place)) == 1
    status, made = await place.platform.post(
        "/v1/appointments", wish(place, MONDAY + 3 * HOUR, verify="live")
    )
    assert (status, made["verified"], made["verified_age_s"]) == (201, "cached", 100)
    await live.upstream.start()


@pytest.mark.rule("R25", "R27")
async def test_unknown_time_is_not_sold(live: Live) -> None:
    place = live.place
    await live.choose("Home", "Work", "Family")  # Family was never read
    key = {"headers": {"Idempotency-Key": "the-same-all-along"}}  # R29: it passes by itself
    status, problem = await place.platform.post("/v1/appointments", wish(place, MONDAY), **key)
    assert (status, problem["code"]) == (409, "availability-unknown")
    await sync(live)
    assert (await place.platform.post("/v1/appointments", wish(place, MONDAY), **key))[0] == 201


@pytest.mark.rule("R35")
async def test_an_external_id_is_given_once_in_a_subaccount(both: Place) -> None:
    book = both.platform.post
    _, first = await book("/v1/appointments", wish(both, MONDAY, external_id="crm-1"))
    for start in (MONDAY, MONDAY + 5 * HOUR):  # its own time, and another
        status, problem = await book("/v1/appointments", wish(both, start, external_id="crm-1"))
        assert (status, problem["code"]) == (409, "external-id-taken")
        assert problem["appointment"] == first["id"]
    assert len(await busy(both)) == 1
    assert (await book("/v1/appointments", wish(both, MONDAY + 5 * HOUR, external_id="CRM-1")))[
        0
    ] == 201
    other = {**wish(both, MONDAY, external_id="crm-1"), "principal": both.bob.id}
    assert (await both.stranger.post("/v1/appointments", other))[0] == 201  # another subaccount
    await both.platform.call("DELETE", f"/v1/appointments/{first['id']}")
    status, problem = await book("/v1/appointments", wish(both, MONDAY, external_id="crm-1"))
    assert (status, problem["appointment"]) == (409, first["id"])  # cancelled ones keep theirs


@pytest.mark.rule("R35")
async def test_of_many_who_want_one_external_id_one_gets_it(both: Place) -> None:
    """For different people, whom no common lock holds apart."""
    people = [
        await both.platform.post("/v1/principals", {"name": str(n), "time_zone": "UTC"})
        for n in range(4)
    ]
    found = await asyncio.gather(
        *(
            both.platform.post(
                "/v1/appointments",
                {**wish(both, MONDAY + n * HOUR, external_id="one"), "principal": person["id"]},
            )
            for n in range(3)
            for _, person in people
        )
    )
    (made,) = [answer["id"] for status, answer in found if status == 201]
    assert {(status, answer.get("appointment")) for status, answer in found} == {
        (201, None),
        (409, made),
    }
    _, listed = await both.platform.get("/v1/appointments")
    assert [row["external_id"] for row in listed["appointments"]] == ["one"]


@pytest.mark.rule("R16")
async def test_a_parked_push_is_listed_retried_and_dropped(live: Live) -> None:
    place = live.place
    await place.platform.post("/v1/appointments", wish(place, MONDAY))
    _, listed = await place.platform.get("/v1/pushes", principal=place.ann.id)
    (pending,) = listed["pushes"]
    assert (pending["action"], pending["state"], pending["attempts"]) == ("put", "pending", 0)
    status, problem = await place.platform.post(f"/v1/pushes/{pending['id']}/drop")
    assert (status, problem["code"]) == (409, "push-not-parked")
    await place.platform.call("DELETE", f"/v1/principals/{place.ann.id}/connection")
    _, listed = await place.platform.get("/v1/pushes", state="parked")
    (parked,) = listed["pushes"]
    assert (parked["id"], parked["reason"]) == (pending["id"], "disconnected")
    assert (await place.stranger.post(f"/v1/pushes/{parked['id']}/retry"))[0] == 404
    status, retried = await place.platform.post(f"/v1/pushes/{parked['id']}/retry")
    assert (status, retried["state"], retried["reason"]) == (200, "pending", None)
