"""The iCloud account over HTTP, with the real sync engine and the look-alike (R1-R8)."""

from collections.abc import AsyncIterator

import pytest

from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.objects import collections, objects
from tests.api.conftest import AiohttpClient
from tests.api.icloud import Live, running
from tests.services.people import DAY, MONDAY, event, meeting
from tests.subscriptions import ADDRESSES


@pytest.fixture
async def live(
    sqlite_database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """The API with an upstream, on SQLite."""
    async with running(sqlite_database, keyring, aiohttp_client) as made:
        yield made


@pytest.fixture
async def live_on_both(
    database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """The API with an upstream, on each database."""
    async with running(database, keyring, aiohttp_client) as made:
        yield made


def connection(live: Live) -> str:
    """Path of Ann's connection."""
    return f"/v1/principals/{live.place.ann.id}/connection"


@pytest.mark.rule("R1", "R5")
async def test_connecting_lists_every_calendar_with_its_refusal(live: Live) -> None:
    status, made = await live.connect(live.ann)
    assert (status, made["state"]) == (201, "ok")
    shown = {
        row["name"]: (
            row["writable"],
            row["linkable"],
            row["conflictable"],
            row["refusal"],
            row["role"],
            row["blocks"],
            row["state"],
            row["synced_at"],
            row["caldav"],
        )
        for row in made["calendars"]
        if row["refusal"] != "calendar-scheduling"
    }
    unused = ("none", False, "never", None, None)
    assert shown == {
        "Home": (True, True, True, None, *unused),
        "Work": (True, True, True, None, *unused),
        "Club fixtures": (False, False, True, "calendar-read-only", *unused),
        "Family": (True, True, True, None, *unused),
        "Public holidays": (False, False, False, "calendar-subscribed", *unused),
        "Reminders": (False, False, False, "calendar-no-events", *unused),
    }
    assert await live.place.platform.get(connection(live)) == (200, made)
    status, listed = await live.place.platform.get(f"/v1/principals/{live.place.ann.id}/calendars")
    assert (status, listed) == (200, {"calendars": made["calendars"]})


@pytest.mark.rule("R1")
@pytest.mark.parametrize("password", ["hunter2", "abcd-efgh-ijkl", "ABCD-EFGH-IJKL-MN0P", "p" * 17])
async def test_what_is_no_app_password_is_refused_before_any_request(
    live: Live, password: str
) -> None:
    status, problem = await live.connect(live.ann, app_password=password)
    assert (status, problem["code"]) == (422, "credential-not-app-specific")
    assert "account.apple.com" in problem["detail"]
    assert [fault["pointer"] for fault in problem["errors"]] == ["/app_password"]
    assert live.upstream.world.journal.shorts() == []


@pytest.mark.rule("R1")
async def test_a_wrong_password_is_refused_and_leaves_nothing(live: Live) -> None:
    status, problem = await live.connect(live.ann, app_password="abcd-efgh-ijkl-mnop")
    assert (status, problem["code"]) == (422, "credential-rejected")
    status, problem = await live.place.platform.get(connection(live))
    assert (status, problem["code"]) == (404, "not-connected")


@pytest.mark.rule("R1")
async def test_blanks_and_missing_hyphens_are_forgiven(live: Live) -> None:
    password = live.ann.issue_app_password().replace("-", " \u2212\u200b ").upper()
    status, _ = await live.connect(
        live.ann, app_password=f" “{password}” ", email=" mailto:Ann@icloud.example "
    )
    assert status == 201


@pytest.mark.rule("R1")
async def test_an_upstream_that_is_down_is_502(live: Live) -> None:
    await live.upstream.stop()
    status, problem = await live.connect(live.ann)
    assert (status, problem["code"]) == (502, "upstream-unreachable")
    await live.upstream.start()


@pytest.mark.rule("R8")
async def test_a_subscription_is_no_account_and_no_calendar(live: Live) -> None:
    """Every spelling at every door of the API, before anything is asked of iCloud."""
    await live.connect(live.bob)
    asked = live.upstream.world.journal.shorts()
    roles = f"/v1/principals/{live.place.ann.id}/calendar-roles"
    for address in ADDRESSES:
        account = {"email": address, "app_password": "abcd-efgh-ijkl-mnop"}
        for method, path, body, pointer in (
            ("POST", connection(live), account, "/email"),
            ("PUT", connection(live) + "/credential", account, "/email"),
            ("PUT", roles, {"linked": address, "conflicts": []}, "/linked"),
            ("PUT", roles, {"linked": None, "conflicts": [address]}, "/conflicts/0"),
            ("PATCH", roles, {"linked": address}, "/linked"),
        ):
            status, problem = await live.place.platform.call(method, path, body)
            assert (status, problem["code"]) == (422, "calendar-subscribed"), (address, path)
            assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert live.upstream.world.journal.shorts() == asked


@pytest.mark.rule("R2")
async def test_an_account_is_connected_once_whatever_its_spelling(live_on_both: Live) -> None:
    live = live_on_both
    assert (await live.connect(live.ann))[0] == 201
    status, problem = await live.connect(live.ann)
    assert (status, problem["code"]) == (409, "principal-already-connected")
    password = live.ann.issue_app_password()
    path = f"/v1/principals/{live.place.bob.id}/connection"
    taken = {"email": "ANN@iCloud.example", "app_password": password}
    status, problem = await live.place.stranger.post(path, taken)
    assert (status, problem["code"]) == (409, "account-already-connected")
    wrong = {"email": "ANN@iCloud.example", "app_password": "abcd-efgh-ijkl-mnop"}
    status, problem = await live.place.stranger.post(path, wrong)
    assert (status, problem["code"]) == (422, "credential-rejected")


@pytest.mark.rule("R3", "R4")
async def test_a_revoked_password_is_told_and_replaced_in_place(live: Live) -> None:
    await live.connect(live.ann)
    chosen = await live.choose("Home", "Work")
    live.ann.put("work", meeting(MONDAY).encode())
    status, synced = await live.place.platform.post(connection(live) + "/sync")
    assert (status, synced["state"]) == (200, "ok")
    live.ann.revoke()
    status, problem = await live.place.platform.post(connection(live) + "/sync")
    assert (status, problem["code"]) == (422, "credential-rejected")
    _, shown = await live.place.platform.get(connection(live))
    assert shown["state"] == "credential-revoked"
    status, found = await free_busy(live)
    assert (status, len(found["busy"]), found["complete"]) == (200, 1, True)
    status, shown = await live.place.platform.call(
        "PUT", connection(live) + "/credential", {"app_password": live.ann.issue_app_password()}
    )
    assert (status, shown["state"]) == (200, "ok")
    roles = {row["name"]: row["role"] for row in shown["calendars"]}
    assert (roles["Home"], roles["Work"]) == ("linked", "conflict")
    assert [row["caldav"] for row in shown["calendars"] if row["name"] == "Work"] == [
        chosen["Work"]["caldav"]
    ]


@pytest.mark.rule("R3")
async def test_a_password_of_another_account_does_not_replace(live: Live) -> None:
    await live.connect(live.ann)
    status, problem = await live.place.platform.call(
        "PUT",
        connection(live) + "/credential",
        {"email": live.bob.email, "app_password": live.bob.issue_app_password()},
    )
    assert (status, problem["code"]) == (409, "different-account")


async def free_busy(live: Live) -> tuple[int, dict[str, object]]:
    """Ask for Ann's week."""
    return await live.place.platform.get(
        f"/v1/principals/{live.place.ann.id}/freebusy",
        start="2026-11-02T00:00:00Z",
        end="2026-11-09T00:00:00Z",
        time_zone="UTC",
    )


@pytest.mark.rule("R3")
async def test_disconnecting_erases_what_was_mirrored(live: Live) -> None:
    await live.connect(live.ann)
    await live.choose("Home", "Work")
    live.ann.put("work", meeting(MONDAY).encode())
    await live.place.platform.post(connection(live) + "/sync")
    assert await live.place.platform.call("DELETE", connection(live)) == (204, None)
    _, found = await free_busy(live)
    assert (found["busy"], [source["role"] for source in found["sources"]]) == ([], ["platform"])
    _, shown = await live.place.platform.get(connection(live))
    assert (shown["state"], shown["calendars"]) == ("disconnected", [])
    status, problem = await live.place.platform.get(f"/v1/principals/{live.place.ann.id}/calendars")
    assert (status, problem["code"]) == (404, "not-connected")
    for verb in ("test", "sync", "pause", "resume"):
        status, problem = await live.place.platform.post(f"{connection(live)}/{verb}")
        assert (status, problem["code"]) == (404, "not-connected")
    assert (await live.connect(live.ann))[0] == 201


async def test_pausing_testing_and_resuming(live: Live) -> None:
    await live.connect(live.ann)
    states = []
    for verb in ("test", "pause", "resume", "sync"):
        status, shown = await live.place.platform.post(f"{connection(live)}/{verb}")
        states.append((status, shown["state"]))
    assert states == [(200, "ok"), (200, "paused"), (200, "ok"), (200, "ok")]


@pytest.mark.rule("R6", "R9", "R23")
async def test_a_chosen_calendar_is_read_and_blocks(live_on_both: Live) -> None:
    live = live_on_both
    await live.connect(live.ann)
    live.ann.put("home", meeting(MONDAY, 1).encode())
    live.ann.put("work", meeting(MONDAY + 7200, 1).encode())
    chosen = await live.choose("Home", "Work", "Club fixtures")
    assert chosen["Work"]["caldav"].startswith(f"/{live.place.ann.id}/mirror-")
    _, before = await free_busy(live)
    assert (before["complete"], [row["status"] for row in before["busy"]]) == (False, ["unknown"])
    await live.place.platform.post(connection(live) + "/sync")
    _, found = await free_busy(live)
    assert found["busy"] == [
        {"start": "2026-11-02T00:00:00Z", "end": "2026-11-02T01:00:00Z", "status": "busy"},
        {"start": "2026-11-02T02:00:00Z", "end": "2026-11-02T03:00:00Z", "status": "busy"},
    ]
    assert found["complete"]
    assert {source["role"]: source["state"] for source in found["sources"]} == {
        "platform": "fresh",
        "linked": "fresh",
        "conflict": "fresh",
    }
    status, state = await live.place.platform.get(f"/v1/principals/{live.place.ann.id}/status")
    assert (status, state["pushes"], state["problems"]) == (200, {"pending": 0, "parked": 0}, [])
    read = {row["name"]: row["state"] for row in state["connection"]["calendars"]}
    assert (read["Home"], read["Work"], read["Family"]) == ("ok", "ok", "never")


@pytest.mark.rule("R5", "R8")
async def test_roles_that_cannot_be_are_refused_with_a_pointer(live: Live) -> None:
    _, made = await live.connect(live.ann)
    ids = {row["name"]: row["id"] for row in made["calendars"]}
    path = f"/v1/principals/{live.place.ann.id}/calendar-roles"
    for linked, conflicts, code, pointer in (
        ("Public holidays", [], "calendar-subscribed", "/linked"),
        ("Home", ["Work", "Public holidays"], "calendar-subscribed", "/conflicts/1"),
        ("Club fixtures", [], "calendar-read-only", "/linked"),
        (None, ["Reminders"], "calendar-no-events", "/conflicts/0"),
    ):
        body = {
            "linked": ids[linked] if linked else None,
            "conflicts": [ids[name] for name in conflicts],
        }
        status, problem = await live.place.platform.call("PUT", path, body)
        assert (status, problem["code"]) == (422, code)
        assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    _, listed = await live.place.platform.get(f"/v1/principals/{live.place.ann.id}/calendars")
    assert {row["role"] for row in listed["calendars"]} == {"none"}


@pytest.mark.rule("R6", "R46")
async def test_a_part_of_the_choice_changes_alone_and_a_put_replaces_all(live: Live) -> None:
    await live.connect(live.ann)
    ids = {name: row["id"] for name, row in (await live.choose("Home", "Work")).items()}
    path = f"/v1/principals/{live.place.ann.id}/calendar-roles"
    chosen: dict[str, object] = {}
    for method, body, wanted in (
        ("PATCH", {"linked": ids["Family"]}, {"Family": "linked", "Work": "conflict"}),
        ("PATCH", {}, {"Family": "linked", "Work": "conflict"}),
        ("PATCH", {"conflicts": [ids["Home"]]}, {"Family": "linked", "Home": "conflict"}),
        ("PATCH", {"linked": None}, {"Home": "conflict"}),
        ("PUT", {"linked": ids["Work"], "conflicts": []}, {"Work": "linked"}),
    ):
        status, answer = await live.place.platform.call(method, path, body)
        chosen = {row["name"]: row["role"] for row in answer["calendars"] if row["role"] != "none"}
        assert (status, chosen) == (200, wanted)
    status, problem = await live.place.platform.call("PATCH", path, {"linked": "cal_x"})
    assert (status, problem["code"]) == (422, "calendar-unknown")
    assert f"“Family” ({ids['Family']})" in problem["detail"]


@pytest.mark.rule("R11")
async def test_deleting_on_the_phone_frees_the_time(live: Live) -> None:
    await live.connect(live.ann)
    await live.choose("Home")
    name = live.ann.put("home", meeting(MONDAY).encode())
    await live.place.platform.post(connection(live) + "/sync")
    assert len((await free_busy(live))[1]["busy"]) == 1  # type: ignore[arg-type]
    live.ann.delete("home", name)
    await live.place.platform.post(connection(live) + "/sync")
    assert (await free_busy(live))[1]["busy"] == []


async def test_the_overall_status_counts_what_the_key_can_see(live: Live) -> None:
    await live.connect(live.ann)
    await live.connect(live.bob)
    await live.choose("Home")
    await live.place.platform.post(connection(live) + "/sync")
    live.place.clock.now += DAY
    status, seen = await live.place.platform.get("/v1/status")
    assert (status, seen) == (
        200,
        {
            "principals": 1,
            "connections": {
                "ok": 1,
                "credential_revoked": 0,
                "secret_unreadable": 0,
                "paused": 0,
                "disconnected": 0,
                "with_problem": 0,
            },
            "oldest_sync_at": "2026-10-26T07:33:20Z",
            "pushes": {"pending": 0, "parked": 0},
            "problems": 0,
        },
    )
    _, everything = await live.place.admin.get("/v1/status")
    assert (everything["principals"], everything["connections"]["ok"]) == (2, 2)


@pytest.mark.rule("R10", "R26")
async def test_a_calendar_may_show_times_only(live: Live) -> None:
    await live.connect(live.ann)
    work = (await live.choose("Home", "Work"))["Work"]
    live.ann.put("work", meeting(MONDAY).encode())
    await live.place.platform.post(connection(live) + "/sync")
    assert b"Very secret" in mirrored(live, work["id"])
    path = f"/v1/principals/{live.place.ann.id}/calendars/{work['id']}"
    status, changed = await live.place.platform.call("PATCH", path, {"detail": "busy"})
    assert (status, changed["detail"]) == (200, "busy")
    _, found = await free_busy(live)
    assert len(found["busy"]) == 1  # type: ignore[arg-type]  # what is mirrored stands meanwhile
    await live.place.platform.post(connection(live) + "/sync")
    assert b"secret" not in mirrored(live, work["id"])
    assert b"SUMMARY:Busy" in mirrored(live, work["id"])
    assert len((await free_busy(live))[1]["busy"]) == 1  # type: ignore[arg-type]


def mirrored(live: Live, calendar_id: str) -> bytes:
    """Return everything that is served of a mirror."""
    with live.place.database.read() as session:
        mirror = collections.find_mirror(session, calendar_id)
        assert mirror is not None
        found = objects.list_objects(session, mirror.id, with_bodies=True)
    return b"".join(row.body for row in found)


@pytest.mark.rule("R25")
async def test_roles_say_how_all_day_events_count_too(live: Live) -> None:
    await live.connect(live.ann)
    home = (await live.choose("Home", "Work"))["Home"]
    live.ann.put("home", event(";VALUE=DATE:20261104", ";VALUE=DATE:20261105").encode())
    await live.place.platform.post(connection(live) + "/sync")
    assert len((await free_busy(live))[1]["busy"]) == 1
    path = f"/v1/principals/{live.place.ann.id}/calendar-roles"
    chosen = {"linked": home["id"], "conflicts": []}

    async def put(**more: object) -> tuple[int, dict]:
        return await live.place.platform.call("PUT", path, {**chosen, **more})

    status, answer = await put(all_day={home["id"]: "ignore"})
    assert status == 200
    assert {row["name"]: row["all_day"] for row in answer["calendars"]}["Home"] == "ignore"
    _, found = await free_busy(live)
    assert (found["complete"], found["busy"]) == (True, [])
    assert (await put())[0] == 200  # not named: stays
    assert (await free_busy(live))[1]["busy"] == []
    assert (await put(all_day={home["id"]: "sometimes"}))[0] == 422
    status, problem = await put(all_day={"cal_none": "block"})
    assert (status, problem["code"]) == (422, "calendar-unknown")
    assert problem["errors"][0]["pointer"] == "/all_day/cal_none"


@pytest.mark.rule("R25")
async def test_all_day_events_of_a_calendar_may_be_made_to_block(live: Live) -> None:
    """Apple's devices write all-day events that say they do not block."""
    await live.connect(live.ann)
    work = (await live.choose("Home", "Work"))["Work"]
    assert (work["all_day"], work["detail"]) == ("as-marked", "full")
    trip = event(";VALUE=DATE:20261104", ";VALUE=DATE:20261105", "TRANSP:TRANSPARENT")
    live.ann.put("work", trip.encode())
    await live.place.platform.post(connection(live) + "/sync")
    assert (await free_busy(live))[1]["busy"] == []
    path = f"/v1/principals/{live.place.ann.id}/calendars/{work['id']}"
    status, changed = await live.place.platform.call("PATCH", path, {"all_day": "block"})
    assert (status, changed["all_day"]) == (200, "block")
    _, found = await free_busy(live)
    assert (found["complete"], found["busy"]) == (
        True,
        [{"start": "2026-11-03T23:00:00Z", "end": "2026-11-04T23:00:00Z", "status": "busy"}],
    )


@pytest.mark.rule("R25")
async def test_an_account_may_be_trusted_longer(live: Live) -> None:
    await live.connect(live.ann)
    await live.choose("Home")
    await live.place.platform.post(connection(live) + "/sync")
    live.place.clock.now += 2 * DAY
    assert (await free_busy(live))[1]["complete"] is False
    status, changed = await live.place.platform.call(
        "PATCH", connection(live), {"trust_for_s": 3 * DAY}
    )
    assert (status, changed["trust_for_s"]) == (200, 3 * DAY)
    assert (await free_busy(live))[1]["complete"] is True
    for wrong in (0, 32 * DAY, "60", None):
        status, _ = await live.place.platform.call(
            "PATCH", connection(live), {"trust_for_s": wrong}
        )
        assert status == 422


async def test_options_of_a_calendar_somebody_else_has(live: Live) -> None:
    await live.connect(live.ann)
    await live.connect(live.bob)
    _, listed = await live.place.stranger.get(f"/v1/principals/{live.place.bob.id}/calendars")
    theirs = listed["calendars"][0]["id"]
    path = f"/v1/principals/{live.place.ann.id}/calendars/{theirs}"
    status, problem = await live.place.platform.call("PATCH", path, {"detail": "busy"})
    assert (status, problem["code"]) == (404, "not-found")
