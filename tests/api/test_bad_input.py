"""Every door to availability says what is wrong with a question, in one way: code and pointer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from gateway.api.app import build_api
from gateway.api.http.listener import ApiRunner
from gateway.store.booking.schedules import create_token
from tests.api.conftest import NOW, Place

START, END = "2026-11-02T09:00:00Z", "2026-11-02T10:00:00Z"
Told = tuple[int, str | None, list[str]]


@dataclass(frozen=True)
class Door:
    """One call: how its window, its people and its zones are named."""

    method: str
    path: str
    start: str = "start"
    end: str = "end"
    people: str | None = None
    zone: str | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)


DOORS = {
    "free/busy": Door("GET", "/v1/principals/{person}/freebusy", zone="time_zone"),
    "explain": Door("GET", "/v1/principals/{person}/explain", zone="time_zone"),
    "slots": Door("GET", "/v1/schedules/{schedule}/slots", zone="time_zone"),
    "public": Door("GET", "/freebusy/{token}"),
    "several": Door("POST", "/v1/freebusy", people="principals", zone="time_zone"),
    "availability": Door(
        "POST",
        "/v1/availability",
        people="principals",
        zone="visitor_time_zone",
        rest={"duration_minutes": 30},
    ),
    "google": Door(
        "POST",
        "/v1/compat/google/freeBusy",
        start="timeMin",
        end="timeMax",
        people="items",
        zone="timeZone",
    ),
    "hold": Door("POST", "/v1/holds", people="principal"),
    "appointment": Door("POST", "/v1/appointments", people="principal", rest={"title": "x"}),
    "blocked slot": Door("POST", "/v1/blocked-slots", people="principal"),
}


EVERY_DOOR = pytest.mark.parametrize("name", DOORS)


class Asker:
    """Sends questions that are right but for what a test changes."""

    def __init__(self, place: Place, schedule: str, token: str) -> None:
        self.place = place
        self._names = {"person": place.ann.id, "schedule": schedule, "token": token}

    async def send(self, door: Door, **changes: Any) -> Any:
        """Return the answer."""
        given: dict[str, Any] = {door.start: START, door.end: END, **door.rest}
        if door.people is not None:
            given[door.people] = name_people(door, [self.place.ann.id])
        given |= changes
        caller = self.place.nobody if "{token}" in door.path else self.place.platform
        options = {"params": given} if door.method == "GET" else {"json": given}
        return await caller.send(door.method, door.path.format(**self._names), **options)

    async def told(self, door: Door, **changes: Any) -> Told:
        """Return status, code and pointers."""
        answer = await self.send(door, **changes)
        found = await answer.json(content_type=None)
        return answer.status, found["code"], [fault["pointer"] for fault in found["errors"]]


def name_people(door: Door, people: list[str]) -> Any:
    """Write people as a door takes them."""
    if door.people == "items":
        return [{"id": name} for name in people]
    return people if door.people == "principals" else people[0]


def refused(door: Door) -> int:
    """What Google's clients know as 400 is 422 elsewhere."""
    return 400 if "/google/" in door.path else 422


@pytest.fixture
async def asker(place: Place) -> Asker:
    """Somebody with a schedule and a public address to ask at."""
    with place.database.write() as session:
        _, token = create_token(session, place.ann.id, label="", detail="exact", now=NOW)
    body = {"name": "x", "principal": place.ann.id, "duration_minutes": 30}
    _, made = await place.platform.post("/v1/schedules", body)
    return Asker(place, made["id"], token)


@EVERY_DOOR
async def test_a_right_question_is_answered(asker: Asker, name: str) -> None:
    assert (await asker.send(DOORS[name])).status in (200, 201)


