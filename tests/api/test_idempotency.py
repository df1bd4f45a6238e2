"""The Idempotency-Key: carried out once, answered alike, across processes and restarts (R29)."""

import asyncio
from typing import Any

import pytest

from gateway.api.app import build_api
from gateway.api.http.state import STATE
from gateway.core.errors import PassingConflict, StoreBusy
from gateway.services.accounts import views
from gateway.store.access import idempotency, keys, principals
from gateway.store.booking_tables import idempotency as table
from gateway.store.engine import Database
from tests.api.conftest import AiohttpClient, Caller, Place

pytestmark = pytest.mark.rule("R29")

BODY = {"name": "Cleo", "time_zone": "UTC"}


async def post(
    caller: Caller, key: str, body: Any = BODY, path: str = "/v1/principals"
) -> tuple[int, Any, bool]:
    """POST under a key; returns status, answer and whether it was a replay."""
    answer = await caller.send("POST", path, json=body, headers={"Idempotency-Key": key})
    found = await answer.json(content_type=None)
    return answer.status, found, "Idempotency-Replayed" in answer.headers


def count(place: Place) -> int:
    """Count Ann's subaccount."""
    with place.database.read() as session:
        return len(principals.list_principals(session, subaccount_id=place.ann.subaccount_id))


async def second(place: Place, aiohttp_client: AiohttpClient) -> Caller:
    """A caller at another process's API on the same database."""
    database = Database(place.database.url.render_as_string(hide_password=False))
    app = build_api(place.settings, database, place.keyring, sync=None, clock=place.clock)  # type: ignore[arg-type]

    async def close(_: object) -> None:
        database.close()

    app.on_cleanup.append(close)
    return Caller(await aiohttp_client(app), place.secrets["platform"])


async def test_the_same_request_is_carried_out_once(
    both: Place, aiohttp_client: AiohttpClient
) -> None:
    status, made, replayed = await post(both.platform, "k1")
    assert (status, replayed) == (201, False)
    other = await second(both, aiohttp_client)
    assert await post(both.platform, "k1") == (201, made, True)
    assert await post(other, "k1") == (201, made, True)
    assert count(both) == 2


async def test_rivals_with_one_key_make_one_thing(
    both: Place, aiohttp_client: AiohttpClient
) -> None:
    other = await second(both, aiohttp_client)
    found = await asyncio.gather(
        *(post(caller, "k1") for caller in (both.platform, other) for _ in range(8))
    )
    outcomes = {(status, answer.get("id"), answer.get("code")) for status, answer, _ in found}
    made = [one for one in outcomes if one[0] == 201]
    assert len(made) == 1
    assert outcomes - set(made) <= {(409, None, "idempotency-in-progress")}
    assert count(both) == 2


@pytest.mark.parametrize("change", ["body", "path"])
async def test_another_request_under_the_same_key_is_refused(place: Place, change: str) -> None:
    await post(place.platform, "k1")
    if change == "body":
        status, problem, _ = await post(place.platform, "k1", {**BODY, "name": "Dora"})
    else:
        path = f"/v1/principals/{place.ann.id}/logins"
        status, problem, _ = await post(place.platform, "k1", {"kind": "device"}, path)
    assert (status, problem["code"]) == (422, "idempotency-key-reused")
    assert count(place) == 2


async def test_keys_of_two_callers_do_not_meet(place: Place) -> None:
    assert (await post(place.platform, "k1"))[0] == 201
    assert (await post(place.stranger, "k1"))[0] == 201


