"""What was dropped when an appointment changed on both sides, over HTTP (R17)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from tests.api.conftest import AiohttpClient
from tests.api.icloud import Live, running
from tests.api.test_bookings import at, busy, span, sync, upstream, wish
from tests.services.people import HOUR, MONDAY

HERE, THERE = MONDAY + 3 * HOUR, MONDAY + 6 * HOUR


@pytest.fixture
async def live(
    sqlite_database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """Ann is connected, "Home" is linked."""
    async with running(sqlite_database, keyring, aiohttp_client) as found:
        await set_up(found)
        yield found


@pytest.fixture
async def both(
    database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """The same on both databases."""
    async with running(database, keyring, aiohttp_client) as found:
        await set_up(found)
        yield found


async def set_up(live: Live) -> None:
    """Connect Ann and link "Home"."""
    assert (await live.connect(live.ann))[0] == 201
    await live.choose("Home")
    await sync(live)


async def both_sides_move(live: Live) -> tuple[str, dict[str, Any]]:
    """Move one appointment here and on the phone; returns its path and the conflict."""
    status, made = await live.place.platform.post("/v1/appointments", wish(live.place, MONDAY))
    assert status == 201
    path = f"/v1/appointments/{made['id']}"
    await sync(live)
    (name,) = live.ann.calendar("home").resources
    live.ann.phone.reschedule("home", name, THERE - MONDAY)
    assert (await live.place.platform.call("PATCH", path, span(HERE)))[0] == 200
    live.place.clock.now += 60
    await sync(live)
    status, found = await live.place.platform.get("/v1/conflicts")
    (conflict,) = found["conflicts"]
    assert (status, found["next"]) == (200, None)
    assert conflict == {
        "id": conflict["id"],
        "principal": live.place.ann.id,
        "appointment": made["id"],
        "kind": "time",
        "dropped": "local",
        "created_at": at(live.place.clock.now),
        "resolved_at": None,
        "resolution": None,
    }
    return path, conflict


@pytest.mark.rule("R17", "R26")
async def test_a_conflict_shows_both_times_and_its_texts_to_an_admin_alone(live: Live) -> None:
    _, conflict = await both_sides_move(live)
    path = f"/v1/conflicts/{conflict['id']}"
    plain = {"recurring": False, "title": None, "description": None, "location": None}
    shown = {
        **conflict,
        "stands": {**plain, **span(THERE)},
        "was_dropped": {**plain, **span(HERE)},
    }
    assert await live.place.platform.get(path) == (200, shown)
    texts = {"title": "Very secret", "description": "", "location": ""}
    for side in ("stands", "was_dropped"):
        shown[side] |= texts
    assert await live.place.admin.get(path) == (200, shown)
    assert (await live.place.reader.get(path))[0] == 403
    status, problem = await live.place.stranger.get(path)
    assert (status, problem["code"]) == (404, "not-found")
    assert await live.place.stranger.get("/v1/conflicts") == (200, {"conflicts": [], "next": None})


@pytest.mark.rule("R17")
async def test_a_conflict_is_left_as_it_is(live: Live) -> None:
    appointment, conflict = await both_sides_move(live)
    path = f"/v1/conflicts/{conflict['id']}/resolve"
    live.place.clock.now += 5
    resolved = {**conflict, "resolved_at": at(live.place.clock.now), "resolution": "kept"}
    for _ in range(2):
        assert await live.place.platform.post(path, {"resolution": "kept"}) == (200, resolved)
        live.place.clock.now += 5
    status, problem = await live.place.platform.post(path, {"resolution": "restored"})
    assert (status, problem["code"]) == (409, "conflict-resolved")
    _, listed = await live.place.platform.get("/v1/conflicts")
    assert listed["conflicts"] == []
    _, listed = await live.place.platform.get("/v1/conflicts", resolved="true")
    assert listed["conflicts"] == [resolved]
    _, shown = await live.place.platform.get(appointment)
    assert (shown["start"], shown["push"]) == (at(THERE), "pushed")


@pytest.mark.rule("R17", "R27")
async def test_what_was_dropped_here_is_made_again_as_an_edit(both: Live) -> None:
    appointment, conflict = await both_sides_move(both)
    place, path = both.place, f"/v1/conflicts/{conflict['id']}/resolve"
    status, other = await place.platform.post("/v1/appointments", wish(place, HERE))
    assert status == 201
    status, problem = await place.platform.post(path, {"resolution": "restored"})
    assert (status, problem["code"]) == (409, "slot-taken")
    _, listed = await place.platform.get("/v1/conflicts")
    assert listed["conflicts"] == [conflict]
    after = {"cursor": f"{place.clock.now}-{conflict['id']}"}
    assert await place.platform.get("/v1/conflicts", **after) == (
        200,
        {"conflicts": [], "next": None},
    )
    assert (await place.platform.call("DELETE", f"/v1/appointments/{other['id']}"))[0] == 204
    status, resolved = await place.platform.post(path, {"resolution": "restored"})
    assert (status, resolved["resolution"]) == (200, "restored")
    _, shown = await place.platform.get(appointment)
    assert (shown["start"], shown["push"]) == (at(HERE), "pending")
    assert await busy(place) == [(at(HERE), at(HERE + HOUR))]
    await sync(both)
    (body,) = upstream(both)
    assert f"DTSTART:{at(HERE).replace('-', '').replace(':', '')}".encode() in body
    _, shown = await place.platform.get(appointment)
    assert (shown["start"], shown["push"]) == (at(HERE), "pushed")


@pytest.mark.rule("R17")
async def test_what_icloud_deleted_is_shown_and_cannot_be_restored(live: Live) -> None:
    place = live.place
    _, made = await place.platform.post("/v1/appointments", wish(place, MONDAY))
    await sync(live)
    (name,) = live.ann.calendar("home").resources
    live.ann.delete("home", name)
    await place.platform.call("PATCH", f"/v1/appointments/{made['id']}", span(HERE))
    place.clock.now += 60
    await sync(live)
    _, found = await place.platform.get("/v1/conflicts", principal=place.ann.id)
    (conflict,) = found["conflicts"]
    assert (conflict["kind"], conflict["dropped"]) == ("deleted-upstream", "local")
    assert conflict["appointment"] is None
    _, shown = await place.platform.get(f"/v1/conflicts/{conflict['id']}")
    assert shown["stands"] is None
    assert (shown["was_dropped"]["start"], shown["was_dropped"]["end"]) == tuple(
        span(HERE).values()
    )
    path = f"/v1/conflicts/{conflict['id']}/resolve"
    status, problem = await place.platform.post(path, {"resolution": "restored"})
    assert (status, problem["code"]) == (409, "conflict-not-restorable")
    status, resolved = await place.platform.post(path, {"resolution": "kept"})
    assert (status, resolved["resolution"]) == (200, "kept")
