"""Nobody is frozen by a client: compressed bodies, odd targets, slow and many connections."""

import asyncio
import gzip
import time
import zlib
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.api.routes.table import ROUTES
from gateway.settings import load_settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.threads import StoreThreads
from gateway.sync.context import SyncContext
from gateway.sync.service import AccountService
from tests.api.conftest import AiohttpClient, Place, start
from tests.api.doors import Answer, Line, ask, request, served

PROBLEM = "application/problem+json"
HEALTH = request("GET", "/healthz")
_BOMB = gzip.compress(bytes(30_000_000))


def _paths() -> list[tuple[str, str]]:
    known = [(route.method, route.path) for route in ROUTES]
    return [*known, ("POST", "/no/such/path"), ("PUT", "/healthz"), ("POST", "/")]


def is_told(answer: Answer, told: list[Any]) -> bool:
    """Whether the log names the answer's request id, with its status."""
    found = [one for one in told if one.get("request_id") == answer.problem["request_id"]]
    return [one["status"] for one in found] == [answer.status]


def tracebacks(told: list[Any], caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return what was logged with a traceback, by us or by a library."""
    ours = [one for one in told if one.get("exc_info")]
    return ours + [record for record in caplog.records if record.exc_info]


# --- compressed bodies ---


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZip", "gzip, gzip", "x"])
async def test_a_compressed_body_is_refused_on_every_route(place: Place, coding: str) -> None:
    async with served(place) as port:
        line = await Line.open(port)
        for method, path in _paths():
            target = path.replace("{", "").replace("}", "")
            sent = request(method, target, b"abc", Content_Encoding=coding)
            answer = await line.ask(sent)
            assert (answer.status, answer.problem["code"]) == (415, "content-encoding-refused")
            assert answer.headers["accept-encoding"] == "identity"
        line.close()


@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("body", [b"no gzip at all", _BOMB, zlib.compress(b"{}")])
async def test_not_a_byte_of_it_is_inflated(
    place: Place, key: bool, framing: str, body: bytes
) -> None:
    """What is no gzip cannot be inflated: the next request on the connection shows nobody tried."""
    headers = {"Content_Encoding": "gzip", "Content_Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {place.secrets['platform']}"
    if framing == "length":
        sent = request("POST", "/v1/holds", body, **headers)
    else:
        sent = request("POST", "/v1/holds", **headers, Transfer_Encoding="chunked")
        sent += b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    async with served(place) as port:
        line = await Line.open(port)
        began = time.process_time()
        assert (await line.ask(sent)).status == 415
        assert (await line.ask(HEALTH)).status == 200
        assert time.process_time() - began < 1
        line.close()


async def test_a_body_that_says_it_is_not_compressed_is_read(place: Place) -> None:
    headers = {"Content_Type": "application/json", "Content_Encoding": "identity"}
    key = f"Bearer {place.secrets['platform']}"
    async with served(place) as port:
        sent = request("POST", "/v1/holds", b"{}", Authorization=key, **headers)
        assert (await ask(port, sent)).problem["code"] == "invalid-request"


# --- what never reaches a handler ---


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (request("OPTIONS", "*"), 404, "not-found"),
        (request("CONNECT", "example.org:443"), 404, "not-found"),
        (request("GET", "/%0d%0aX-Evil:1"), 404, "not-found"),
        (request("GET", "/v1/%0d%0a/status"), 404, "not-found"),
        (request("GET", "/%0A"), 404, "not-found"),
        (request("GET", "/v1/status", Expect="foo"), 417, "expectation-failed"),
        (request("POST", "/v1/holds", b"{}", Expect="200-maybe"), 417, "expectation-failed"),
        (request("GET", "/no/such/path", Expect="foo"), 417, "expectation-failed"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "request-unreadable"),
    ],
)
async def test_an_odd_request_is_a_problem_whose_id_is_in_the_log(
    place: Place, sent: bytes, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as told:
        async with served(place) as port:
            answer = await ask(port, sent)
    assert (answer.status, answer.problem["code"]) == (status, code)
    assert answer.headers["content-type"] == PROBLEM
    assert answer.problem["request_id"] == answer.headers["x-request-id"]
    assert is_told(answer, told)
    assert not tracebacks(told, caplog)


async def test_a_body_is_invited_only_when_it_is_wanted(place: Place) -> None:
    key = f"Bearer {place.secrets['platform']}"
    waits = {"Expect": "100-continue", "Content_Type": "application/json", "Content_Length": "2"}
    async with served(place) as port:
        line = await Line.open(port)
        first = await line.ask(request("POST", "/v1/holds", Authorization=key, **waits))
        assert (first.status, first.body) == (100, b"")
        assert (await line.ask(b"{}")).status == 422
        line.close()
        for unwanted in ({}, {"Authorization": key, "Content_Encoding": "gzip"}):
            answer = await ask(port, request("POST", "/v1/holds", **waits, **unwanted))
            assert answer.status in (401, 415)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET", "/v1/status"), 401),
        (request("GET", "/v1/none"), 404),
        (request("PUT", "/healthz"), 405),
        (request("GET", "/v1/pushes/1/retry", Authorization="Bearer KEY"), 405),
        (request("POST", "/v1/holds", b"{", Authorization="Bearer KEY"), 415),
        (request("GET", "/v1/principals?x=1", Authorization="Bearer KEY"), 422),
    ],
)
async def test_every_refusal_is_found_in_the_log_by_its_id(
    place: Place, sent: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as told:
        async with served(place) as port:
            answer = await ask(port, sent.replace(b"KEY", place.secrets["admin"].encode()))
    assert answer.status == status
    assert is_told(answer, told)
    assert not tracebacks(told, caplog)


# --- clients that hang up ---


@pytest.mark.parametrize(
    "begun",
    [
        request("POST", "/v1/holds", Authorization="Bearer KEY", Content_Length="500") + b"{",
        request("POST", "/v1/holds", Authorization="Bearer KEY", Transfer_Encoding="chunked")
        + b"5\r\n{",
        request("POST", "/v1/holds", Authorization="Bearer KEY", Transfer_Encoding="chunked")
        + b"zz\r\n",
        request("POST", "/v1/none", Content_Length="500") + b"{",
        b"GET /healthz HT",
        HEALTH * 20,
    ],
)
async def test_a_client_that_hangs_up_is_no_traceback(
    place: Place, begun: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as told:
        async with served(place) as port:
            for _ in range(3):
                line = await Line.open(port)
                line.writer.write(begun.replace(b"KEY", place.secrets["platform"].encode()))
                await line.writer.drain()
                line.writer.transport.abort()
            assert (await ask(port, HEALTH)).status == 200
    assert not tracebacks(told, caplog)


# --- slow clients ---


async def test_a_head_that_never_ends_is_timed_out(place: Place) -> None:
    async with served(place, api_header_timeout_s=0.4) as port:
        line = await Line.open(port)
        line.writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")

        async def trickle() -> None:
            while True:
                line.writer.write(b"a")
                await asyncio.sleep(0.05)

        slow = asyncio.create_task(trickle())
        answer = await line.answer()
        slow.cancel()
        assert (answer.status, answer.problem["code"]) == (408, "request-too-slow")
        await line.ended()
        line.close()


async def test_a_second_head_that_never_ends_is_timed_out_too(place: Place) -> None:
    async with served(place, api_header_timeout_s=0.4) as port:
        line = await Line.open(port)
        assert (await line.ask(HEALTH)).status == 200
        assert (await line.ask(b"GET /healthz HTTP/1.1\r\n")).status == 408
        await line.ended()
        line.close()


async def test_whoever_says_nothing_is_left_alone_no_longer_than_a_head_may_take(
    place: Place,
) -> None:
    async with served(place, api_header_timeout_s=0.3) as port:
        line = await Line.open(port)
        assert await line.ended() == b""
        line.close()


async def test_a_body_that_never_ends_is_timed_out(place: Place) -> None:
    key = f"Bearer {place.secrets['platform']}"
    sent = request("POST", "/v1/holds", Authorization=key, Content_Length="100") + b"{"
    async with served(place, api_body_timeout_s=0.4) as port:
        answer = await ask(port, sent)
        assert (answer.status, answer.problem["code"]) == (408, "request-too-slow")


async def test_an_idle_connection_is_closed(place: Place) -> None:
    async with served(place, api_keepalive_s=0.3) as port:
        line = await Line.open(port)
        assert (await line.ask(HEALTH)).status == 200
        assert await line.ended() == b""
        line.close()


async def test_a_client_that_does_not_read_is_left(place: Place) -> None:
    """Pipelined questions for a long page, none of whose answers is read."""
    async with served(place, api_answer_timeout_s=0.5) as port:
        line = await Line.open(port)
        line.writer.transport.pause_reading()
        for _ in range(200):
            line.writer.write(request("GET", "/openapi.json"))
        async with asyncio.timeout(20):
            with pytest.raises(ConnectionError):
                while True:
                    line.writer.write(HEALTH)
                    await line.writer.drain()
                    await asyncio.sleep(0.05)


# --- many connections ---


async def test_one_address_has_its_share_and_no_more(place: Place) -> None:
    """Heads that never end fill the share of their address; everybody else goes on."""
    async with served(place, api_connections_per_address=5) as port:
        held = []
        for _ in range(5):
            line = await Line.open(port, "127.0.0.2")
            line.writer.write(b"GET / HT")
            held.append(line)
        await asyncio.sleep(0)
        assert (await ask(port, HEALTH)).status == 200
        refused = await Line.open(port, "127.0.0.2")
        answer = await refused.answer()
        assert (answer.status, answer.problem["code"]) == (503, "too-many-connections")
        assert "retry-after" in answer.headers
        for line in [*held, refused]:
            line.close()


async def test_over_the_cap_the_connection_idle_for_longest_goes(place: Place) -> None:
    async with served(place, api_connections=3) as port:
        lines = [await Line.open(port, f"127.0.0.{n}") for n in (2, 3, 4)]
        for line in lines:
            assert (await line.ask(HEALTH)).status == 200
        assert (await lines[0].ask(HEALTH)).status == 200  # now the second is idle for longest
        late = await Line.open(port, "127.0.0.5")
        assert (await late.ask(HEALTH)).status == 200
        assert await lines[1].ended() == b""
        for line in (lines[0], lines[2], late):
            assert (await line.ask(HEALTH)).status == 200
        for line in [*lines, late]:
            line.close()


async def test_a_proxy_is_not_locked_out_by_the_share_of_an_address(place: Place) -> None:
    trusted = ("127.0.0.2",)
    async with served(place, api_connections_per_address=2, trusted_proxies=trusted) as port:
        lines = []
        for _ in range(6):
            line = await Line.open(port, "127.0.0.2")
            line.writer.write(b"GET / HT")
            lines.append(line)
        seventh = await Line.open(port, "127.0.0.2")
        assert (await seventh.ask(HEALTH)).status == 200
        for line in [*lines, seventh]:
            line.close()


# --- what is expected to fail ---


async def test_an_icloud_that_is_down_is_one_line_without_a_traceback(
    sqlite_database: Database,
    keyring: Keyring,
    aiohttp_client: AiohttpClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = load_settings(upstream_url="http://127.0.0.1:1/", upstream_allow_loopback=True)
    threads = StoreThreads(sqlite_database)
    context = SyncContext(settings, threads, keyring)
    place = await start(sqlite_database, keyring, aiohttp_client, AccountService(context))
    body = {"email": "ann@icloud.com", "app_password": "abcd-efgh-ijkl-mnop"}
    with capture_logs() as told:
        answer = await place.platform.send(
            "POST", f"/v1/principals/{place.ann.id}/connection", json=body
        )
    problem = await answer.json(content_type=None)
    await context.close()
    threads.close()
    assert (answer.status, problem["code"]) == (502, "upstream-unreachable")
    entry = next(one for one in told if one.get("request_id") == problem["request_id"])
    assert (entry["code"], entry["status"], entry["route"]) == (
        "upstream-unreachable",
        502,
        "/v1/principals/{principal}/connection",
    )
    assert entry["causes"][:2] == ["ExchangeBroken", "ClientConnectorError"]
    assert not tracebacks(told, caplog)
