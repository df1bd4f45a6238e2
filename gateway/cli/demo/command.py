"""``gateway demo``: the whole product on real parts, with the iCloud look-alike as iCloud.

The look-alike and ``gateway serve`` run as processes of their own; the demo is an ordinary client
of both. It makes a subaccount with three principals: two connected and synced, one not yet.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import typer

from gateway.cli.demo.folder import DemoFolder, demo_folder, forget_settings
from gateway.cli.output import REFUSED, refusals, show, stdout
from gateway.cli.processes import Child, ChildFailed, Kept, stop_event, until_given_up
from gateway.cli.steps import print_steps
from gateway.core.errors import GatewayError

POLL_S = 5
"""The demo polls its look-alike this often, so that a change shows while one watches."""


@dataclass
class Person:
    """A principal of the demo with everything a client needs to act for it."""

    name: str
    zone: str
    apple: dict[str, str]
    connected: bool
    id: str = ""
    device: dict[str, str] = field(default_factory=dict)
    platform: dict[str, str] = field(default_factory=dict)
    calendars: list[dict[str, Any]] = field(default_factory=list)
    schedule: str | None = None


@dataclass
class Demo:
    """The running demo; the URLs end with a slash."""

    api: str
    caldav: str
    lookalike: str
    admin_key: str
    people: list[Person]
    seconds: float = 0.0

    def ready_line(self) -> dict[str, Any]:
        """Return the document scripts rely on."""
        return {
            "api": self.api,
            "caldav": self.caldav,
            "lookalike": self.lookalike,
            "admin_key": self.admin_key,
            "principals": [
                {
                    "id": person.id,
                    "caldav_home": f"{self.caldav}{person.id}/",
                    "device": person.device,
                    "platform": person.platform,
                    "apple": person.apple,
                    "schedule": person.schedule,
                }
                for person in self.people
            ],
        }


class Api:
    """A tiny JSON client of the gateway's own API."""

    def __init__(self, url: str, key: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session = session

    async def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Send one request and return the parsed answer; raises :class:`GatewayError`."""
        async with self._session.request(
            method, self.url + path, json=body, params=query, headers=self._headers
        ) as response:
            text = await response.text()
        answer: Any = json.loads(text) if text else None
        if response.status >= 400:
            raise GatewayError(answer["detail"], code=answer["code"])
        return answer


def demo(
    once: Annotated[bool, typer.Option("--once", help="Do the main job, print it, end.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder to keep and go on with; default a temporary one.")
    ] = None,
    api_port: Annotated[
        int | None, typer.Option(help="Port of the API; 0 is any free one.", show_default="8080")
    ] = None,
    caldav_port: Annotated[
        int | None, typer.Option(help="Port of the CalDAV server.", show_default="5232")
    ] = None,
    lookalike_port: Annotated[
        int | None, typer.Option(help="Port of the look-alike.", show_default="8180")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line when ready.")
    ] = False,
) -> None:
    """See the product do its main job on this machine, with an iCloud look-alike as iCloud."""
    forget_settings()
    asked = {"api": api_port, "caldav": caldav_port, "lookalike": lookalike_port}
    ports = Ports(asked)
    with refusals(as_json=as_json), demo_folder(data) as folder:
        ok = asyncio.run(_run(folder, ports, once=once, as_json=as_json))
    if not ok:
        raise typer.Exit(REFUSED)


_USUAL_PORTS = {"api": 8080, "caldav": 5232, "lookalike": 8180}


class Ports:
    """Which port each part gets: the one asked for, else the usual one, else any free one."""

    def __init__(self, asked: Mapping[str, int | None]) -> None:
        self._asked = asked
        self.chosen = {
            name: _free(usual) if (port := asked[name]) is None else port
            for name, usual in _USUAL_PORTS.items()
        }

    def give_up_usual(self, *names: str) -> bool:
        """Take any free ones instead of the usual ones of these parts; False when there are none.

        Somebody may take a usual port between the look and the start, another demo for one.
        """
        usual = [name for name in names if self._asked[name] is None and self.chosen[name]]
        self.chosen.update(dict.fromkeys(usual, 0))
        return bool(usual)


def _free(preferred: int) -> int:
    """Return the preferred port, or 0 (any free one) when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            return 0
    return preferred


async def _run(folder: DemoFolder, ports: Ports, *, once: bool, as_json: bool) -> bool:
    stop = stop_event()
    async with AsyncExitStack() as stack:
        setting_up = asyncio.ensure_future(_set_up(stack, folder, ports))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait([setting_up, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not setting_up.done():
            setting_up.cancel()
            return True
        running, parts = await setting_up
        if once:
            return await _once(running, as_json=as_json)
        show(running.ready_line(), as_json=as_json, text=lambda: _what_to_try(running))
        given_up = await until_given_up(stop, *(part.watch() for part in parts))
        if given_up is not None:
            raise ChildFailed(given_up)
        return True


async def _set_up(
    stack: AsyncExitStack, folder: DemoFolder, ports: Ports
) -> tuple[Demo, tuple[Kept, ...]]:
    """Start the parts and connect the people; the stack stops everything in reverse order."""
    began = time.monotonic()
    lookalike = await _started(Kept(partial(_begin_lookalike, folder, ports)), ports, "lookalike")
    stack.push_async_callback(lookalike.stop)
    admin_key = folder.admin_key()
    begin = partial(_begin_gateway, folder, ports, lookalike.ready["url"])
    gateway = await _started(Kept(begin), ports, "api", "caldav")
    stack.push_async_callback(gateway.stop)
    session = await stack.enter_async_context(aiohttp.ClientSession())
    api = Api(gateway.ready["api"], admin_key, session)
    people = await _people(api, folder, lookalike.ready["accounts"])
    demo = Demo(
        api.url,
        gateway.ready["caldav"],
        lookalike.ready["url"],
        admin_key,
        people,
        round(time.monotonic() - began, 1),
    )
    return demo, (lookalike, gateway)


async def _started(part: Kept, ports: Ports, *names: str) -> Kept:
    """Start a part; should it not start on the usual ports, try once more on any free ones."""
    try:
        await part.start()
    except ChildFailed:
        if not ports.give_up_usual(*names):
            raise
        await part.start()
    return part


async def _begin_lookalike(folder: DemoFolder, ports: Ports, before: dict[str, Any]) -> Child:
    """Start the look-alike, where it was before; it goes on with what it kept."""
    port = urlsplit(before["url"]).port if before else ports.chosen["lookalike"]
    partition = urlsplit(before["partition_url"]).port if before else 0
    return await Child.start(
        "lookalike",
        *("--port", str(port)),
        *("--partition-port", str(partition)),
        *("--keep", str(folder.lookalike)),
    )


async def _begin_gateway(
    folder: DemoFolder, ports: Ports, upstream: str, before: dict[str, Any]
) -> Child:
    """Start the gateway, where it was before."""
    chosen = {
        name: urlsplit(before[name]).port or 0 if before else ports.chosen[name]
        for name in ("api", "caldav")
    }
    return await Child.start("serve", environment=_environment(folder.path, chosen, upstream))


def _environment(folder: Path, ports: dict[str, int], upstream: str) -> dict[str, str]:
    return dict(os.environ) | {
        "GATEWAY_DATA_DIR": str(folder),
        "GATEWAY_UPSTREAM_URL": upstream,
        "GATEWAY_UPSTREAM_ALLOW_LOOPBACK": "true",
        "GATEWAY_API_BIND": f"127.0.0.1:{ports['api']}",
        "GATEWAY_CALDAV_BIND": f"127.0.0.1:{ports['caldav']}",
        "GATEWAY_POLL_ACTIVE_S": str(POLL_S),
        "GATEWAY_POLL_IDLE_S": str(POLL_S),
        "GATEWAY_LOG_LEVEL": "WARNING",
    }


async def _people(api: Api, folder: DemoFolder, accounts: list[dict[str, str]]) -> list[Person]:
    """Make the people, or whoever of them is missing yet; each step is remembered when done."""
    if "subaccount" not in folder.memory:
        made = await api.call("POST", "v1/subaccounts", {"name": "Demo"})
        folder.memory["subaccount"] = made["id"]
        folder.save()
    people = [
        Person(
            account["name"],
            account["zone"],
            {"email": account["email"], "app_password": account["app_password"]},
            connected=account is not accounts[-1],
        )
        for account in accounts
    ]
    for person in people:
        await _register(api, folder, person)
    connected = [person for person in people if person.connected]
    await asyncio.gather(*(_connect(api, folder, person) for person in connected))
    return people


async def _register(api: Api, folder: DemoFolder, person: Person) -> None:
    known = folder.person(person.apple["email"])
    if "id" not in known:
        wanted = {
            "subaccount": folder.memory["subaccount"],
            "name": person.name,
            "time_zone": person.zone,
        }
        known["id"] = (await api.call("POST", "v1/principals", wanted))["id"]
        folder.save()
    person.id = known["id"]
    for kind in ("device", "platform"):
        if kind not in known:
            path = f"v1/principals/{person.id}/logins"
            login = await api.call("POST", path, {"kind": kind, "label": f"demo {kind}"})
            known[kind] = {"login": login["login"], "password": login["password"]}
            folder.save()
        setattr(person, kind, known[kind])


async def _connect(api: Api, folder: DemoFolder, person: Person) -> None:
    base = f"v1/principals/{person.id}"
    known = folder.person(person.apple["email"])
    if "chosen" not in known:
        await _choose(api, person)
        known["chosen"] = True
        folder.save()
    await api.call("POST", f"{base}/connection/sync")
    person.calendars = (await api.call("GET", f"{base}/calendars"))["calendars"]
    if "schedule" not in known:
        known["schedule"] = await _offer(api, person)
        folder.save()
    person.schedule = known["schedule"]


async def _choose(api: Api, person: Person) -> None:
    """Connect the account, link its first calendar and let the others block."""
    base = f"v1/principals/{person.id}"
    try:
        await api.call("POST", f"{base}/connection", person.apple)
    except GatewayError as error:
        if error.code != "principal-already-connected":  # by an interrupted start
            raise
    listed = (await api.call("GET", f"{base}/calendars"))["calendars"]
    linked = next(c for c in listed if c["linkable"])
    conflicts = [c["id"] for c in listed if c["conflictable"] and c != linked]
    await api.call(
        "PUT", f"{base}/calendar-roles", {"linked": linked["id"], "conflicts": conflicts}
    )


async def _offer(api: Api, person: Person) -> str:
    """Offer half hours in office hours; return the schedule's id."""
    days = ("monday", "tuesday", "wednesday", "thursday", "friday")
    schedule = {
        "name": f"Half an hour with {person.name}",
        "principal": person.id,
        "duration_minutes": 30,
        "working_hours": {day: [["09:00", "17:00"]] for day in days},
    }
    return str((await api.call("POST", "v1/schedules", schedule))["id"])


async def _once(running: Demo, *, as_json: bool) -> bool:
    from gateway.cli.demo.job import run_job  # its libraries are of no use to other commands

    steps = await run_job(running.ready_line(), running.people[0].calendars)
    ok = all(step.ok for step in steps)
    result = {"ok": ok, "steps": [vars(step) for step in steps], "seconds": running.seconds}

    def text() -> None:
        stdout.print(f"Two accounts connected and synced in {running.seconds} s\n")
        print_steps(steps)

    show(running.ready_line() | {"result": result}, as_json=as_json, text=text)
    return ok


def _what_to_try(running: Demo) -> None:
    person = running.people[0]
    stdout.print(f"Ready after {running.seconds} s. Everything runs on this machine only.\n")
    for label, url in (
        ("API", running.api),
        ("API pages", f"{running.api}docs"),
        ("CalDAV", running.caldav),
        ("Look-alike", running.lookalike),
    ):
        stdout.print(f"{label:<11} {url}")
    stdout.print(f"Admin key   {running.admin_key}\n")
    for one in running.people:
        state = "connected" if one.connected else "not connected yet"
        stdout.print(f"{one.name} ({one.id}), {state}: {one.apple['email']}")
        stdout.print(f"   device    {one.device['login']}  {one.device['password']}")
        stdout.print(f"   platform  {one.platform['login']}  {one.platform['password']}")
        stdout.print(f"   Apple     {one.apple['email']}  {one.apple['app_password']}")
    start = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
    end = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 7 * 86_400))
    stdout.print("\nTry, from another shell:\n")
    stdout.print("# When is this person busy this week?")
    stdout.print(
        f"curl -H 'Authorization: Bearer {running.admin_key}' \\\n"
        f"  '{running.api}v1/principals/{person.id}/freebusy?start={start}&end={end}'\n"
    )
    stdout.print("# Which half hours can be booked?")
    stdout.print(
        f"curl -H 'Authorization: Bearer {running.admin_key}' \\\n"
        f"  '{running.api}v1/schedules/{person.schedule}/slots?start={start}&end={end}'\n"
    )
    stdout.print("# What does a phone see?")
    login = f"{person.device['login']}:{person.device['password']}"
    stdout.print(f"curl -u {login} -X PROPFIND -H 'Depth: 1' \\\n  {running.caldav}{person.id}/\n")
    stdout.print("Ctrl-C ends it.")
