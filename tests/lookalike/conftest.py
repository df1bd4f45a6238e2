"""A running look-alike on a virtual clock, and raw HTTP requests against it."""

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp
import pytest
from lxml import etree
from yarl import URL

from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.world import Account

NOW = 1_790_000_000.0
EMAIL = "robin@example.com"
HEADS = {"User-Agent": "test/1"}
D = "{DAV:}"
C = "{urn:ietf:params:xml:ns:caldav}"
CS = "{http://calendarserver.org/ns/}"
A = "{http://apple.com/ns/ical/}"


def event(uid, start="20261001T090000", end="20261001T100000", *more, summary="Dentist"):
    """An acceptable UTC event with CRLF line ends."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//EN",
        "BEGIN:VEVENT",
        f"UID:{uid}",
        "DTSTAMP:20260901T000000Z",
        f"DTSTART:{start}Z",
        f"DTEND:{end}Z",
        f"SUMMARY:{summary}",
        *more,
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(lines).encode()


@dataclass
class Reply:
    """An HTTP answer, with the parts of a multistatus at hand."""

    status: int
    headers: Mapping
    body: bytes
    raw_headers: list = field(default_factory=list)

    @property
    def xml(self):
        return etree.fromstring(self.body)

    def rows(self):
        """href -> {property: element} of 2xx propstats, or the response status line."""
        found = {}
        for response in self.xml.iterfind(f"{D}response"):
            href = response.findtext(f"{D}href")
            status = response.findtext(f"{D}status")
            if status is not None:
                found[href] = status
                continue
            props = {}
            for propstat in response.iterfind(f"{D}propstat"):
                if " 200 " in (propstat.findtext(f"{D}status") or ""):
                    props |= {child.tag: child for child in propstat.find(f"{D}prop")}
            found[href] = props
        return found

    def missing(self, href):
        """Tags in the propstats of a href that are not 200."""
        for response in self.xml.iterfind(f"{D}response"):
            if response.findtext(f"{D}href") == href:
                return [
                    child.tag
                    for propstat in response.iterfind(f"{D}propstat")
                    if " 200 " not in (propstat.findtext(f"{D}status") or "")
                    for child in propstat.find(f"{D}prop")
                ]
        raise KeyError(href)


class Phone:
    """Raw requests as one account."""

    def __init__(self, server, session, account):
        self.server = server
        self.session = session
        self.account: Account = account
        self.password = account.issue_app_password()
        self.home = account.home_path

    async def ask(self, method, path, body=b"", *, auth=True, base=None, heads=None, **headers):
        given = dict(HEADS if heads is None else heads)
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if auth is True:
            auth = (self.account.email, self.password)
        if auth:
            pair = ":".join(auth).encode()
            given["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        url = (base or self.server.url).rstrip("/") + path
        async with self.session.request(
            method,
            URL(url, encoded=True),
            data=body or None,
            headers=given,
            skip_auto_headers=("User-Agent", "Content-Type"),
            allow_redirects=False,
        ) as response:
            data = await response.read()
            raw = [(k.decode().lower(), v.decode()) for k, v in response.raw_headers]
            return Reply(response.status, response.headers, data, raw)

    async def propfind(self, path, *props, depth="0", **more):
        return await self.ask("PROPFIND", path, propfind_body(*props), Depth=depth, **more)

    async def report(self, calendar, body, **more):
        return await self.ask("REPORT", f"{self.home}{calendar}/", body, Depth="1", **more)

    async def put(self, calendar, name, data, **headers):
        return await self.ask("PUT", f"{self.home}{calendar}/{name}", data, **headers)

    async def sync(self, calendar, token="", **more):
        return await self.report(calendar, sync_body(token), **more)

    async def multiget(self, calendar, *names, **more):
        return await self.report(
            calendar, multiget_body(*(f"{self.home}{calendar}/{n}" for n in names)), **more
        )


def propfind_body(*props):
    inner = "".join(
        f'<x:{prop.partition("}")[2]} xmlns:x="{prop[1:].partition("}")[0]}"/>' for prop in props
    )
    return f'<D:propfind xmlns:D="DAV:"><D:prop>{inner}</D:prop></D:propfind>'.encode()


def sync_body(token=""):
    return (
        f'<D:sync-collection xmlns:D="DAV:"><D:sync-token>{token}</D:sync-token>'
        "<D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>"
    ).encode()


def multiget_body(*hrefs):
    inner = "".join(f"<D:href>{href}</D:href>" for href in hrefs)
    return (
        '<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
        f"<D:prop><D:getetag/><C:calendar-data/></D:prop>{inner}</C:calendar-multiget>"
    ).encode()


def query_body(start=None, end=None, *, inner="VEVENT", data="<C:calendar-data/>", extra=""):
    window = f'<C:time-range start="{start}" end="{end}"/>' if start else ""
    component = f'<C:comp-filter name="{inner}">{window}{extra}</C:comp-filter>' if inner else ""
    return (
        '<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
        f"<D:prop><D:getetag/>{data}</D:prop>"
        f'<C:filter><C:comp-filter name="VCALENDAR">{component}</C:comp-filter></C:filter>'
        "</C:calendar-query>"
    ).encode()


class Clock:
    """A virtual clock; what slow answers wait for is remembered instead of slept."""

    def __init__(self):
        self.time = NOW
        self.slept = []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def server(clock) -> AsyncIterator[Lookalike]:
    async with Lookalike(now=clock.now, sleep=clock.sleep) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def phone(server, session) -> Phone:
    return Phone(server, session, server.world.add_account(EMAIL))
