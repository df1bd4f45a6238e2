"""The whole path over HTTP with real processes: what the product promises, seen from outside."""

import json
import os
import time
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from gateway.lookalike.client import LookalikeControl
from tests.e2e.conftest import Installation
from tests.e2e.person import DAY, HOUR, Person, event, eventually, make_person

TOMORROW = int(time.time()) // DAY * DAY + DAY + 9 * HOUR


@pytest.fixture
async def person(
    installation: Installation, http: aiohttp.ClientSession, phone: LookalikeControl
) -> Person:
    """Somebody with Home linked and Work as conflict calendar."""
    someone = await make_person(installation, http, phone)
    await someone.connect()
    await someone.choose("Home", "Work")
    return someone


@pytest.mark.rule("R9", "R23")
async def test_an_edit_on_the_phone_shows_and_its_deletion_frees_the_time(person: Person) -> None:
    summary = "Dentist"
    name = await person.phone.put(person.email, "work", event(TOMORROW, summary=summary))
    mirror = person.calendars["Work"]["caldav"].rstrip("/").rsplit("/", 1)[1]

    async def shows() -> bool:
        return await person.is_busy(TOMORROW, TOMORROW + HOUR)

    async def gone() -> bool:
        return not await shows()

    await eventually(shows)  # the worker polls by itself
    status, listing = await person.dav("GET", f"{mirror}/")
    assert status == 200
    assert summary in listing
    assert not await person.is_busy(TOMORROW - HOUR, TOMORROW)
    assert not await person.is_busy(TOMORROW + HOUR, TOMORROW + 2 * HOUR)
    await person.phone.delete(person.email, "work", name)
    await eventually(gone)
    _, listing = await person.dav("GET", f"{mirror}/")
    assert summary not in listing


@pytest.mark.rule("R13", "R15", "R16", "R19")
async def test_a_platform_put_arrives_in_the_linked_calendar_and_nowhere_else(
    person: Person,
) -> None:
    before = await person.names_upstream()
    path = f"platform/{uuid4()}.ics"
    guest = "ATTENDEE:mailto:guest@example.org"
    status, _ = await person.dav("PUT", path, event(TOMORROW, guest), login="platform")
    assert status == 201

    async def arrived() -> bool:
        return len((await person.names_upstream())["Home"]) == len(before["Home"]) + 1

    async def deleted() -> bool:
        return await person.names_upstream() == before

    await eventually(arrived)
    after = await person.names_upstream()
    assert {name: after[name] for name in after if name != "Home"} == {
        name: before[name] for name in before if name != "Home"
    }
    (new,) = after["Home"] - before["Home"]
    stored = await person.phone.get(person.email, "home", new)
    assert b"guest@example.org" not in stored
    assert await person.phone.mail_count(person.email) == 0

    moved = event(TOMORROW + 3 * HOUR, summary="Moved")
    uid = stored_uid(await person.dav("GET", path))
    moved = event(TOMORROW + 3 * HOUR, summary="Moved", uid=uid)
    status, _ = await person.dav("PUT", path, moved, login="platform")
    assert status == 204

    async def updated() -> bool:
        return b"Moved" in await person.phone.get(person.email, "home", new)

    await eventually(updated)
    assert await person.names_upstream() == after
    assert not await person.is_busy(TOMORROW, TOMORROW + HOUR)
    status, _ = await person.dav("DELETE", path, login="platform")
    assert status in (200, 204)
    await eventually(deleted)
    assert {path.rsplit("/", 1)[0] for _, path in await person.writes_upstream()} == {
        path.rsplit("/", 1)[0] for _, path in (await person.writes_upstream())[:1]
    }


def stored_uid(answer: tuple[int, str]) -> str:
    """Return the UID in a GET answer."""
    status, text = answer
    assert status == 200
    return next(line[4:] for line in text.splitlines() if line.startswith("UID:"))


