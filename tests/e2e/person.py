"""A person in the end-to-end tests: an Apple Account, a principal, logins, and what they do."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp

from gateway.lookalike.client import LookalikeControl
from tests.e2e.conftest import Installation

HOUR = 3_600
DAY = 86_400


@dataclass
class Person:
    """One principal; every method is an HTTP request or an act on the phone."""

    installation: Installation
    http: aiohttp.ClientSession
    phone: LookalikeControl
    email: str
    app_password: str
    id: str = ""
    logins: dict[str, dict[str, str]] = field(default_factory=dict)
    calendars: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def api(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        """Call the API as admin; returns status and parsed body."""
        headers = {"Authorization": f"Bearer {self.installation.admin_key}"}
        url = f"{self.installation.api}v1/{path}"
        async with self.http.request(
            method, url, json=body, params=query, headers=headers
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    async def done(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Call the API and expect success."""
        status, answer = await self.api(method, path, body, **query)
        assert status < 400, answer
        return answer

    async def register(self, subaccount: str, zone: str = "Europe/Berlin") -> None:
        """Make the principal with one device and one platform login."""
        made = await self.done(
            "POST",
            "principals",
            {"subaccount": subaccount, "name": self.email, "time_zone": zone},
        )
        self.id = made["id"]
        for kind in ("device", "platform"):
            self.logins[kind] = await self.done(
                "POST", f"principals/{self.id}/logins", {"kind": kind, "label": kind}
            )

    async def connect(self) -> None:
        """Connect the account and learn its calendars by name."""
        answer = await self.done(
            "POST",
            f"principals/{self.id}/connection",
            {"email": self.email, "app_password": self.app_password},
        )
        self.calendars = {calendar["name"]: calendar for calendar in answer["calendars"]}

    async def choose(self, linked: str | None, *conflicts: str) -> None:
        """Set the calendar roles by name and wait for the first sync."""
        await self.done(
            "PUT",
            f"principals/{self.id}/calendar-roles",
            {
                "linked": self.calendars[linked]["id"] if linked else None,
                "conflicts": [self.calendars[name]["id"] for name in conflicts],
            },
        )
        await self.sync()
        listed = await self.done("GET", f"principals/{self.id}/calendars")
        self.calendars = {calendar["name"]: calendar for calendar in listed["calendars"]}

    async def sync(self) -> None:
        """Sync now."""
        await self.done("POST", f"principals/{self.id}/connection/sync")

    async def freebusy(self, start: int, end: int) -> dict[str, Any]:
        """Ask for busy time."""
        path = f"principals/{self.id}/freebusy"
        return dict(await self.done("GET", path, start=rfc3339(start), end=rfc3339(end)))

    async def is_busy(self, start: int, end: int) -> bool:
        """Tell whether something blocks the span."""
        return bool((await self.freebusy(start, end))["busy"])

    async def dav(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        login: str = "device",
        **headers: str,
    ) -> tuple[int, str]:
        """Send one CalDAV request below the calendar home; returns status and text."""
        pair = f"{self.logins[login]['login']}:{self.logins[login]['password']}".encode()
        sent = {
            "Authorization": "Basic " + base64.b64encode(pair).decode(),
            "Content-Type": "text/calendar; charset=utf-8",
        } | headers
        url = f"{self.installation.caldav}{self.id}/{path}"
        async with self.http.request(method, url, data=body, headers=sent) as answer:
            return answer.status, await answer.text()

    async def names_upstream(self) -> dict[str, set[str]]:
        """Return {calendar name: object names} as iCloud has them."""
        account = await self.phone.account(self.email)
        return {
            calendar["name"]: {
                one["name"] for one in await self.phone.objects(self.email, calendar["id"])
            }
            for calendar in account["calendars"]
            if calendar["kind"] in ("calendar", "subscribed", "reminders")
        }

    async def writes_upstream(self) -> list[tuple[str, str]]:
        """Return (method, path) of every write iCloud ever saw from the gateway."""
        log = await self.phone.log(self.email)
        return [
            (entry["method"], entry["path"])
            for entry in log
            if entry["method"] not in ("PROPFIND", "REPORT", "GET", "OPTIONS", "HEAD")
        ]


async def make_person(
    installation: Installation, http: aiohttp.ClientSession, phone: LookalikeControl
) -> Person:
    """Make an account at the look-alike and a principal for it."""
    email = f"{uuid4().hex[:10]}@icloud.example"
    account = await phone.add_account(email)
    person = Person(installation, http, phone, email, account["app_password"])
    subaccount = await person.done("POST", "subaccounts", {"name": email})
    await person.register(subaccount["id"])
    return person


async def eventually(check: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
    """Wait until ``check`` holds; fails the test otherwise."""
    deadline = time.monotonic() + within_s
    while not await check():
        assert time.monotonic() < deadline, f"{check.__name__} did not hold within {within_s} s"
        await asyncio.sleep(0.1)


def rfc3339(epoch: int) -> str:
    """Write epoch seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(start: int, *lines: str, summary: str = "Event", uid: str | None = None) -> bytes:
    """Return a calendar object with one event of an hour; ``lines`` are added to it."""

    def utc(epoch: int) -> str:
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%dT%H%M%SZ")

    text = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//tests//EN",
        "BEGIN:VEVENT",
        f"UID:{uid or uuid4()}",
        f"DTSTAMP:{utc(start)}",
        f"DTSTART:{utc(start)}",
        f"DTEND:{utc(start + HOUR)}",
        f"SUMMARY:{summary}",
        *lines,
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(text).encode()
