"""The client's fences and manners: where credentials go, what is repeated, what is never sent."""

import asyncio
import base64
import inspect
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from gateway.core.errors import (
    CredentialRejected,
    NotICloud,
    UpstreamError,
    UpstreamThrottled,
    UpstreamUnreachable,
)
from gateway.settings import Settings
from gateway.sync.push.outgoing import write_upstream
from gateway.upstream.budget import RequestBudget
from gateway.upstream.client import UpstreamClient
from gateway.upstream.discovery import discover
from gateway.upstream.fences import check_address, check_url, fenced_wire, origin_of
from gateway.upstream.wire import Wire

EMAIL, PASSWORD = "robin@icloud.com", "abcd-efgh-ijkl-mnop"
EMPTY = b"<multistatus xmlns='DAV:'/>"


class Scripted:
    """A raw HTTP server that gives prepared answers in order and remembers the requests."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

    def reply(self, status: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.answers.append("\r\n".join(lines).encode() + body)

    def hang_up(self) -> None:
        self.answers.append(None)

    async def serve(self, reader, writer) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = [
                    int(line.split(":")[1])
                    for line in head.split("\r\n")
                    if line.lower().startswith("content-length:")
                ]
                self.bodies.append(await reader.readexactly(length[0]) if length else b"")
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def methods(self) -> list[str]:
        return [head.split(" ", 1)[0] for head in self.heads]


@asynccontextmanager
async def listening(scripted: Scripted, host: str = "127.0.0.1"):
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/"
    yield scripted
    server.close()
    for writer in scripted.writers:
        writer.close()
    await asyncio.sleep(0)


@pytest.fixture
async def upstream():
    async with listening(Scripted()) as scripted:
        yield scripted


@pytest.fixture
async def other():
    async with listening(Scripted(), "localhost") as scripted:
        yield scripted


def settings_for(upstream: Scripted, tmp_path, **more) -> Settings:
    return Settings(
        upstream_url=upstream.url, upstream_allow_loopback=True, data_dir=tmp_path, **more
    )


@pytest.fixture
async def client(upstream: Scripted, tmp_path):
    settings = settings_for(upstream, tmp_path, upstream_max_body=2000, upstream_timeout_s=2)
    wire = fenced_wire(settings)
    yield UpstreamClient(settings, wire, email=EMAIL, app_password=PASSWORD)
    await wire.close()


async def test_basic_goes_with_the_first_request_and_nothing_odd_with_it(client, upstream) -> None:
    upstream.reply("207 Multi-Status", EMPTY)
    await client.propfind("/", ("D:getetag",), depth=0)
    (head,) = upstream.heads
    pair = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
    assert f"Authorization: Basic {pair}" in head
    assert "User-Agent: icloud-caldav-gateway/" in head
    assert "Depth: 0" in head
    assert "Cookie" not in head


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    "challenges",
    [
        ('WWW-Authenticate: Basic realm="MMCalDav"',),
        (
            'WWW-Authenticate: X-MobileMe-AuthToken realm="MMCalDav"',
            'WWW-Authenticate: Basic realm="MMCalDav"',
        ),
        ('WWW-Authenticate: X-MobileMe-AuthToken realm="x", Basic realm="x"',),
        (),
    ],
)
async def test_one_failed_login_is_one_request(client, upstream, challenges) -> None:
    upstream.reply("401 Unauthorized", b"", *challenges)
    with pytest.raises(CredentialRejected):
        await discover(client, email=EMAIL)
    assert len(upstream.heads) == 1


async def test_a_dropped_connection_is_tried_again_once_for_reads(client, upstream) -> None:
    upstream.hang_up()
    upstream.reply("207 Multi-Status", EMPTY)
    await client.propfind("/", ("D:getetag",), depth=0)
    assert upstream.methods() == ["PROPFIND", "PROPFIND"]
    upstream.hang_up()
    upstream.hang_up()
    with pytest.raises(UpstreamUnreachable):
        await client.get("/a.ics")
    assert upstream.methods()[2:] == ["GET", "GET"]


async def test_a_write_is_never_repeated_by_the_client(client, upstream) -> None:
    upstream.hang_up()
    with pytest.raises(UpstreamUnreachable) as failure:
        await client.put("/cal/a.ics", b"x", if_match=None)
    assert failure.value.status is None
    upstream.hang_up()
    with pytest.raises(UpstreamUnreachable):
        await client.delete("/cal/a.ics", if_match='"1"')
    assert upstream.methods() == ["PUT", "DELETE"]


async def test_conditions_of_writes(client, upstream) -> None:
    upstream.reply("201 Created", b"", 'ETag: "1"')
    assert await client.put("/cal/a.ics", b"a\nb\r\n", if_match=None) == '"1"'
    upstream.reply("204 No Content")
    assert await client.put("/cal/a.ics", b"x", if_match='"1"') is None
    upstream.reply("204 No Content")
    await client.delete("/cal/a.ics", if_match='"2"')
    create, update, delete = upstream.heads
    assert "If-None-Match: *" in create
    assert "If-Match:" not in create.replace("If-None-Match", "")
    assert 'If-Match: "1"' in update
    assert 'If-Match: "2"' in delete
    assert "Depth" not in delete
    assert upstream.bodies[0] == b"a\r\nb\r\n"


async def test_from_push_to_the_wire_are_four_calls(upstream, tmp_path) -> None:
    calls: list[str] = []

    def look(url: str) -> None:
        frames = inspect.stack()
        calls.extend(one.function for one in frames if "gateway/upstream" in one.filename)

    settings = settings_for(upstream, tmp_path)
    wire = Wire(timeout_s=2, max_body=2000, check_url=look, check_address=lambda *_: None)
    upstream.reply("201 Created", b"", 'ETag: "1"')
    client = UpstreamClient(settings, wire, email=EMAIL, app_password=PASSWORD)
    row = SimpleNamespace(upstream_path="/cal/", upstream_name="a.ics")
    assert await write_upstream(client, row, b"x", if_match=None) == '"1"'
    assert calls == ["request", "_send", "_ask", "put"]
    await wire.close()


@pytest.mark.parametrize("path", ["/111/calendars/home/", "/111/calendars/home", "/x/.ics", "/"])
async def test_a_collection_is_never_written_or_deleted(client, upstream, path) -> None:
    with pytest.raises(ValueError, match="only calendar objects"):
        await client.delete(path, if_match='"1"')
    with pytest.raises(ValueError, match="only calendar objects"):
        await client.put(path, b"x", if_match=None)
    assert upstream.heads == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_inside_is_followed_with_method_body_and_credentials(
    client, upstream, other, status
) -> None:
    upstream.reply(status, b"", f"Location: {other.url}111/principal/")
    other.reply("207 Multi-Status", EMPTY)
    await client.propfind("/", ("D:getetag",), depth=0)
    assert other.heads[0].startswith("PROPFIND /111/principal/ ")
    assert "Authorization: Basic" in other.heads[0]
    assert other.bodies == upstream.bodies


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "http://caldav.icloud.com/",
        "https://icloud.com.evil.example/",
        "https://user:pw@caldav.icloud.com/",
        "http://10.0.0.1/",
        "ftp://caldav.icloud.com/",
    ],
)
async def test_a_redirect_outside_is_refused_and_nothing_sent(client, upstream, target) -> None:
    upstream.reply("301 Moved", b"", f"Location: {target}")
    with pytest.raises(NotICloud):
        await client.propfind("/", ("D:getetag",), depth=0)
    assert len(upstream.heads) == 1


async def test_redirects_do_not_go_on_for_ever(client, upstream) -> None:
    for _ in range(10):
        upstream.reply("302 Found", b"", "Location: /")
    with pytest.raises(UpstreamUnreachable):
        await client.propfind("/", ("D:getetag",), depth=0)
    assert len(upstream.heads) == 4


@pytest.mark.rule("R4")
async def test_a_partitions_401_is_settled_at_the_entry_host(client, upstream, other) -> None:
    client.home_origin = origin_of(other.url)
    other.reply("401 Unauthorized")
    upstream.reply("207 Multi-Status", EMPTY)
    upstream.reply("207 Multi-Status", EMPTY)
    await client.propfind("/111/calendars/", ("D:getetag",), depth=1)
    assert [head.split(" ")[1] for head in upstream.heads] == ["/", "/111/calendars/"]
    assert client.home_origin is None
    client.home_origin = origin_of(other.url)
    other.reply("401 Unauthorized")
    upstream.reply("401 Unauthorized")
    with pytest.raises(CredentialRejected):
        await client.propfind("/111/calendars/", ("D:getetag",), depth=1)
    assert (len(upstream.heads), len(other.heads)) == (3, 2)


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (("503 Unavailable", b"", "Retry-After: 7"), UpstreamThrottled, "upstream-throttled"),
        (("503 Unavailable", b""), UpstreamThrottled, "upstream-throttled"),
        (("429 Too Many", b""), UpstreamThrottled, "upstream-throttled"),
        (("502 Bad Gateway", b"<html>"), UpstreamUnreachable, "upstream-unreachable"),
        (("200 OK", b"<html></html>"), UpstreamUnreachable, "upstream-unreachable"),
        (("207 Multi-Status", b"<multistatus"), UpstreamUnreachable, "upstream-unreachable"),
        (("207 Multi-Status", b"x" * 2001), UpstreamUnreachable, "upstream-unreachable"),
        (("409 Conflict", b""), UpstreamError, "upstream-error"),
    ],
)
async def test_answers_become_errors(client, upstream, answer, error, code) -> None:
    upstream.reply(*answer)
    with pytest.raises(error) as raised:
        await client.propfind("/", ("D:getetag",), depth=0)
    assert raised.value.code == code
    if "Retry-After: 7" in answer:
        assert raised.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1e10),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
    ],
)
async def test_how_long_a_throttled_account_is_asked_to_wait(
    client, upstream, value, seconds
) -> None:
    upstream.reply("429 Too Many", b"", f"Retry-After: {value}")
    with pytest.raises(UpstreamThrottled) as raised:
        await client.get("/a.ics")
    waits = raised.value.retry_after_s
    assert waits is None if seconds is None else waits >= seconds
    assert len(upstream.heads) == 1


@pytest.mark.parametrize("status", [401, 403, 412, 500])
async def test_an_error_carries_the_id_that_apple_can_look_up(client, upstream, status) -> None:
    upstream.reply(f"{status} No", b"", "X-Apple-Request-UUID: 4711")
    with pytest.raises(UpstreamError) as raised:
        await client.put("/cal/a.ics", b"x", if_match=None)
    assert (raised.value.status, raised.value.request_id) == (status, "4711")


async def test_a_silent_server_ends_in_a_timeout(upstream, tmp_path) -> None:
    released = asyncio.Event()

    async def never(reader, writer) -> None:
        upstream.writers.append(writer)
        await released.wait()

    upstream.serve = never
    async with listening(upstream):
        settings = settings_for(upstream, tmp_path, upstream_timeout_s=0.2)
        wire = fenced_wire(settings)
        client = UpstreamClient(settings, wire, email=EMAIL, app_password=PASSWORD)
        with pytest.raises(UpstreamUnreachable) as failure:
            await client.propfind("/", ("D:getetag",), depth=0)
        assert "in time" in failure.value.detail
        released.set()
        await wire.close()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://caldav.icloud.com/", True),
        ("https://p42-caldav.icloud.com:443/1/", True),
        ("https://CALDAV.ICLOUD.COM./", True),
        ("https://caldav.icloud.com.cn/", True),
        ("http://caldav.icloud.com/", False),
        ("https://notmyicloud.com/", False),
        ("https://icloud.com.evil.example/", False),
        ("http://127.0.0.1:8008/", False),
        ("https://127.0.0.1/", False),
        ("https://a:b@caldav.icloud.com/", False),
    ],
)
def test_where_credentials_may_go(tmp_path, url: str, allowed: bool) -> None:
    settings = Settings(data_dir=tmp_path)
    if allowed:
        check_url(settings, url)
    else:
        with pytest.raises(NotICloud):
            check_url(settings, url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "169.254.169.254",
        "::1",
        "fe80::1%eth0",
        "::ffff:127.0.0.1",
        "fd00::1",
        "0.0.0.0",
        "224.0.0.1",
    ],
)
def test_a_public_name_that_leads_inside_is_refused(tmp_path, address: str) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(NotICloud):
        check_address(settings, "caldav.icloud.com", address)
    check_address(settings, "caldav.icloud.com", "17.248.146.10")


async def test_the_connected_socket_is_checked_before_anything_is_sent(
    upstream, tmp_path, monkeypatch
) -> None:
    """A name under an allowed domain that resolves to loopback: nothing reaches the server."""
    settings = Settings(upstream_domains="localhost", data_dir=tmp_path)
    wire = fenced_wire(settings)
    monkeypatch.setattr("gateway.upstream.fences.check_url", lambda *_: None)
    with pytest.raises(NotICloud):
        client = UpstreamClient(settings, wire, email=EMAIL, app_password=PASSWORD)
        client.origin = upstream.url.rstrip("/")
        await client.propfind("/", ("D:getetag",), depth=0)
    assert upstream.heads == []
    await wire.close()


async def test_the_budget_of_an_account_is_kept_over_its_clients(upstream, tmp_path) -> None:
    settings = settings_for(upstream, tmp_path, upstream_requests_per_minute=3)
    wire = fenced_wire(settings)
    budget = RequestBudget(settings)
    for _ in range(3):
        upstream.reply("207 Multi-Status", EMPTY)
        client = UpstreamClient(settings, wire, email=EMAIL, app_password=PASSWORD, budget=budget)
        await client.propfind("/", ("D:getetag",), depth=0)
    assert sum(int(item.partition(":")[2]) for item in budget.dump().split()) == 3
    await wire.close()


def test_origins_are_compared_without_the_default_port() -> None:
    assert origin_of("https://P12-caldav.icloud.com:443/1/") == "https://p12-caldav.icloud.com"
    assert origin_of("http://[::1]:8080/x") == "http://[::1]:8080"