@pytest.mark.rule("R14", "R19")
async def test_a_device_put_blocks_here_and_never_goes_upstream(person: Person) -> None:
    before = await person.names_upstream()
    status, _ = await person.dav("PUT", f"platform/{uuid4()}.ics", event(TOMORROW))
    assert status == 201
    assert await person.is_busy(TOMORROW, TOMORROW + HOUR)
    status, _ = await person.dav(
        "PUT",
        f"platform/{uuid4()}.ics",
        event(TOMORROW + 5 * HOUR, "X-GATEWAY-KIND:BLOCKED-SLOT"),
        login="platform",
    )
    assert status == 201
    # An appointment made after them has arrived, so they would have too.
    await person.dav("PUT", f"platform/{uuid4()}.ics", event(TOMORROW + DAY), login="platform")

    async def arrived() -> bool:
        return bool(await person.writes_upstream())

    await eventually(arrived)
    await person.sync()
    after = await person.names_upstream()
    assert sum(map(len, after.values())) == sum(map(len, before.values())) + 1
    assert [method for method, _ in await person.writes_upstream()] == ["PUT"]


@pytest.mark.rule("R20")
async def test_a_write_to_a_mirror_is_refused_with_a_reason(person: Person) -> None:
    name = await person.phone.put(person.email, "work", event(TOMORROW, summary="Theirs"))
    await person.sync()
    mirror = person.calendars["Work"]["caldav"].rstrip("/").rsplit("/", 1)[1]
    for login in ("device", "platform"):
        for method, body in (("PUT", event(TOMORROW, summary="Mine")), ("DELETE", None)):
            status, text = await person.dav(method, f"{mirror}/{name}", body, login=login)
            assert status == 403
            assert "need-privileges" in text
    assert b"Theirs" in await person.phone.get(person.email, "work", name)
    assert await person.writes_upstream() == []


@pytest.mark.rule("R4", "R25")
async def test_a_revoked_password_keeps_old_busy_time_and_says_so(person: Person) -> None:
    await person.phone.put(person.email, "work", event(TOMORROW))
    await person.sync()
    assert await person.is_busy(TOMORROW, TOMORROW + HOUR)
    await person.phone.revoke(person.email)

    async def told() -> bool:
        connection = await person.done("GET", f"principals/{person.id}/connection")
        return bool(connection["state"] == "credential-revoked")

    await eventually(told)
    answer = await person.freebusy(TOMORROW, TOMORROW + HOUR)
    assert [period["status"] for period in answer["busy"]] == ["busy"]
    seen = max(entry["seq"] for entry in await person.phone.log(person.email))
    await person.http.get(person.installation.api)  # the worker has had time to poll again
    failed = [e for e in await person.phone.log(person.email, since=seen) if e["status"] == 401]
    assert len(failed) <= 1


@pytest.mark.rule("R8")
async def test_a_subscription_is_listed_and_refused(person: Person) -> None:
    subscription = person.calendars["Public holidays"]
    assert (subscription["refusal"], subscription["linkable"], subscription["conflictable"]) == (
        "calendar-subscribed",
        False,
        False,
    )
    for body in (
        {"linked": subscription["id"], "conflicts": []},
        {"linked": None, "conflicts": [subscription["id"]]},
    ):
        status, problem = await person.api("PUT", f"principals/{person.id}/calendar-roles", body)
        assert (status, problem["code"]) == (422, "calendar-subscribed")


def test_the_caldav_process_never_has_the_key(installation: Installation) -> None:
    """Looks into the environment and the open files of the process that serves CalDAV."""
    children = Path(f"/proc/{installation.serve.popen.pid}/task").glob("*/children")
    pids = [pid for path in children for pid in path.read_text().split()]
    caldav = [pid for pid in pids if b"\0caldav\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(caldav) == 1
    environment = Path(f"/proc/{caldav[0]}/environ").read_bytes()
    keyring = (installation.folder / "data" / "keyring.json").read_text()
    assert b"KEYRING" not in environment
    (secret,) = json.loads(keyring)["keys"].values()
    assert secret.encode() not in environment
    opened = {os.readlink(link) for link in Path(f"/proc/{caldav[0]}/fd").iterdir()}
    assert not any("keyring" in name for name in opened)
    mapped = Path(f"/proc/{caldav[0]}/maps").read_text()
    assert "keyring" not in mapped
