"""Requests are counted by key, told in every answer, and added up between processes."""

import pytest

from gateway.api.app import build_api
from gateway.api.process.limits import MAX_CALLERS, WINDOW_S, Limits, name_public
from gateway.core.errors import TooManyRequests
from gateway.settings import load_settings
from gateway.store.access.keys import find_key
from gateway.store.access.rate_counts import add_counts
from tests.api.conftest import NOW, AiohttpClient, Caller, Place

MINUTE = NOW - NOW % WINDOW_S


def test_a_minute_has_its_quota_and_the_next_one_a_new_one() -> None:
    limits = Limits(2)
    assert limits.take("a", MINUTE) == '"minute";r=1;t=60'
    assert limits.take("a", MINUTE + 59.5) == '"minute";r=0;t=1'
    assert limits.take("b", MINUTE + 59.5) == '"minute";r=1;t=1'
    for _ in range(3):
        with pytest.raises(TooManyRequests) as refused:
            limits.take("a", MINUTE + 50)
        assert refused.value.retry_after_s == 10
    assert limits.take("a", MINUTE + 60) == '"minute";r=1;t=60'
    assert limits.take("a", MINUTE) == '"minute";r=1;t=60'  # the clock was set back


def test_so_many_public_addresses_share_one_count_in_the_end() -> None:
    limits = Limits(3)
    for number in range(MAX_CALLERS):
        limits.take(name_public(str(number)), MINUTE)
    assert [limits.take(name_public(name), MINUTE)[:12] for name in ("x", "y", "z")] == [
        '"minute";r=2',
        '"minute";r=1',
        '"minute";r=0',
    ]
    with pytest.raises(TooManyRequests):
        limits.take(name_public("u"), MINUTE)
    assert limits.take(name_public("5"), MINUTE)[:12] == '"minute";r=1'


def test_two_processes_add_up_what_they_counted(both: Place) -> None:
    one, two = Limits(10), Limits(10)

    def share(limits: Limits, meanwhile: int = 0) -> None:
        told = limits.unshared()
        with both.database.write() as session:
            totals = add_counts(session, told.window, told.counts)
        for _ in range(meanwhile):
            limits.take("a", MINUTE + 1)
        limits.learn(told, totals)

    for limits, count in ((one, 3), (two, 4)):
        for _ in range(count):
            limits.take("a", MINUTE)
    one.take("b", MINUTE)
    share(one, meanwhile=1)
    share(two)
    assert two.take("a", MINUTE)[:12] == '"minute";r=2'  # 3 + 4 and this one
    share(one)
    assert one.take("a", MINUTE)[:12] == '"minute";r=1'  # 4 + 4 and this one
    share(two)
    share(one)
    for limits in (one, two):
        assert limits.unshared().counts == {}
    share(two)
    with pytest.raises(TooManyRequests):
        for _ in range(2):
            one.take("a", MINUTE)
    assert one.take("b", MINUTE)[:12] == '"minute";r=8'


def test_a_total_of_the_minute_before_is_not_learned() -> None:
    limits = Limits(10)
    limits.take("a", MINUTE)
    told = limits.unshared()
    limits.take("a", MINUTE + WINDOW_S)
    limits.learn(told, {"a": 9})
    assert limits.take("a", MINUTE + WINDOW_S)[:12] == '"minute";r=8'


def test_earlier_minutes_are_forgotten(place: Place) -> None:
    with place.database.write() as session:
        assert add_counts(session, 1, {"a": 2}) == {"a": 2}
        assert add_counts(session, 1, {"a": 3, "b": 1}) == {"a": 5, "b": 1}
        assert add_counts(session, 2, {"a": 1}) == {"a": 1}
        assert add_counts(session, 1, {"b": 1}) == {"b": 1}


async def test_answers_tell_what_is_left_and_429_when_to_go_on(
    place: Place, aiohttp_client: AiohttpClient
) -> None:
    settings = load_settings(
        requests_per_minute=3, public_requests_per_minute=2, upstream_allow_loopback=True
    )
    app = build_api(settings, place.database, place.keyring, sync=None, clock=place.clock)  # type: ignore[arg-type]
    client = await aiohttp_client(app)
    caller = Caller(client, place.secrets["platform"])
    place.clock.now = MINUTE
    week = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-09T00:00:00Z"}
    path = f"/v1/principals/{place.ann.id}/freebusy"
    found = [
        await caller.send("GET", path, params=week),
        await caller.send("GET", "/v1/principals"),
        await caller.send("GET", "/v1/principals/p_nobody"),
    ]
    assert [(answer.status, answer.headers["RateLimit"]) for answer in found] == [
        (200, '"minute";r=2;t=60'),
        (200, '"minute";r=1;t=60'),
        (404, '"minute";r=0;t=60'),
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in found} == {'"minute";q=3;w=60'}
    place.clock.now += 18
    refused = await caller.send("GET", path, params=week)
    problem = await refused.json(content_type=None)
    assert (refused.status, problem["code"]) == (429, "rate-limited")
    assert (refused.headers["Retry-After"], refused.headers["RateLimit"]) == (
        "42",
        '"minute";r=0;t=42',
    )
    other = Caller(client, place.secrets["stranger"])
    assert (await other.send("GET", "/v1/principals")).status == 200
    for address, left in (("a", 1), ("a", 0), ("b", 1)):
        answer = await client.get(f"/freebusy/{address}")
        assert (answer.status, answer.headers["RateLimit"][:12]) == (404, f'"minute";r={left}')
    for path in ("/healthz", "/readyz"):
        assert "RateLimit" not in (await client.get(path)).headers
    pages = [(await client.get(path)).status for path in ("/openapi.json", "/docs", "/docs")]
    assert pages == [200, 200, 429]
    place.clock.now = MINUTE + WINDOW_S
    assert (await caller.send("GET", "/v1/principals")).status == 200


async def test_a_running_api_learns_what_another_counted(
    place: Place, aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.process.limits.SHARE_EVERY_S", 0.01)
    place.clock.now = MINUTE
    settings = load_settings(requests_per_minute=10_000)
    app = build_api(settings, place.database, place.keyring, sync=None, clock=place.clock)  # type: ignore[arg-type]
    caller = Caller(await aiohttp_client(app), place.secrets["platform"])
    with place.database.read() as session:
        key = find_key(session, place.secrets["platform"])
    assert key is not None
    with place.database.write() as session:
        add_counts(session, MINUTE // WINDOW_S, {key.id: 5000})
    left = 10_000
    for _ in range(3000):
        told = (await caller.send("GET", "/v1/principals")).headers["RateLimit"]
        left = int(told.split("r=")[1].split(";")[0])
        if left < 5000:
            break
    assert left < 5000


def test_less_than_a_hundredth_is_not_shared() -> None:
    limits = Limits(1000)
    for number in range(500):
        limits.take(f"guess {number}", MINUTE)
    for _ in range(9):
        limits.take("a", MINUTE)
    assert limits.unshared().counts == {}
    limits.take("a", MINUTE)
    assert limits.unshared().counts == {"a": 10}


async def test_no_limit_says_nothing(place: Place, aiohttp_client: AiohttpClient) -> None:
    settings = load_settings(requests_per_minute=0)
    app = build_api(settings, place.database, place.keyring, sync=None, clock=place.clock)  # type: ignore[arg-type]
    caller = Caller(await aiohttp_client(app), place.secrets["platform"])
    answer = await caller.send("GET", "/v1/principals")
    assert (answer.status, "RateLimit" in answer.headers) == (200, False)