@pytest.mark.rule("R24")
@EVERY_DOOR
async def test_windows_that_cannot_be(asker: Asker, name: str) -> None:
    door = DOORS[name]
    found = {
        "naive": await asker.told(door, **{door.start: "2026-11-02T09:00:00"}),
        "no time": await asker.told(door, **{door.end: "soon"}),
        "empty": await asker.told(door, **{door.end: START}),
        "reversed": await asker.told(door, **{door.end: "2026-11-02T08:00:00Z"}),
        "wide": await asker.told(door, **{door.end: "2028-11-02T09:00:00Z"}),
        "far": await asker.told(
            door, **{door.start: "2040-01-01T09:00:00Z", door.end: "2040-01-01T10:00:00Z"}
        ),
        "long ago": await asker.told(
            door, **{door.start: "2001-01-01T09:00:00Z", door.end: "2001-01-01T10:00:00Z"}
        ),
        "beyond all": await asker.told(door, **{door.end: "9999-12-31T23:59:59Z"}),
    }
    start, end = f"/{door.start}", f"/{door.end}"
    status = refused(door)
    assert found == {
        "naive": (status, "time-naive", [start]),
        "no time": (status, "time-invalid", [end]),
        "empty": (status, "window-reversed", [end]),
        "reversed": (status, "window-reversed", [end]),
        "wide": (status, "window-too-wide", [end]),
        "far": (status, "window-too-far", [end]),
        "long ago": (status, "window-too-far", [start]),
        "beyond all": (status, "time-out-of-range", [end]),
    }


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "../../etc/passwd", "GMT+25", "Z" * 5000, "", "\u0130"]
)
@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.zone])
async def test_zones_that_are_none(asker: Asker, name: str, zone: str) -> None:
    door = DOORS[name]
    told = await asker.told(door, **{door.zone or "": zone})
    assert told == (refused(door), "time-zone-unknown", [f"/{door.zone}"])


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.people])
async def test_people_who_are_not_there_for_this_key(asker: Asker, name: str) -> None:
    """Unknown and foreign people look the same; who is known has an answer all the same."""
    door, place = DOORS[name], asker.place
    assert door.people is not None
    for who in ("p_nobody", place.bob.id):
        people = [place.ann.id, who] if door.people in ("principals", "items") else [who]
        answer = await asker.send(door, **{door.people: name_people(door, people)})
        found = await answer.json(content_type=None)
        if name == "several":
            assert (answer.status, list(found["principals"])) == (200, [place.ann.id])
            fault = found["errors"][who]
            assert (fault["code"], fault["pointer"]) == ("not-found", "/principals/1")
        elif name == "google":
            assert (answer.status, list(found["calendars"])) == (200, people)
            assert found["calendars"][who]["errors"][0]["reason"] == "notFound"
        else:
            pointer = f"/{door.people}" + ("/1" if door.people == "principals" else "")
            assert (answer.status, found["code"]) == (404, "not-found")
            assert [fault["pointer"] for fault in found["errors"]] == [pointer]


@pytest.mark.parametrize("name", ["free/busy", "explain"])
async def test_a_person_in_the_path_who_is_not_there(asker: Asker, name: str) -> None:
    for who in ("p_nobody", asker.place.bob.id):
        path = DOORS[name].path.format(person=who)
        status, problem = await asker.place.platform.get(path, start=START, end=END)
        assert (status, problem["code"]) == (404, "not-found")


@pytest.mark.parametrize("name", ["several", "availability", "google"])
async def test_ten_thousand_people_and_nobody(asker: Asker, name: str) -> None:
    door = DOORS[name]
    assert door.people is not None
    many = name_people(door, ["p_1"] * 10_000)
    status = refused(door)
    assert await asker.told(door, **{door.people: many}) == (
        status,
        "too-many-items",
        [f"/{door.people}"],
    )
    if name != "google":  # there nobody is an empty answer
        told = await asker.told(door, **{door.people: []})
        assert told == (status, "too-few-items", [f"/{door.people}"])


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.method == "GET"])
async def test_long_and_strange_query_strings(asker: Asker, name: str) -> None:
    door = DOORS[name]
    for junk in ("y" * 7000, "\x00", "%00%ff", "\ud7ff" * 100):
        assert await asker.told(door, junk=junk) == (422, "parameter-unknown", ["/junk"])


# --- what is no request at all ---


@pytest.fixture
async def port(place: Place) -> AsyncIterator[int]:
    """The API behind its own door, as the command serves it."""
    app = build_api(place.settings, place.database, place.keyring, sync=None, clock=place.clock)  # type: ignore[arg-type]
    runner = ApiRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (
            b"GET /freebusy/SECRET?x=%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"y" * 100_000),
            414,
            "request-too-long",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer SECRET%s\r\n\r\n" % (b"y" * 9000),
            414,
            "request-too-long",
        ),
        (b"GET /freebusy/SECRET HTTP/x\r\n\r\n", 400, "request-unreadable"),
        (b"\x16\x03\x01\x02SECRET\r\n\r\n", 400, "request-unreadable"),
        (
            b"POST /v1/freebusy HTTP/1.1\r\nHost: a\r\nContent-Length: SECRET\r\n\r\n",
            400,
            "request-unreadable",
        ),
    ],
)
async def test_what_is_no_request_is_a_problem_that_repeats_nothing(
    port: int,
    sent: bytes,
    status: int,
    code: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    problem = orjson.loads(body)
    assert head.split(b" ")[1] == str(status).encode()
    assert b"Content-Type: application/problem+json" in head
    assert (problem["status"], problem["code"]) == (status, code)
    told = capfd.readouterr()
    assert "SECRET" not in (head + body).decode() + told.out + told.err + caplog.text
