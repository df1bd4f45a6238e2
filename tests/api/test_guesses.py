"""Whoever guesses keys or public addresses is stopped by where they come from."""

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.api.process.readiness import Readiness
from gateway.store.access.login_failures import PER_ADDRESS, PER_NAME, WINDOW_S
from gateway.store.booking.schedules import create_token
from tests.api.conftest import NOW, Place
from tests.api.doors import Answer, Line, ask, request, served
from tests.store.test_failure_counter import locked, rows

RIGHT = request("GET", "/v1/principals", Authorization="Bearer KEY")


def wrong(n: int, **headers: str) -> bytes:
    return request("GET", "/v1/principals", Authorization=f"Bearer gw_wrong{n}", **headers)


async def answers(port: int, sent: list[bytes], source: str = "127.0.0.1") -> list[Answer]:
    line = await Line.open(port, source)
    found = [await line.ask(one) for one in sent]
    line.close()
    return found


def right(place: Place, name: str = "platform") -> bytes:
    return RIGHT.replace(b"KEY", place.secrets[name].encode())


async def test_wrong_keys_are_stopped_by_address_and_what_was_right_goes_on(place: Place) -> None:
    async with served(place) as port:
        assert (await ask(port, right(place))).status == 200
        found = await answers(port, [wrong(n) for n in range(PER_ADDRESS + 5)])
        assert [one.status for one in found] == [401] * PER_ADDRESS + [429] * 5
        assert found[-1].headers["retry-after"] == str(WINDOW_S)
        assert found[-1].problem["code"] == "rate-limited"
        assert (await ask(port, right(place))).status == 200
        assert (await ask(port, right(place, "stranger"))).status == 429  # not seen before
        there = await answers(port, [wrong(1), right(place, "stranger")], "127.0.0.2")
        assert [one.status for one in there] == [401, 200]


async def test_a_wrong_key_is_told_so_more_often_than_a_login(place: Place) -> None:
    async with served(place) as port:
        found = await answers(port, [wrong(0)] * (PER_NAME + 50))
        assert {one.status for one in found} == {401}


async def test_a_revoked_key_is_refused_whoever_guesses(place: Place) -> None:
    async with served(place) as port:
        assert (await ask(port, right(place, "reader"))).status == 403
        await answers(port, [wrong(n) for n in range(PER_ADDRESS)])
        _, listed = await place.admin.get("/v1/keys")
        (key,) = [one["id"] for one in listed["keys"] if one["name"] == "reader"]
        await place.admin.call("DELETE", f"/v1/keys/{key}")
        assert (await ask(port, right(place, "reader"))).status in (401, 429)


async def test_guessed_public_addresses_are_stopped_too(place: Place) -> None:
    with place.database.write() as session:
        _, token = create_token(session, place.ann.id, label="", detail="exact", now=NOW)
    known = request("GET", f"/freebusy/{token}")
    async with served(place) as port:
        assert (await ask(port, known)).status == 200
        guesses = [request("GET", f"/freebusy/guess{n}") for n in range(PER_ADDRESS + 2)]
        found = [one.status for one in await answers(port, guesses)]
        assert found == [404] * PER_ADDRESS + [429] * 2
        assert (await ask(port, known)).status == 200


async def test_clients_of_a_listed_proxy_are_told_apart(place: Place) -> None:
    async with served(place, trusted_proxies=("127.0.0.1",)) as port:
        one, other = "203.0.113.1", "6.6.6.6, 203.0.113.2"
        tries = [wrong(n, X_Forwarded_For=one) for n in range(PER_ADDRESS + 1)]
        assert (await answers(port, tries))[-1].status == 429
        assert (await ask(port, wrong(1, X_Forwarded_For=other))).status == 401


async def test_a_locked_database_makes_nobody_wait_for_a_refusal(place: Place) -> None:
    async with served(place) as port:
        with locked(place.database):
            began = time.monotonic()
            found = await answers(port, [wrong(n) for n in range(PER_ADDRESS + 1)])
            assert time.monotonic() - began < 5
            assert [one.status for one in found] == [401] * PER_ADDRESS + [429]
        async with asyncio.timeout(15):
            while rows(place.database) < PER_ADDRESS:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("listed", [True, False])
async def test_an_unlisted_neighbour_that_forwards_is_warned_about_once(
    place: Place, listed: bool
) -> None:
    sent = request("GET", "/healthz", X_Forwarded_For="203.0.113.9")
    trusted = ("127.0.0.1",) if listed else ()
    with capture_logs() as told:
        async with served(place, trusted_proxies=trusted) as port:
            await answers(port, [sent] * 3)
            await answers(port, [sent] * 3)
    warned: list[Any] = [one for one in told if one["log_level"] == "warning"]
    assert [one["neighbour"] for one in warned] == ([] if listed else ["127.0.0.1"])


# --- what costs nothing however often it is asked for ---


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_pages_are_sent_once_to_whom_has_them(place: Place, path: str) -> None:
    async with served(place) as port:
        first = await ask(port, request("GET", path))
        etag = first.headers["etag"]
        again = await ask(port, request("GET", path, If_None_Match=etag))
        other = await ask(port, request("GET", path, If_None_Match='"other"'))
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert again.headers["etag"] == etag
    assert (other.status, other.body) == (200, first.body)


async def test_metrics_are_not_on_the_api(place: Place) -> None:
    async with served(place) as port:
        assert (await ask(port, request("GET", "/metrics"))).status == 404


async def test_readiness_is_looked_at_once_for_all_who_ask() -> None:
    looked = 0

    def look() -> None:
        nonlocal looked
        looked += 1
        time.sleep(0.05)

    ready = Readiness(look)
    assert await asyncio.gather(*(ready() for _ in range(50))) == [None] * 50
    assert await ready() is None
    assert looked == 1
