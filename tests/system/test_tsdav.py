"""tsdav, the CalDAV client of web applications, as it comes from npm."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.person import DAY, HOUR, Person, event
from tests.system.conftest import TOMORROW
from tests.system.driver import Driver, run_driver
from tests.system.parts import TSDAV

pytestmark = pytest.mark.system("tsdav")

SCRIPT = Path(__file__).parent / "tsdav" / "client.cjs"


@asynccontextmanager
async def run_tsdav(person: Person, login: str) -> AsyncIterator[Driver]:
    """Log in as tsdav's own documentation shows: server address, user name, password."""
    async with run_driver("node", str(SCRIPT), str(TSDAV)) as client:
        credentials = person.logins[login]
        await client.call(
            "createDAVClient",
            serverUrl=person.installation.caldav,
            credentials={"username": credentials["login"], "password": credentials["password"]},
            authMethod="Basic",
            defaultAccountType="caldav",
        )
        yield client


@pytest.fixture
async def client(person: Person) -> AsyncIterator[Driver]:
    """A client with the device login."""
    async with run_tsdav(person, "device") as running:
        yield running


@pytest.mark.rule("R10", "R18")
async def test_it_finds_the_calendars_and_reads_the_mirror(client: Driver, person: Person) -> None:
    found = {one["displayName"]: one for one in await client.call("fetchCalendars")}
    home = person.installation.caldav + person.id
    assert {name: one["url"] for name, one in found.items()} == {
        "Appointments": f"{home}/platform/",
        "Home": f"{home}/{_mirror(person, 'Home')}/",
        "Work": f"{home}/{_mirror(person, 'Work')}/",
    }
    for calendar in found.values():
        assert calendar["components"] == ["VEVENT"]
        assert calendar["ctag"]
        assert calendar["syncToken"]
        assert "syncCollection" in calendar["reports"]
    (dentist,) = await client.call("fetchCalendarObjects", calendar=found["Work"])
    assert "SUMMARY:Dentist" in dentist["data"]
    before = {"start": person_time(TOMORROW - DAY), "end": person_time(TOMORROW)}
    assert await client.call("fetchCalendarObjects", calendar=found["Work"], timeRange=before) == []


def _mirror(person: Person, name: str) -> str:
    return str(person.calendars[name]["caldav"]).rstrip("/").rsplit("/", 1)[1]


def person_time(epoch: int) -> str:
    """ISO 8601 as tsdav wants it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


async def calendar_named(client: Driver, name: str) -> dict[str, Any]:
    """Fetch one calendar."""
    (found,) = [one for one in await client.call("fetchCalendars") if one["displayName"] == name]
    return dict(found)


@pytest.mark.rule("R14", "R19")
async def test_an_event_is_made_changed_and_deleted(client: Driver, person: Person) -> None:
    calendar = await calendar_named(client, "Appointments")
    uid = str(uuid4())

    def body(start: int) -> str:
        return event(start, summary="Gym", uid=uid).decode()

    made = await client.call(
        "createCalendarObject",
        calendar=calendar,
        filename=f"{uid}.ics",
        iCalString=body(TOMORROW + HOUR),
    )
    assert made["status"] == 201
    assert await person.is_busy(TOMORROW + HOUR, TOMORROW + 2 * HOUR)
    (stored,) = await client.call("fetchCalendarObjects", calendar=calendar)
    assert stored["data"].splitlines() == body(TOMORROW + HOUR).splitlines()
    assert stored["etag"] == made["etag"]
    changed = stored | {"data": body(TOMORROW + 5 * HOUR)}
    moved = await client.call("updateCalendarObject", calendarObject=changed)
    assert moved["status"] == 204
    assert moved["etag"] != made["etag"]
    assert not await person.is_busy(TOMORROW + HOUR, TOMORROW + 2 * HOUR)
    assert await person.is_busy(TOMORROW + 5 * HOUR, TOMORROW + 6 * HOUR)
    late = await client.call("updateCalendarObject", calendarObject=changed)  # with the old etag
    assert late["status"] == 412
    gone = await client.call(
        "deleteCalendarObject", calendarObject=changed | {"etag": moved["etag"]}
    )
    assert gone["status"] in (200, 204)
    assert not await person.is_busy(TOMORROW + 5 * HOUR, TOMORROW + 6 * HOUR)
    await person.sync()
    assert await person.writes_upstream() == []


@pytest.mark.rule("R20")
async def test_a_write_to_a_mirror_is_refused(client: Driver, person: Person) -> None:
    calendar = await calendar_named(client, "Work")
    refused = await client.call(
        "createCalendarObject",
        calendar=calendar,
        filename="mine.ics",
        iCalString=event(TOMORROW).decode(),
    )
    assert refused["status"] == 403
    (dentist,) = await client.call("fetchCalendarObjects", calendar=calendar)
    assert (await client.call("deleteCalendarObject", calendarObject=dentist))["status"] == 403
    assert await person.is_busy(TOMORROW, TOMORROW + HOUR)


@pytest.mark.rule("R21")
async def test_a_sync_sees_each_change_once(client: Driver, person: Person) -> None:
    """By sync-token (RFC 6578) as tsdav's own sync does it."""
    calendar = await calendar_named(client, "Appointments")
    for name in ("kept", "changed", "deleted"):
        await person.dav("PUT", f"platform/{name}.ics", event(TOMORROW, uid=name))
    calendar["objects"] = []
    first = await client.call("smartCollectionSync", collection=calendar, detailedResult=True)
    assert names(first["objects"]) == {
        "created": {"kept.ics", "changed.ics", "deleted.ics"},
        "updated": set(),
        "deleted": set(),
    }
    known = calendar | {
        "syncToken": first["syncToken"],
        "objects": await client.call("fetchCalendarObjects", calendar=calendar),
    }
    same = await client.call("smartCollectionSync", collection=known, detailedResult=True)
    assert names(same["objects"]) == {"created": set(), "updated": set(), "deleted": set()}
    await person.dav("PUT", "platform/new.ics", event(TOMORROW, uid="new"))
    await person.dav("PUT", "platform/changed.ics", event(TOMORROW + DAY, uid="changed"))
    await person.dav("DELETE", "platform/deleted.ics")
    then = await client.call("smartCollectionSync", collection=known, detailedResult=True)
    assert names(then["objects"]) == {
        "created": {"new.ics"},
        "updated": {"changed.ics"},
        "deleted": {"deleted.ics"},
    }