async def test_a_refusal_is_remembered_too(place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/connection/pause"
    first = await post(place.platform, "k2", None, path)
    assert (first[0], first[2]) == (404, False)
    assert await post(place.platform, "k2", None, path) == (404, first[1], True)


async def test_a_secret_is_not_replayed_and_not_stored(place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/logins"
    status, made, _ = await post(place.platform, "k1", {"kind": "device"}, path)
    assert status == 201
    status, problem, _ = await post(place.platform, "k1", {"kind": "device"}, path)
    assert (status, problem["code"]) == (409, "secret-not-replayable")
    with place.database.read() as session:
        rows = session.execute(table.select()).all()
        assert len(principals.list_logins(session, place.ann.id)) == 1
    assert made["password"].encode() not in repr(rows).encode()


async def test_a_failure_of_ours_is_not_remembered(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreBusy("The database is busy; nothing was changed.")

    with monkeypatch.context() as patch:
        patch.setattr(principals, "create_principal", fail)
        status, problem, _ = await post(place.platform, "k1")
        assert (status, problem["code"]) == (503, "store-busy")
    assert (await post(place.platform, "k1"))[::2] == (201, False)


async def test_a_key_is_forgotten_after_a_day(place: Place) -> None:
    first = await post(place.platform, "k1")
    place.clock.now += idempotency.REMEMBER_S - 1
    assert (await post(place.platform, "k1"))[1] == first[1]
    place.clock.now += 1
    assert (await post(place.platform, "k1"))[1] != first[1]
    with place.database.write() as session:
        assert idempotency.forget_expired(session, now=place.clock.now + 10) == 0
        assert idempotency.forget_expired(session, now=place.clock.now + 86_400) == 1


async def test_a_request_that_died_is_taken_over_and_its_ghost_changes_nothing(
    both: Place,
) -> None:
    """What a crashed process reserved is free in seconds; should it still live, it fails."""
    with both.database.read() as session:
        found = keys.find_key(session, both.secrets["platform"])
        assert found is not None
    digest = b"x" * 32

    def reserve(now: int) -> Any:
        with both.database.write() as session:
            return idempotency.reserve(
                session, key_id=found.id, key="k1", request_hash=digest, now=now
            )

    ghost = reserve(both.clock.now)
    with pytest.raises(idempotency.StateConflict) as running:
        reserve(both.clock.now + idempotency.LEASE_S - 1)
    assert (running.value.code, running.value.retry_after_s) == ("idempotency-in-progress", 1)  # type: ignore[attr-defined]
    heir = reserve(both.clock.now + idempotency.LEASE_S)
    answer = {"status": 201, "content_type": "application/json", "body": b"{}"}
    with pytest.raises(idempotency.StateConflict), both.database.write() as session:
        principals.create_subaccount(session, name="ghost", now=both.clock.now)
        idempotency.record_answer(session, ghost, **answer)  # type: ignore[arg-type]
    with both.database.write() as session:
        assert "ghost" not in [row.name for row in principals.list_subaccounts(session)]
        idempotency.record_answer(session, heir, **answer)  # type: ignore[arg-type]
    assert reserve(both.clock.now + 500) == idempotency.RecordedAnswer(
        201, "application/json", b"{}"
    )


async def test_the_owner_of_a_running_request_keeps_it_however_long_it_takes(
    both: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewed by its owner; whoever asks meanwhile is told when to ask again."""
    monkeypatch.setattr(idempotency, "RENEW_S", 0.01)
    started, let_go, renewed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    slow_read, renew = both.client.app[STATE].threads.read, idempotency.renew

    async def wait(function: Any, *arguments: Any, **options: Any) -> Any:
        if function is views.connected_account and not started.is_set():
            started.set()
            await let_go.wait()
        return await slow_read(function, *arguments, **options)

    def note(*arguments: Any, now: int) -> bool:
        alive = renew(*arguments, now=now)
        if now > later:
            loop.call_soon_threadsafe(renewed.set)
        return alive

    loop, later = asyncio.get_running_loop(), both.clock.now + 100
    monkeypatch.setattr(idempotency, "renew", note)
    path, threads = f"/v1/principals/{both.ann.id}/connection/pause", both.client.app[STATE].threads
    with monkeypatch.context() as patch:
        patch.setattr(threads, "read", wait)
        first = asyncio.create_task(post(both.platform, "k1", None, path))
        await started.wait()
        both.clock.now = later + idempotency.LEASE_S * 10
        await renewed.wait()
        answer = await both.platform.send("POST", path, headers={"Idempotency-Key": "k1"})
        assert (answer.status, answer.headers["Retry-After"]) == (409, str(idempotency.LEASE_S))
        assert (await answer.json(content_type=None))["code"] == "idempotency-in-progress"
        let_go.set()
        assert (await first)[0] == 404
    assert (await post(both.platform, "k1", None, path))[::2] == (404, True)


@pytest.mark.parametrize(
    "code", ["availability-unknown", "sync-running", "idempotency-in-progress"]
)
async def test_a_conflict_that_passes_is_not_remembered(
    place: Place, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PassingConflict("Not now.", code=code, retry_after_s=3.2)

    with monkeypatch.context() as patch:
        patch.setattr(principals, "create_principal", fail)
        answer = await place.platform.send(
            "POST", "/v1/principals", json=BODY, headers={"Idempotency-Key": "k1"}
        )
        assert (answer.status, answer.headers["Retry-After"]) == (409, "4")
    assert (await post(place.platform, "k1"))[::2] == (201, False)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\xe9"])
async def test_a_key_that_is_none(place: Place, key: str) -> None:
    status, problem, _ = await post(place.platform, key)
    assert (status, problem["code"]) == (422, "idempotency-key-invalid")
    assert count(place) == 1


async def test_without_a_key_every_request_counts(place: Place) -> None:
    for _ in range(2):
        assert (await place.platform.post("/v1/principals", BODY))[0] == 201
    assert count(place) == 3
