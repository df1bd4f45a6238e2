"""The example ``conf/nginx.conf`` in a real nginx, in front of a real installation."""

import base64
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import quote, urlsplit
from uuid import uuid4
from xml.etree import ElementTree

import aiohttp
import niquests
import pytest

from gateway.lookalike.client import LookalikeControl
from tests.e2e.conftest import Installation
from tests.e2e.person import HOUR, Person, event, make_person
from tests.system.conftest import TOMORROW
from tests.system.proxy import BELOW_DAV, Proxy, run_nginx

pytestmark = pytest.mark.system("nginx", "openssl")

D = "{DAV:}"
C = "{urn:ietf:params:xml:ns:caldav}"


@dataclass(frozen=True)
class Answer:
    """What came back through the proxy."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def hrefs(self) -> list[str]:
        """The hrefs of a multi-status answer."""
        root = ElementTree.fromstring(self.body)
        return [str(node.findtext(f"{D}href")) for node in root.iter(f"{D}response")]

    def href_in(self, tag: str) -> str:
        """The href inside a property."""
        found = ElementTree.fromstring(self.body).find(f".//{tag}/{D}href")
        assert found is not None
        assert found.text is not None
        return found.text


@dataclass(frozen=True)
class Door:
    """A person at the proxy with one login; ``prefix`` is where CalDAV begins."""

    http: aiohttp.ClientSession
    proxy: Proxy
    person: Person
    prefix: str = "/"

    @property
    def platform(self) -> str:
        """Path of the writable calendar."""
        return f"{self.prefix}{self.person.id}/platform/"

    async def send(
        self, method: str, path: str, body: object = None, *, login: str = "device", **headers: str
    ) -> Answer:
        """Send one request to an absolute path; redirects are not followed."""
        pair = "{login}:{password}".format(**self.person.logins[login]).encode()
        sent = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.proxy.url.rstrip("/") + path
        data = BytesIO(body) if isinstance(body, bytes) else body
        async with self.http.request(
            method, url, data=data, headers=sent, ssl=self.proxy.trust, allow_redirects=False
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def propfind(self, path: str, *properties: str, depth: str = "0", **more: str) -> Answer:
        """Ask for properties, each written as ``D:name`` or ``C:name``."""
        wanted = "".join(f"<{name}/>" for name in properties)
        body = (
            '<D:propfind xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
            f"<D:prop>{wanted}</D:prop></D:propfind>"
        )
        return await self.send("PROPFIND", path, body.encode(), Depth=depth, **more)


@pytest.fixture(scope="module")
def at_root(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """The example as it is."""
    with run_nginx(tmp_path_factory.mktemp("nginx"), installation) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def below_dav(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """The example changed to serve CalDAV below ``/dav/``."""
    with run_nginx(tmp_path_factory.mktemp("nginx"), installation, BELOW_DAV) as proxy:
        yield proxy


@pytest.fixture(params=["/", "/dav/"])
async def door(
    request: pytest.FixtureRequest,
    installation: Installation,
    http: aiohttp.ClientSession,
    phone: LookalikeControl,
) -> Door:
    """A person before each of the two proxies."""
    name = "at_root" if request.param == "/" else "below_dav"
    person = await make_person(installation, http, phone)
    return Door(http, request.getfixturevalue(name), person, request.param)


@pytest.fixture
async def root_door(
    at_root: Proxy, installation: Installation, http: aiohttp.ClientSession, phone: LookalikeControl
) -> Door:
    """A person before the example as it is."""
    return Door(http, at_root, await make_person(installation, http, phone))


async def test_discovery_walks_from_the_host_name_to_the_calendars(door: Door) -> None:
    """RFC 6764 5: host name, well-known address, principal, home; each a path of the proxy."""
    found = await door.propfind("/.well-known/caldav", "D:current-user-principal")
    assert (found.status, found.headers["Location"]) == (
        301,
        door.proxy.url.rstrip("/") + door.prefix,
    )
    root = await door.propfind(door.prefix, "D:current-user-principal")
    assert root.status == 207
    principal = root.href_in(f"{D}current-user-principal")
    assert principal == f"{door.prefix}{door.person.id}/"
    home = await door.propfind(principal, "C:calendar-home-set")
    assert home.href_in(f"{C}calendar-home-set") == principal
    listing = await door.propfind(principal, "D:resourcetype", depth="1")
    assert set(listing.hrefs) == {principal, door.platform}
    for path in (door.prefix, principal, door.platform):
        assert (await door.propfind(path.rstrip("/") or "/", "D:resourcetype")).status in (207, 301)


async def test_plain_http_is_sent_to_tls(root_door: Door) -> None:
    url = f"{root_door.proxy.plain_url}a/b?c"
    async with root_door.http.get(url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, "https://localhost/a/b?c")
    root = await root_door.propfind("/", "D:resourcetype")
    assert root.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_put_get_and_conditions_with_etags_as_the_gateway_wrote_them(door: Door) -> None:
    path = f"{door.platform}{uuid4()}.ics"
    body = event(TOMORROW, summary="Grüße", uid="one")
    made = await door.send("PUT", path, body, If_None_Match="*")
    assert made.status == 201
    etag = made.headers["ETag"]
    got = await door.send("GET", path, Accept_Encoding="gzip")
    assert (got.status, got.body, got.headers["ETag"]) == (200, body, etag)
    assert (await door.send("GET", path, If_None_Match=etag)).status == 304
    assert (await door.send("PUT", path, body, If_None_Match="*")).status == 412
    changed = await door.send("PUT", path, event(TOMORROW + HOUR, uid="one"), If_Match=etag)
    assert changed.status == 204
    assert changed.headers["ETag"] != etag
    assert (await door.send("DELETE", path, If_Match=etag)).status == 412
    assert await door.person.is_busy(TOMORROW + HOUR, TOMORROW + 2 * HOUR)
    gone = await door.send("DELETE", path, If_Match=changed.headers["ETag"])
    assert gone.status in (200, 204)
    assert not await door.person.is_busy(TOMORROW + HOUR, TOMORROW + 2 * HOUR)


async def test_utf8_names_arrive_and_come_back_percent_encoded(door: Door) -> None:
    name = "Sprechstunde März + 50%.ics"
    path = door.platform + quote(name)
    assert (await door.send("PUT", path, event(TOMORROW))).status == 201
    listing = await door.propfind(door.platform, "D:getetag", depth="1")
    (href,) = set(listing.hrefs) - {door.platform}
    assert href == path
    assert (await door.send("GET", href)).status == 200


async def test_move_names_its_destination_as_the_client_sees_it(door: Door) -> None:
    old, new = (f"{door.platform}{uuid4()}.ics" for _ in range(2))
    assert (await door.send("PUT", old, event(TOMORROW))).status == 201
    to = door.proxy.url.rstrip("/") + new
    moved = await door.send("MOVE", old, Destination=to, Overwrite="F")
    assert moved.status == 201
    assert (await door.send("GET", old)).status == 404
    assert (await door.send("GET", new)).status == 200
    inside = await door.send("MOVE", new, Destination=old)
    assert inside.status == 201


async def test_a_chunked_body_arrives_whole(door: Door) -> None:
    body = event(TOMORROW, "DESCRIPTION:" + "x" * 40_000)

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 7_000):
            yield body[begin : begin + 7_000]

    path = f"{door.platform}{uuid4()}.ics"
    assert (await door.send("PUT", path, pieces())).status == 201
    assert (await door.send("GET", path)).body == body


async def test_a_body_over_the_cap_is_413_and_changes_nothing(door: Door) -> None:
    path = f"{door.platform}{uuid4()}.ics"
    body = event(TOMORROW, "DESCRIPTION:" + "x" * 2_200_000)
    assert (await door.send("PUT", path, body)).status == 413
    # What the proxy lets through, the gateway judges by itself (RFC 4791 5.3.2.1).
    body = event(TOMORROW, "DESCRIPTION:" + "x" * 1_500_000)
    refused = await door.send("PUT", path, body)
    assert refused.status in (403, 413)
    assert b"max-resource-size" in refused.body
    assert (await door.send("GET", path)).status == 404
    assert not await door.person.is_busy(TOMORROW, TOMORROW + HOUR)


async def test_no_client_can_say_what_only_the_proxy_may(door: Door) -> None:
    plain = await door.propfind(door.prefix, "D:current-user-principal")
    for header in ("X-Script-Name", "X_Script_Name"):
        forged = await door.send(
            "PROPFIND",
            door.prefix,
            b'<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>',
            Depth="0",
            **{header: "/elsewhere"},
        )
        assert (forged.status, forged.hrefs) == (207, plain.hrefs)
        assert forged.href_in(f"{D}current-user-principal") == f"{door.prefix}{door.person.id}/"
    without = door.proxy.url.rstrip("/") + door.platform
    async with door.http.request(
        "PROPFIND",
        without,
        headers={"X-Remote-User": door.person.id, "Remote-User": door.person.id},
        ssl=door.proxy.trust,
    ) as answer:
        assert answer.status == 401


async def test_failed_logins_count_for_the_real_address_behind_the_proxy(
    root_door: Door,
) -> None:
    """Neither the proxy's address is blamed nor the one that a client claims to have."""
    wrong = base64.b64encode(f"{root_door.person.logins['device']['login']}:wrong".encode())
    right = (await root_door.propfind(root_door.platform, "D:resourcetype")).status
    assert right == 207

    async def fail(http: aiohttp.ClientSession, number: int) -> int:
        headers = {
            "Authorization": f"Basic {wrong.decode()}",
            "X-Forwarded-For": f"192.0.2.{number}",
            "X-Real-IP": f"192.0.2.{number}",
        }
        url = root_door.proxy.url.rstrip("/") + root_door.platform
        async with http.request(
            "PROPFIND", url, headers=headers, ssl=root_door.proxy.trust
        ) as answer:
            return answer.status

    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0), family=socket.AF_INET)
    async with aiohttp.ClientSession(connector=connector) as elsewhere:
        answers = [await fail(elsewhere, number) for number in range(11)]
    assert answers == [401] * 10 + [429]
    assert (await root_door.propfind(root_door.platform, "D:resourcetype")).status == 207