def names(objects: dict[str, list[dict[str, str]]]) -> dict[str, set[str]]:
    """Return the object names of a detailed result."""
    return {
        kind: {one["url"].rsplit("/", 1)[1] for one in found} for kind, found in objects.items()
    }


@pytest.mark.rule("R9", "R21")
async def test_its_sync_of_all_calendars_tells_which_changed(
    client: Driver, person: Person
) -> None:
    old = await client.call("fetchCalendars")
    same = await client.call("syncCalendars", oldCalendars=old, detailedResult=True)
    assert same == {"created": [], "updated": [], "deleted": []}
    await person.phone.put(person.email, "work", event(TOMORROW + DAY, summary="New"))
    await person.choose("Home")  # Work is no conflict calendar any more: its mirror goes
    await person.dav("PUT", "platform/new.ics", event(TOMORROW, uid="new"))
    changed = await client.call("syncCalendars", oldCalendars=old, detailedResult=True)
    assert {kind: [one["displayName"] for one in found] for kind, found in changed.items()} == {
        "created": [],
        "updated": ["Appointments"],
        "deleted": ["Work"],
    }


@pytest.mark.rule("R22", "R23")
async def test_its_free_busy_query_says_what_the_api_says(client: Driver, person: Person) -> None:
    calendar = await calendar_named(client, "Work")
    answer = await client.call(
        "freeBusyQuery",
        url=calendar["url"],
        timeRange={"start": person_time(TOMORROW - DAY), "end": person_time(TOMORROW + DAY)},
    )
    start, end = (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(TOMORROW + n * HOUR)) for n in (0, 1))
    assert f"FREEBUSY;FBTYPE=BUSY:{start}/{end}" in str(answer)
    assert [
        (datetime.fromisoformat(one["start"]).timestamp(), one["status"])
        for one in (await person.freebusy(TOMORROW - DAY, TOMORROW + DAY))["busy"]
    ] == [(TOMORROW, "busy")]


@pytest.mark.rule("R13", "R19")
async def test_with_the_platform_login_an_event_goes_to_icloud(person: Person) -> None:
    async with run_tsdav(person, "platform") as client:
        calendar = await calendar_named(client, "Appointments")
        made = await client.call(
            "createCalendarObject",
            calendar=calendar,
            filename="appointment.ics",
            iCalString=event(TOMORROW + 3 * HOUR, summary="Consultation").decode(),
        )
        assert made["status"] == 201
    await person.sync()
    (write,) = await person.writes_upstream()
    assert write[0] == "PUT"


@pytest.mark.rule("R14", "R18")
async def test_it_makes_a_local_calendar_that_blocks_time_and_goes_again(
    client: Driver, person: Person
) -> None:
    url = f"{person.installation.caldav}{person.id}/sports/"
    await client.call("makeCalendar", url=url, props={"displayname": "Sports"})
    calendar = await calendar_named(client, "Sports")
    assert calendar["url"] == url
    at = TOMORROW + 4 * HOUR
    made = await client.call(
        "createCalendarObject", calendar=calendar, filename="a.ics", iCalString=event(at).decode()
    )
    assert made["status"] == 201
    assert await person.is_busy(at, at + HOUR)
    gone = await client.call("deleteObject", url=url)
    assert gone["status"] in (200, 204)
    assert not await person.is_busy(at, at + HOUR)
    assert "Sports" not in {one["displayName"] for one in await client.call("fetchCalendars")}
    await person.sync()
    assert await person.writes_upstream() == []
