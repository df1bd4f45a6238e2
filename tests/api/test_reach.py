"""A question beyond the rolling window waits a moment for the objects to be expanded (R25)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.core.recurrence.expand import default_window
from gateway.store.accounts.accounts import Keyring
from gateway.store.booking.schedules import create_token
from gateway.store.booking_tables import horizons
from gateway.store.engine import Database
from gateway.store.objects.expansions import forget_expansions
from gateway.store.objects.objects import get_coverage
from gateway.sync import service
from gateway.sync.windows import extend_wanted
from tests.api.conftest import NOW, AiohttpClient
from tests.api.icloud import Live, running
from tests.sync.conftest import event

DAY = 86_400
FAR = default_window(NOW)[1] // DAY * DAY + 100 * DAY
RULE = "RRULE:FREQ=DAILY"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer than the second that a caller waits."""
    monkeypatch.setattr("gateway.api.process.beyond_window.WAIT_S", 30)


@pytest.fixture
async def live(
    database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """Ann connected; a meeting every day from 09:00 to 10:00 UTC."""
    async with running(database, keyring, aiohttp_client) as made:
        made.ann.put("home", event("daily", "20261001T090000", "20261001T100000", RULE))
        await made.connect(made.ann)
        await made.choose("Home")
        path = f"/v1/principals/{made.place.ann.id}/connection/sync"
        assert (await made.place.platform.post(path))[0] == 200
        yield made


def text(epoch: int) -> str:
    """Write a time as the API takes it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


WINDOW = {"start": text(FAR), "end": text(FAR + DAY)}
MEETING = (text(FAR + 9 * 3600), text(FAR + 10 * 3600))


def covered(live: Live) -> int:
    """Up to when Ann's objects are expanded."""
    with live.place.database.read() as session:
        coverage = get_coverage(session, live.place.ann.id)
    assert coverage is not None
    return coverage[1]


async def by_freebusy(live: Live) -> list[tuple[str, str]]:
    path = f"/v1/principals/{live.place.ann.id}/freebusy"
    _, found = await live.place.reader.get(path, **WINDOW, time_zone="UTC")
    assert found["complete"]
    return [(row["start"], row["end"]) for row in found["busy"]]


async def by_several(live: Live) -> list[tuple[str, str]]:
    body = {"principals": [live.place.ann.id, "p_nobody"], **WINDOW, "time_zone": "UTC"}
    _, found = await live.place.reader.post("/v1/freebusy", body)
    return [(r["start"], r["end"]) for r in found["principals"][live.place.ann.id]["busy"]]


async def by_google(live: Live) -> list[tuple[str, str]]:
    who = live.place.ann.id
    body = {"timeMin": WINDOW["start"], "timeMax": WINDOW["end"], "items": [{"id": who}]}
    _, found = await live.place.reader.post("/v1/compat/google/freeBusy", body)
    return [(row["start"], row["end"]) for row in found["calendars"][who]["busy"]]


async def by_address(live: Live) -> list[tuple[str, str]]:
    with live.place.database.write() as session:
        _, token = create_token(session, live.place.ann.id, label="", detail="exact", now=NOW)
    _, found = await live.place.nobody.get(
        f"/freebusy/{token}", **WINDOW, format="application/json"
    )
    return [(row["start"], row["end"]) for row in found["busy"]]


async def by_explain(live: Live) -> list[tuple[str, str]]:
    path = f"/v1/principals/{live.place.ann.id}/explain"
    _, found = await live.place.platform.get(path, **WINDOW, time_zone="UTC")
    assert found["unknown"] == []
    return [(row["start"], row["end"]) for row in found["reasons"]]


async def by_slots(live: Live) -> list[tuple[str, str]]:
    body = {"principals": [live.place.ann.id], **WINDOW, "duration_minutes": 60}
    _, found = await live.place.reader.post("/v1/availability", {**body, "time_zone": "UTC"})
    starts = {slot["start"] for slot in found["slots"]}
    assert len(starts) == 23
    return [MEETING] if MEETING[0] not in starts else []


async def by_booking(live: Live) -> list[tuple[str, str]]:
    wish = {"principal": live.place.ann.id, "start": MEETING[0], "end": MEETING[1]}
    _, found = await live.place.platform.post("/v1/holds", wish)
    assert found["code"] == "slot-taken"
    return [MEETING]


FACES: dict[str, Callable[[Live], Any]] = {
    "freebusy": by_freebusy,
    "several": by_several,
    "google": by_google,
    "address": by_address,
    "explain": by_explain,
    "slots": by_slots,
    "booking": by_booking,
}


async def forget(live: Live) -> None:
    """Take everything back to the rolling window, as if nobody had asked."""
    with live.place.database.write() as session:
        session.execute(horizons.delete())
        forget_expansions(session, live.place.ann.id)
    await extend_wanted(live.context, live.place.ann.id)


@pytest.mark.rule("R25")
async def test_what_was_extended_stays_so_when_something_is_written(live: Live) -> None:
    await by_freebusy(live)
    far = covered(live)
    live.ann.put("home", event("new", "20261201T120000", "20261201T130000"))
    live.ann.put("home", event("series", "20261201T140000", "20261201T150000", RULE))
    path = f"/v1/principals/{live.place.ann.id}/connection/sync"
    assert (await live.place.platform.post(path))[0] == 200
    assert covered(live) == far
    series = (text(FAR + 14 * 3600), text(FAR + 15 * 3600))
    assert await by_freebusy(live) == [MEETING, series]


@pytest.mark.rule("R25")
async def test_the_past_is_asked_for_as_the_future_is(live: Live) -> None:
    live.ann.put("home", event("old", "20260301T090000", "20260301T100000", RULE))
    path = f"/v1/principals/{live.place.ann.id}"
    assert (await live.place.platform.post(f"{path}/connection/sync"))[0] == 200
    window = {"start": "2026-06-01T00:00:00Z", "end": "2026-06-02T00:00:00Z"}
    _, found = await live.place.reader.get(f"{path}/freebusy", **window, time_zone="UTC")
    assert found["complete"]
    assert [row["start"] for row in found["busy"]] == ["2026-06-01T09:00:00Z"]
    far = {"start": "2020-06-01T00:00:00Z", "end": "2020-06-02T00:00:00Z"}
    status, problem = await live.place.reader.get(f"{path}/freebusy", **far)
    assert (status, problem["code"]) == (422, "window-too-far")


@pytest.mark.rule("R25")
async def test_every_face_sees_beyond_the_window(live: Live) -> None:
    """Each is the first to ask: what came before is forgotten."""
    for number, (name, ask) in enumerate(FACES.items()):
        await forget(live)
        live.ann.put("home", event(f"new{number}", "20261201T120000", "20261201T130000"))
        path = f"/v1/principals/{live.place.ann.id}/connection/sync"
        assert (await live.place.platform.post(path))[0] == 200
        assert covered(live) == default_window(NOW)[1], name
        assert await ask(live) == [MEETING], name
        assert covered(live) >= FAR + DAY, name


@pytest.mark.rule("R27")
async def test_an_appointment_far_ahead_is_moved_and_renamed_as_it_was_made(live: Live) -> None:
    who = {"principal": live.place.ann.id}
    call = live.place.platform.call

    def hours(first: int) -> dict[str, str]:
        return {"start": text(FAR + first * 3600), "end": text(FAR + (first + 1) * 3600)}

    status, made = await live.place.platform.post(
        "/v1/appointments", {**who, **hours(12), "title": "Old"}
    )
    assert status == 201
    path = f"/v1/appointments/{made['id']}"
    assert (await call("PATCH", path, {"title": "New"}))[0] == 200
    assert (await call("PATCH", path, hours(14)))[0] == 200
    status, problem = await call("PATCH", path, hours(9))
    assert (status, problem["code"]) == (409, "slot-taken")
    assert await by_freebusy(live) == [MEETING, tuple(hours(14).values())]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Every expansion on demand waits for this; questions wait for it next to no time."""
    opened = asyncio.Event()
    extend_until = service.extend_until

    async def slowly(*given: Any) -> bool:
        await opened.wait()
        return await extend_until(*given)

    monkeypatch.setattr(service, "extend_until", slowly)
    monkeypatch.setattr("gateway.api.process.beyond_window.WAIT_S", 0.05)
    return opened


@pytest.mark.rule("R25")
async def test_while_a_change_of_zone_is_worked_in_time_is_unknown_and_nobody_waits(
    live: Live, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.ann.put("home", event("floating").replace(b"090000Z", b"090000"))
    person = f"/v1/principals/{live.place.ann.id}"
    assert (await live.place.platform.post(f"{person}/connection/sync"))[0] == 200
    week = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    zone = {"time_zone": "Asia/Tokyo"}
    assert (await live.place.platform.call("PATCH", person, zone))[0] == 200
    _, found = await live.place.reader.get(f"{person}/freebusy", **week)
    assert found["complete"] is False
    assert [row["status"] for row in found["busy"]] == ["unknown", "busy", "unknown"]
    gate.set()
    monkeypatch.setattr("gateway.api.process.beyond_window.WAIT_S", 30)
    assert (await live.place.platform.call("PATCH", person, zone))[0] == 200
    _, found = await live.place.reader.get(f"{person}/freebusy", **week)
    assert (found["complete"], [row["status"] for row in found["busy"]]) == (True, ["busy"])


@pytest.mark.rule("R25")
async def test_who_waits_too_long_is_told_unknown_and_the_next_one_knows(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    runs = 0
    extend_until = service.extend_until

    async def slowly(*given: Any) -> bool:
        nonlocal runs
        runs += 1
        await gate.wait()
        return await extend_until(*given)

    monkeypatch.setattr(service, "extend_until", slowly)
    monkeypatch.setattr("gateway.api.process.beyond_window.WAIT_S", 0.05)
    path = f"/v1/principals/{live.place.ann.id}/freebusy"
    asked = [live.place.reader.get(path, **WINDOW, time_zone="UTC") for _ in range(3)]
    for _, found in await asyncio.gather(*asked):
        assert found["complete"] is False
        assert [row["status"] for row in found["busy"]] == ["unknown"]
        assert {row["problem"] for row in found["sources"]} == {"beyond-window"}
    assert runs == 1
    gate.set()
    monkeypatch.setattr("gateway.api.process.beyond_window.WAIT_S", 30)
    assert await by_freebusy(live) == [MEETING]
    assert runs == 1
    await by_freebusy(live)
    assert runs == 1


async def test_a_stranger_extends_nothing(live: Live) -> None:
    path = f"/v1/principals/{live.place.ann.id}/freebusy"
    assert (await live.place.stranger.get(path, **WINDOW))[0] == 404
    assert covered(live) == default_window(NOW)[1]


@pytest.mark.rule("R23", "R25")
async def test_a_new_zone_and_a_new_rule_hold_when_the_change_is_answered(live: Live) -> None:
    """No worker runs here: the API itself has the objects expanded anew."""
    day = event("day").replace(
        b"DTSTART:20261001T090000Z\r\nDTEND:20261001T100000Z",
        b"DTSTART;VALUE=DATE:20261102\r\nTRANSP:TRANSPARENT",
    )
    live.ann.put("home", day)
    person = f"/v1/principals/{live.place.ann.id}"
    assert (await live.place.platform.post(f"{person}/connection/sync"))[0] == 200
    _, listed = await live.place.platform.get(f"{person}/calendars")
    home = next(row["id"] for row in listed["calendars"] if row["name"] == "Home")

    async def blocked() -> list[tuple[str, str, str]]:
        window = {"start": "2026-11-01T12:00:00Z", "end": "2026-11-04T00:00:00Z"}
        _, found = await live.place.reader.get(f"{person}/freebusy", **window, time_zone="UTC")
        assert found["complete"]
        return [
            (row["start"][5:16], row["end"][5:16], row["status"])
            for row in found["busy"]
            if row["end"][11:16] != "10:00"  # not the daily meeting
        ]

    assert await blocked() == []
    status, _ = await live.place.platform.call(
        "PATCH", f"{person}/calendars/{home}", {"all_day": "block"}
    )
    assert status == 200
    assert await blocked() == [("11-01T23:00", "11-02T23:00", "busy")]
    zone = {"time_zone": "Asia/Tokyo"}
    assert (await live.place.platform.call("PATCH", person, zone))[0] == 200
    assert await blocked() == [("11-01T15:00", "11-02T15:00", "busy")]
