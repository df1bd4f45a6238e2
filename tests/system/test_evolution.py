"""Evolution's data server, headless: what a desktop calendar does with an account."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.person import DAY, HOUR, Person, event, eventually
from tests.system.conftest import TOMORROW
from tests.system.driver import ClientError, Driver, run_driver
from tests.system.parts import SYSTEM_PYTHON

pytestmark = pytest.mark.system("evolution")

SCRIPT = Path(__file__).parent / "evolution" / "client.py"
CALENDARS = {"Appointments", "Home", "Work"}


@asynccontextmanager
async def run_evolution(home: Path) -> AsyncIterator[Driver]:
    """Run it in a D-Bus session and with folders of its own: nothing of this machine's desktop."""
    folders = {"HOME": home, "XDG_RUNTIME_DIR": home / "run"}
    folders |= {f"XDG_{name}_HOME": home / name.lower() for name in ("CONFIG", "DATA", "CACHE")}
    for folder in folders.values():
        folder.mkdir(mode=0o700, exist_ok=True)
    environment = os.environ | {name: str(folder) for name, folder in folders.items()}
    # Loopback is reachable whether or not the machine has a network.
    environment |= {"GSETTINGS_BACKEND": "memory", "GIO_USE_NETWORK_MONITOR": "base"}
    command = ("dbus-run-session", "--", SYSTEM_PYTHON, str(SCRIPT))
    async with run_driver(*command, environment=environment) as evolution:
        yield evolution


@pytest.fixture
async def evolution(tmp_path: Path) -> AsyncIterator[Driver]:
    """A desktop without any account."""
    async with run_evolution(tmp_path) as running:
        yield running


async def add_account(evolution: Driver, person: Person, login: str = "device") -> None:
    """Add the account: the server's address, user name and password, nothing else."""
    given = person.logins[login]
    found = await evolution.call(
        "look_up",
        url=person.installation.caldav,
        user=given["login"],
        password=given["password"],
    )
    home = person.installation.caldav + person.id
    assert set(found) == CALENDARS
    assert found["Appointments"]["url"] == f"{home}/platform/"
    assert await evolution.call("add", names=sorted(CALENDARS)) == sorted(CALENDARS)


async def open_calendar(evolution: Driver, name: str, *, is_readonly: bool) -> None:
    """Open a calendar and expect that it may be written, or not."""
    await evolution.call("open", name=name)

    async def told() -> bool:
        return bool(await evolution.call("is_readonly", name=name) is is_readonly)

    await eventually(told)


async def events_become(evolution: Driver, name: str, *summaries: str) -> dict[str, str]:
    """Refresh until the calendar has these events; returns them by UID."""
    seen: dict[str, str] = {}

    async def shown() -> bool:
        await evolution.call("refresh", name=name)
        seen.clear()
        seen.update(await evolution.call("events", name=name))
        return sorted(map(summary_of, seen.values())) == sorted(summaries)

    await eventually(shown)
    return seen


def summary_of(text: str) -> str:
    """Return the SUMMARY of an event."""
    return next(line[8:] for line in text.splitlines() if line.startswith("SUMMARY:"))


def vevent(start: int, summary: str, uid: str) -> str:
    """Return the VEVENT alone, as the data server wants it."""
    lines = event(start, summary=summary, uid=uid).decode().split("\r\n")
    return "\r\n".join(lines[lines.index("BEGIN:VEVENT") : lines.index("END:VCALENDAR")])


async def becomes_busy(person: Person, start: int, end: int) -> None:
    """Wait: while it connects, the data server keeps a change and sends it a moment later."""

    async def is_busy() -> bool:
        return await person.is_busy(start, end)

    await eventually(is_busy)


async def becomes_free(person: Person, start: int, end: int) -> None:
    """Wait, as above."""

    async def is_free() -> bool:
        return not await person.is_busy(start, end)

    await eventually(is_free)


@pytest.mark.rule("R9", "R10", "R18", "R20")
async def test_the_mirror_is_read_followed_and_shown_as_read_only(
    evolution: Driver, person: Person
) -> None:
    await add_account(evolution, person)
    await open_calendar(evolution, "Work", is_readonly=True)
    (shown,) = (await events_become(evolution, "Work", "Dentist")).values()
    assert "ATTENDEE" not in shown
    await person.phone.put(person.email, "work", event(TOMORROW + DAY, summary="Added"))
    await person.sync()
    await events_become(evolution, "Work", "Added", "Dentist")
    with pytest.raises(ClientError, match="Permission denied"):
        await evolution.call("create", name="Work", text=vevent(TOMORROW, "Mine", "mine"))
    assert await person.writes_upstream() == []


@pytest.mark.rule("R14", "R19")
async def test_a_blocked_slot_is_made_moved_and_deleted(evolution: Driver, person: Person) -> None:
    await add_account(evolution, person)
    await open_calendar(evolution, "Appointments", is_readonly=False)
    uid, at = str(uuid4()), TOMORROW + 2 * HOUR
    name = {"name": "Appointments"}
    assert await evolution.call("create", **name, text=vevent(at, "Gym", uid)) == uid
    await becomes_busy(person, at, at + HOUR)
    moved = vevent(at + 2 * HOUR, "Gym", uid)
    await evolution.call("modify", **name, text=moved)
    await becomes_free(person, at, at + HOUR)
    await becomes_busy(person, at + 2 * HOUR, at + 3 * HOUR)
    await evolution.call("remove", **name, uid=uid)
    await becomes_free(person, at, at + DAY - 3 * HOUR)
    await person.sync()
    assert await person.writes_upstream() == []


@pytest.mark.rule("R21")
async def test_what_another_client_does_arrives_here(evolution: Driver, person: Person) -> None:
    await add_account(evolution, person)
    await evolution.call("open", name="Appointments")
    await person.dav("PUT", "platform/a.ics", event(TOMORROW, summary="One", uid="a"))
    await person.dav("PUT", "platform/b.ics", event(TOMORROW, summary="Two", uid="b"))
    await events_become(evolution, "Appointments", "One", "Two")
    await person.dav("PUT", "platform/a.ics", event(TOMORROW, summary="Three", uid="a"))
    await person.dav("DELETE", "platform/b.ics")
    await events_become(evolution, "Appointments", "Three")


@pytest.mark.rule("R18")
async def test_a_local_calendar_is_made_blocks_time_and_goes_again(
    evolution: Driver, person: Person
) -> None:
    await add_account(evolution, person)
    url = f"{person.installation.caldav}{person.id}/{uuid4()}/"
    await evolution.call("make_calendar", url=url, name="Sports")
    await open_calendar(evolution, "Sports", is_readonly=False)
    at = TOMORROW + 4 * HOUR
    await evolution.call("create", name="Sports", text=vevent(at, "Match", str(uuid4())))
    await becomes_busy(person, at, at + HOUR)
    await evolution.call("delete_calendar", url=url, name="Sports")
    await becomes_free(person, at, at + HOUR)


async def test_a_wrong_password_is_told(evolution: Driver, person: Person) -> None:
    login = person.logins["device"]["login"]
    with pytest.raises(ClientError, match="Unauthorized"):
        await evolution.call(
            "look_up", url=person.installation.caldav, user=login, password="wrong"
        )
