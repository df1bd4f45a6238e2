"""HTTP on streams: framing, keep-alive, deadlines, caps, TLS."""

import asyncio
import datetime
import gzip
import ssl
from contextlib import asynccontextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.upstream import wire
from gateway.upstream.wire import ExchangeBroken, TooLarge, TooSlow, Wire

OPEN = {"check_url": lambda url: None, "check_address": lambda host, address: None}


class Peer:
    """A server that sends prepared bytes per request, counts connections, and keeps them open."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = False
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader, writer) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answers.pop(0))
                await writer.drain()
                if self.closing:
                    writer.close()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def listening(peer: Peer, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"):
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    peer.url = f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}/x"
    try:
        yield peer
    finally:
        server.close()
        for writer in peer.writers:
            writer.close()
        await asyncio.sleep(0)


@pytest.fixture
async def peer():
    async with listening(Peer()) as running:
        yield running


@pytest.fixture
async def client():
    made = Wire(timeout_s=1, max_body=1000, **OPEN)
    yield made
    await made.close()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


async def ask(client: Wire, peer: Peer, body: bytes | None = None):
    return await client.request("GET", peer.url, {"X-A": "b"}, body)


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (answer(b"hello", "Content-Length: 5"), b"hello"),
        (answer(b"", "Content-Length: 0"), b""),
        (answer(b"", status="204 No Content"), b""),
        (
            answer(b"5\r\nhello\r\n3;x=y\r\n w!\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
            b"hello w!",
        ),
        (answer(b"0\r\nTrailer: x\r\n\r\n", "Transfer-Encoding: chunked"), b""),
        (
            answer(
                gzip.compress(b"squeezed"),
                "Content-Encoding: gzip",
                f"Content-Length: {len(gzip.compress(b'squeezed'))}",
            ),
            b"squeezed",
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"after", "Content-Length: 5"),
            b"after",
        ),
    ],
    ids=["length", "empty", "204", "chunked", "no chunk", "gzip", "interim"],
)
async def test_bodies_are_read_by_their_framing_and_the_connection_is_kept(
    client, peer, sent, body
) -> None:
    peer.answers = [sent, sent]
    for _ in range(2):
        assert (await ask(client, peer)).body == body
    assert peer.connections == 1


async def test_a_body_up_to_the_end_of_the_connection(client, peer) -> None:
    peer.answers = [answer(b"all there is")] * 2
    peer.closing = True
    assert (await ask(client, peer)).body == b"all there is"
    assert (await ask(client, peer)).body == b"all there is"
    assert peer.connections == 2


async def test_what_is_sent_and_headers_that_come_twice(client, peer) -> None:
    peer.answers = [answer(b"", "Content-Length: 0", "Www-Authenticate: A", "WWW-Authenticate: B")]
    got = await client.request("PUT", peer.url, {"If-Match": '"1"'}, b"body")
    assert got.headers["www-authenticate"] == "A, B"
    (head,) = peer.requests
    assert head.startswith(b"PUT /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b'\r\nIf-Match: "1"\r\n' in head
    assert b"\r\nContent-Length: 4\r\n" in head


async def test_a_line_break_in_a_header_is_never_sent(client, peer) -> None:
    with pytest.raises(ValueError, match="control character"):
        await client.request("GET", peer.url, {"If-Match": "a\r\nX: y"}, None)
    assert peer.requests == []


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        answer(b"short", "Content-Length: 50"),
        answer(b"", "Content-Length: minus"),
        answer(b"zz\r\n", "Transfer-Encoding: chunked"),
        answer(b"not gzip", "Content-Encoding: gzip", "Content-Length: 8"),
        answer(gzip.compress(b"x" * 99)[:-9], "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
    ids=["silence", "ssh", "code", "header", "cut", "length", "chunk", "gzip", "cut gzip", "head"],
)
async def test_what_is_not_a_whole_answer_is_broken(client, peer, sent) -> None:
    peer.answers = [sent]
    peer.closing = True
    with pytest.raises(ExchangeBroken):
        await ask(client, peer)


@pytest.mark.parametrize(
    "sent",
    [
        answer(b"", "Content-Length: 1001"),
        answer(b"x" * 1001),
        answer(b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        answer(
            gzip.compress(b"x" * 1_000_000),
            "Content-Encoding: gzip",
            f"Content-Length: {len(gzip.compress(b'x' * 1_000_000))}",
        ),
    ],
    ids=["length", "to the end", "chunk", "gzip bomb"],
)
async def test_no_answer_is_larger_than_the_cap(peer, sent) -> None:
    client = Wire(timeout_s=1, max_body=1000, **OPEN)
    peer.answers = [sent]
    peer.closing = True
    with pytest.raises(TooLarge):
        await ask(client, peer)
    await client.close()


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_slow_answer_ends_in_time(peer, part) -> None:
    client = Wire(timeout_s=0.1, max_body=1000, **OPEN)
    peer.answers = [part]
    with pytest.raises(TooSlow):
        await ask(client, peer)
    await client.close()


@pytest.mark.row(29)
async def test_a_connection_closed_while_idle_is_not_used_again(client, peer) -> None:
    peer.answers = [answer(b"1", "Content-Length: 1"), answer(b"2", "Content-Length: 1")]
    assert (await ask(client, peer)).body == b"1"
    peer.writers[0].close()
    await asyncio.sleep(0.05)
    assert (await ask(client, peer)).body == b"2"
    assert peer.connections == 2


async def test_a_connection_idle_for_too_long_is_not_used_again(
    client, peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.answers = [answer(b"1", "Content-Length: 1"), answer(b"2", "Content-Length: 1")]
    monkeypatch.setattr(wire, "IDLE_S", 0.01)
    await ask(client, peer)
    await asyncio.sleep(0.05)
    await ask(client, peer)
    assert peer.connections == 2


async def test_requests_at_once_take_connections_of_their_own_and_share_them_later(
    client, peer
) -> None:
    peer.answers = [answer(b"1", "Content-Length: 1")] * 8
    await asyncio.gather(*(ask(client, peer) for _ in range(4)))
    assert peer.connections == 4
    await asyncio.gather(*(ask(client, peer) for _ in range(4)))
    assert peer.connections == 4


async def test_a_cancelled_exchange_does_not_leave_its_answer_to_the_next(client, peer) -> None:
    peer.answers = [b"", answer(b"mine", "Content-Length: 4")]
    first = asyncio.create_task(ask(client, peer))
    while not peer.requests:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await ask(client, peer)).body == b"mine"
    assert peer.connections == 2


async def test_every_address_is_checked_before_it_is_connected_to(peer) -> None:
    seen = []

    def check(url: str, address: str) -> None:
        seen.append(address)
        raise PermissionError

    client = Wire(timeout_s=1, max_body=1000, **OPEN | {"check_address": check})
    with pytest.raises((PermissionError, ExchangeBroken)):
        await ask(client, peer)
    assert seen == ["127.0.0.1"]
    assert peer.connections == 0


async def test_every_url_is_checked_before_anything_is_done(peer) -> None:
    seen = []

    def check(url: str) -> None:
        seen.append(url)
        raise PermissionError

    client = Wire(timeout_s=1, max_body=1000, **OPEN | {"check_url": check})
    with pytest.raises(PermissionError):
        await ask(client, peer)
    assert seen == [peer.url]
    assert peer.connections == 0


# --- TLS ---


def make_certificate(tmp_path, name: str):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    return context, chain


@pytest.mark.parametrize(
    ("name", "trusted", "works"),
    [("localhost", True, True), ("localhost", False, False), ("other.example", True, False)],
)
async def test_tls_is_verified_chain_and_name(
    client, tmp_path, monkeypatch: pytest.MonkeyPatch, name, trusted, works
) -> None:
    context, chain = make_certificate(tmp_path, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    async with listening(Peer(), tls=context, host="localhost") as peer:
        peer.answers = [answer(b"secret", "Content-Length: 6")]
        if works:
            assert (await ask(client, peer)).body == b"secret"
        else:
            with pytest.raises(ExchangeBroken):
                await ask(client, peer)
            assert peer.requests == []
        await client.close()
