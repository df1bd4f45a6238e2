"""Asking iCloud just before a booking: live is what was read to its end, nothing less (R28)."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.api.booking import handlers as bookings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from tests.api.conftest import AiohttpClient
from tests.api.icloud import Live, running
from tests.api.test_bookings import wish
from tests.services.people import HOUR, MONDAY, meeting

pytestmark = pytest.mark.rule("R28")

FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # what is taken on the phone, the fault, its parameters
    "conflict 500": ("work", "calendar-error", {"calendar": "work", "status": 500}),
    "conflict 403": ("work", "calendar-error", {"calendar": "work", "status": 403}),
    "linked 500": ("home", "calendar-error", {"calendar": "home", "status": 500}),
    "lag": ("work", "lag", {"after": 10**7}),
    "empty report": ("work", "empty-multistatus", {"method": "REPORT"}),
    "cut report": ("work", "cut-body", {"method": "REPORT"}),
    "ghost": ("work", "ghost", {}),
    "error row": ("work", "ghost", {"status": 403, "listed": "error"}),
    "silent multiget": ("work", "ghost", {"status": 0}),
}


@pytest.fixture
async def live(
    sqlite_database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """Ann's account: Home is linked, Work a conflict calendar, both read."""
    async with running(sqlite_database, keyring, aiohttp_client) as started:
        await started.connect(started.ann)
        await started.choose("Home", "Work")
        await sync(started)
        yield started


async def sync(live: Live) -> dict[str, Any]:
    path = f"/v1/principals/{live.place.ann.id}/connection/sync"
    status, answer = await live.place.platform.post(path)
    assert status == 200, answer
    return answer


async def book(live: Live, start: int, verify: str) -> tuple[int, Any]:
    return await live.place.platform.post(
        "/v1/appointments", wish(live.place, start, verify=verify)
    )


@pytest.mark.parametrize("form", FORMS)
async def test_required_refuses_what_was_not_read(live: Live, form: str) -> None:
    taken, fault, params = FORMS[form]
    names = {"home": "Home", "work": "Work"}
    live.upstream.world.faults.set(fault, live.ann.email, **params)
    live.ann.put(taken, meeting(MONDAY).encode())
    live.place.clock.now += 60
    status, problem = await book(live, MONDAY, "required")
    assert (status, problem["code"]) == (502, "verification-failed")
    assert names[taken] in problem["detail"]
    assert [row["name"] for row in problem["calendars"]] == [names[taken]]
    assert problem["calendars"][0]["id"] == problem["calendar"]
    assert problem["reason"] == problem["calendars"][0]["reason"] != ""
    told = {row["name"]: row for row in (await sync(live))["results"]}
    assert told[names[taken]]["outcome"] in ("failed", "catching-up")
    assert told[names[taken]]["problem"] == problem["reason"]
    other = "Home" if taken == "work" else "Work"
    assert told[other]["outcome"] in ("unchanged", "read")
    status, made = await book(live, MONDAY + 3 * HOUR, "live")
    assert (status, made["verified"]) == (201, "cached")
    live.upstream.world.faults.clear()
    live.place.clock.now += 60
    assert (await book(live, MONDAY, "required"))[1]["code"] == "slot-taken"
    status, made = await book(live, MONDAY + 6 * HOUR, "required")
    assert (status, made["verified"], made["verified_age_s"]) == (201, "live", 0)


async def test_the_age_is_that_of_the_oldest_calendar_that_blocks(live: Live) -> None:
    live.upstream.world.faults.set("calendar-error", live.ann.email, calendar="work")
    live.ann.put("work", meeting(MONDAY).encode())
    live.place.clock.now += 300
    answer = await sync(live)
    assert not answer["complete"]
    assert answer["state"] == "ok"
    assert {row["calendar"] for row in answer["problems"]} == {answer["results"][1]["calendar"]}
    status, made = await book(live, MONDAY + 3 * HOUR, "live")
    assert (status, made["verified"], made["verified_age_s"]) == (201, "cached", 300)
    calendars = {row["name"]: row["synced_at"] for row in answer["calendars"]}
    assert answer["synced_at"] == calendars["Work"] != calendars["Home"]
    _, counts = await live.place.platform.get("/v1/status")
    assert counts["oldest_sync_at"] == calendars["Work"]


async def test_whoever_asks_shares_one_run_and_one_deadline(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookings, "VERIFY_WITHIN_S", 0.5)
    live.ann.put("work", meeting(MONDAY).encode())
    live.upstream.world.faults.set("slow", live.ann.email, by=6, method="REPORT")
    live.place.clock.now += 60

    def reports() -> int:
        journal = live.upstream.world.journal
        return len(journal.select(account=live.ann.email, method="REPORT"))

    before = reports()
    began = time.monotonic()
    refused, again, cached = await asyncio.gather(
        book(live, MONDAY, "required"),
        book(live, MONDAY + 3 * HOUR, "required"),
        book(live, MONDAY + 6 * HOUR, "live"),
    )
    assert time.monotonic() - began < 5
    for status, problem in (refused, again):
        assert (status, problem["code"]) == (502, "verification-failed")
        assert problem["reason"] == "upstream-unreachable"
    assert (cached[0], cached[1]["verified"], cached[1]["verified_age_s"]) == (201, "cached", 60)
    assert reports() <= before + 1
    await sync(live)  # the run goes on for the next who asks, and ends


async def test_what_does_not_block_is_not_waited_for(live: Live) -> None:
    path = f"/v1/principals/{live.place.ann.id}"
    _, listed = await live.place.platform.get(f"{path}/calendars")
    ids = {row["name"]: row["id"] for row in listed["calendars"]}
    roles = {"linked": ids["Home"], "conflicts": [ids["Work"]], "linked_blocks": False}
    await live.place.platform.call("PUT", f"{path}/calendar-roles", roles)
    await sync(live)
    live.upstream.world.faults.set("calendar-error", live.ann.email, calendar="home")
    live.ann.put("home", meeting(MONDAY).encode())
    status, made = await book(live, MONDAY, "required")
    assert (status, made["verified"]) == (201, "live")


@pytest.mark.parametrize("what", ["missing", "chosen"])
async def test_a_calendar_that_was_not_looked_at_is_not_live(live: Live, what: str) -> None:
    if what == "missing":
        live.ann.drop_calendar("work")
        reason = "calendar-missing"
    else:
        live.upstream.world.faults.set("calendar-error", live.ann.email, calendar="family")
        live.ann.add_calendar("Team")
        await sync(live)
        reason = "upstream-unreachable"
        live.upstream.world.faults.set("calendar-error", live.ann.email)
        await live.choose("Home", "Work", "Team")
    status, problem = await book(live, MONDAY, "required")
    assert (status, problem["code"]) == (502, "verification-failed")
    assert problem["reason"] == reason


async def test_a_member_set_aside_is_not_waited_for(live: Live) -> None:
    live.upstream.world.faults.set("ghost", live.ann.email)
    live.ann.put("work", meeting(MONDAY).encode())
    await sync(live)
    live.place.clock.now += 900
    await sync(live)
    status, made = await book(live, MONDAY + 3 * HOUR, "required")
    assert (status, made["verified"]) == (201, "live")
    path = f"/v1/principals/{live.place.ann.id}/connection"
    _, account = await live.place.platform.get(path)
    (problem,) = account["problems"]
    assert problem["code"] == "member-set-aside"
    assert problem["member"].endswith(".ics")
