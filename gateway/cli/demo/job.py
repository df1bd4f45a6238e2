"""The main job of the product, done and checked from outside: what ``gateway demo --once`` shows.

Everything goes over HTTP, as a booking platform, a phone and a person at iCloud would do it. What
native clients do is done with python-caldav, which this project did not write.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp
from caldav.davclient import DAVClient
from caldav.lib.error import AuthorizationError, DAVError
from niquests.exceptions import RequestException

from gateway.cli.steps import Step
from gateway.lookalike.client import LookalikeControl

DAY = 86_400
HOUR = 3_600
WAIT_S = 30


class Job:
    """Acts for the first principal of a running demo."""

    def __init__(
        self,
        ready: dict[str, Any],
        calendars: list[dict[str, Any]],
        http: aiohttp.ClientSession,
        phone: LookalikeControl,
    ) -> None:
        self.ready = ready
        self.me = ready["principals"][0]
        self.calendars = calendars
        self.http = http
        self.phone = phone
        self.base = f"{ready['api']}v1/principals/{self.me['id']}"
        self.bearer = {"Authorization": f"Bearer {ready['admin_key']}"}

    async def freebusy(self, start: int, end: int) -> dict[str, Any]:
        """Ask the API for busy time between two epoch seconds."""
        query = {"start": rfc3339(start), "end": rfc3339(end)}
        async with self.http.get(
            f"{self.base}/freebusy", params=query, headers=self.bearer
        ) as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    async def is_busy(self, start: int, end: int) -> bool:
        """Tell whether anything blocks the span."""
        return bool((await self.freebusy(start, end))["busy"])

    async def free_hour(self) -> int:
        """Return the start of a free hour next week."""
        first = int(time.time()) // DAY * DAY + 3 * DAY
        for start in range(first, first + 30 * DAY, HOUR):
            if not await self.is_busy(start, start + HOUR):
                return start
        raise LookupError("no free hour in a month")

    async def put(self, calendar: str, body: bytes, *, login: str) -> int:
        """Write an event as a native client with this login, and return the status.

        ``calendar`` is the last part of its path; the client finds it by itself.
        """
        return await asyncio.to_thread(self._put, calendar, body, self.me[login])

    def _put(self, calendar: str, body: bytes, credentials: dict[str, str]) -> int:
        with DAVClient(
            self.ready["caldav"],
            username=credentials["login"],
            password=credentials["password"],
            auth_type="basic",
            timeout=WAIT_S,
            enable_rfc6764=False,
        ) as client:
            principal: Any = client.get_principal()
            found = {_name(one.url): one for one in principal.get_calendars()}
            if calendar not in found:
                raise LookupError(f"the client found no calendar {calendar}")
            url = str(found[calendar].url.join(f"{uuid4()}.ics"))
            headers = {"Content-Type": "text/calendar; charset=utf-8"}
            try:
                answer: Any = client.put(url, body.decode(), headers)
            except AuthorizationError as error:
                return error.status or 401
            return int(answer.status)

    async def upstream_names(self) -> dict[str, list[str]]:
        """Return {calendar name: object names} of the account at the look-alike."""
        account = await self.phone.account(self.me["apple"]["email"])
        return {
            calendar["name"]: [
                one["name"] for one in await self.phone.objects(account["email"], calendar["id"])
            ]
            for calendar in account["calendars"]
            if calendar["kind"] == "calendar"
        }

    async def sync(self) -> None:
        """Ask the gateway to look at iCloud now."""
        async with self.http.post(f"{self.base}/connection/sync", headers=self.bearer) as answer:
            answer.raise_for_status()


async def run_job(ready: dict[str, Any], calendars: list[dict[str, Any]]) -> list[Step]:
    """Do the main job for the first principal; one :class:`Step` per promise."""
    async with aiohttp.ClientSession() as http, LookalikeControl(ready["lookalike"]) as phone:
        job = Job(ready, calendars, http, phone)
        steps = []
        for act in (_listing, _phone_edit, _appointment, _blocked_slot, _mirror_is_read_only):
            try:
                steps.append(await act(job))
            except (aiohttp.ClientError, DAVError, RequestException, LookupError, OSError) as error:
                steps.append(Step(act.__name__.strip("_"), False, repr(error)))
        return steps


async def _listing(job: Job) -> Step:
    now = int(time.time())
    week = await job.freebusy(now, now + 7 * DAY)
    refused = [c["name"] for c in job.calendars if c["refusal"] == "calendar-subscribed"]
    ages = [source["age_s"] for source in week["sources"] if source["age_s"] is not None]
    return Step(
        "Mirrors the chosen calendars and answers free/busy",
        bool(week["busy"]) and week["complete"] and bool(refused),
        f"{len(week['busy'])} busy periods this week from {len(week['sources'])} sources, "
        f"oldest {max(ages, default=0)} s; refused: {', '.join(refused)}",
    )


async def _phone_edit(job: Job) -> Step:
    start = await job.free_hour()
    account = job.me["apple"]["email"]
    name = await job.phone.put(account, "work", event(start, "Made on the phone"))
    await job.sync()
    appeared = await _eventually(lambda: job.is_busy(start, start + HOUR))
    await job.phone.delete(account, "work", name)
    await job.sync()
    freed = await _eventually(lambda: _not(job.is_busy(start, start + HOUR)))
    return Step(
        "An event made on the phone blocks, deleting it frees the time",
        appeared and freed,
        f"blocked: {appeared}, freed: {freed}",
    )


async def _appointment(job: Job) -> Step:
    start = await job.free_hour()
    before = await job.upstream_names()
    body = event(start, "Booked by the platform", guest="guest@example.org")
    status = await job.put("platform", body, login="platform")

    async def arrived() -> bool:
        return await job.upstream_names() != before

    pushed = await _eventually(arrived)
    after = await job.upstream_names()
    grown = [name for name in after if len(after[name]) != len(before[name])]
    linked = [c["name"] for c in job.calendars if c["role"] == "linked"]
    mails = await job.phone.mail_count(job.me["apple"]["email"])
    return Step(
        "An appointment of the platform goes to the linked calendar and nowhere else",
        status == 201 and pushed and grown == linked and mails == 0,
        f"PUT {status}, arrived in {', '.join(grown) or 'nothing'}, {mails} mails to guests",
    )


async def _blocked_slot(job: Job) -> Step:
    start = await job.free_hour()
    before = await job.upstream_names()
    status = await job.put("platform", event(start, "Lunch"), login="device")
    blocks = await job.is_busy(start, start + HOUR)
    await asyncio.sleep(2.5)  # the worker looks at its outbox every second
    kept = await job.upstream_names() == before
    return Step(
        "A Blocked Slot made on a device blocks here and never goes upstream",
        status == 201 and blocks and kept,
        f"PUT {status}, blocks: {blocks}, iCloud untouched: {kept}",
    )


async def _mirror_is_read_only(job: Job) -> Step:
    mirror = next(c["caldav"] for c in job.calendars if c["caldav"])
    status = await job.put(_name(mirror), event(int(time.time()), "No"), login="device")
    return Step("Mirrors are read-only", status == 403, f"PUT answered {status}")


def _name(url: object) -> str:
    """Return the last part of a collection's path."""
    return str(url).rstrip("/").rpartition("/")[2]


async def _eventually(check: Callable[[], Awaitable[bool]]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if await check():
            return True
        await asyncio.sleep(0.2)
    return False


async def _not(question: Awaitable[bool]) -> bool:
    return not await question


def rfc3339(epoch: int) -> str:
    """Write epoch seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(start: int, summary: str, *, guest: str | None = None) -> bytes:
    """Return a calendar object with one event of an hour, in UTC."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//gateway demo//EN",
        "BEGIN:VEVENT",
        f"UID:{uuid4()}",
        f"DTSTAMP:{_utc(int(time.time()))}",
        f"DTSTART:{_utc(start)}",
        f"DTEND:{_utc(start + HOUR)}",
        f"SUMMARY:{summary}",
        *([f"ATTENDEE:mailto:{guest}"] if guest else []),
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


def _utc(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%dT%H%M%SZ")