async def test_the_api_answers_below_its_prefix(root_door: Door) -> None:
    key = {"Authorization": f"Bearer {root_door.person.installation.admin_key}"}
    url = f"{root_door.proxy.url}api/v1/principals/{root_door.person.id}/freebusy"
    query = {"start": "2030-01-01T00:00:00+01:00", "end": "2030-01-02T00:00:00+01:00"}
    async with root_door.http.get(
        url, params=query, headers=key, ssl=root_door.proxy.trust
    ) as answer:
        assert answer.status == 200
        etag = answer.headers["ETag"]
        assert (await answer.json())["busy"] == []
    async with root_door.http.get(
        url, params=query, headers=key | {"If-None-Match": etag}, ssl=root_door.proxy.trust
    ) as answer:
        assert (answer.status, answer.headers["ETag"]) == (304, etag)
    health = f"{root_door.proxy.url}api/healthz"
    async with root_door.http.get(health, ssl=root_door.proxy.trust) as answer:
        assert answer.status == 200


async def test_the_profile_for_apple_devices_names_the_public_address(door: Door) -> None:
    answer = await door.send("GET", f"{door.prefix}.mobileconfig")
    assert answer.status == 200
    text = answer.body.decode()
    assert "<string>localhost</string>" in text
    assert f"<integer>{urlsplit(door.proxy.url).port}</integer>" in text
    assert f"<string>{door.prefix}{door.person.id}/</string>" in text


def test_clients_may_speak_http2(installation: Installation, at_root: Proxy) -> None:
    """Apple's clients do; header names are lower-case and the host is ``:authority`` then."""
    with niquests.Session() as session:
        session.trust_env = False  # a machine may name its own certificates
        session.verify = str(at_root.certificate)
        found = session.request(
            "PROPFIND", f"{at_root.url}.well-known/caldav", allow_redirects=False
        )
        assert (found.http_version, found.status_code) == (20, 301)
        assert found.headers["Location"] == at_root.url
        closed = session.request("PROPFIND", at_root.url, headers={"Depth": "0"})
        assert (closed.http_version, closed.status_code) == (20, 401)
        assert closed.headers["WWW-Authenticate"].startswith("Basic realm=")
        health = session.get(f"{at_root.url}api/healthz")
        assert (health.http_version, health.status_code) == (20, 200)
