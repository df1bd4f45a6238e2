"""The fast path through the whole API: what is remembered never outlives what it depends on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from gateway.api.http.state import STATE
from gateway.api.process.once_per_turn import OncePerTurn
from gateway.api.process.timelines import TimelineCache
from gateway.api.wire.times import parse_instant
from gateway.services.availability import USUAL_AFTER_S, free_busy
from gateway.store.access import keys
from gateway.store.engine import Database
from tests.api.conftest import NOW, Place
from tests.api.shaped import shaped
from tests.api.test_freebusy import WEEK, equip
from tests.services.people import DAY, HOUR, MONDAY, Person, meeting


def _path(place: Place) -> str:
    return f"/v1/principals/{place.ann.id}/freebusy"


async def _get(place: Place, **params: str) -> dict[str, Any]:
    status, found = await place.reader.get(_path(place), **{**WEEK, **params})
    assert status == 200, found
    return dict(found)


def _long_way(place: Place, **params: str) -> dict[str, Any]:
    """Compute the answer from the database: nothing is remembered there."""
    asked = {**WEEK, **params}
    window = (parse_instant(asked["start"]), parse_instant(asked["end"]))
    with place.database.read() as session:
        found = free_busy(session, place.ann, window, now=place.clock.now)
    return dict(orjson.loads(orjson.dumps(shaped(found, place.ann.time_zone))))


async def soon(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what PostgreSQL tells by notification; on SQLite it must hold at once."""
    async with asyncio.timeout(5):
        while not await check():
            await asyncio.sleep(0.005)


def _elsewhere(place: Place) -> Database:
    """Connections that the API knows nothing of, like those of another process."""
    return Database(place.database.url.render_as_string(hide_password=False))


def _timelines(place: Place) -> TimelineCache:
    app = place.client.app
    assert app is not None
    found: TimelineCache = app[STATE].timelines
    return found


async def test_a_revoked_key_is_refused_at_once(both: Place) -> None:
    equip(both)
    for _ in range(3):
        await _get(both)
    other = _elsewhere(both)
    with other.write() as session:
        key = keys.find_key(session, both.secrets["reader"])
        assert key is not None
        keys.delete_key(session, key.id)
    other.close()

    async def refused() -> bool:
        return (await both.reader.get(_path(both), **WEEK))[0] == 401

    if both.database.is_sqlite:
        assert await refused()
    await soon(refused)


@pytest.mark.rule("R23")
async def test_a_change_made_elsewhere_is_seen_at_once(both: Place) -> None:
    ann = equip(both)
    assert (await _get(both))["busy"] == []
    other = _elsewhere(both)
    away = Person(other, ann.principal, ann.connection, ann.calendar)
    for number in range(5):
        away.put("home", meeting(MONDAY + number * DAY, 1))
        expected = number + 1

        async def seen(count: int = expected) -> bool:
            return len((await _get(both))["busy"]) == count

        if both.database.is_sqlite:
            assert await seen()
        await soon(seen)
        assert await _get(both) == _long_way(both)
    other.close()


@pytest.mark.rule("R25")
async def test_time_alone_ages_stales_and_unbelieves(place: Place) -> None:
    ann = equip(place)
    ann.put("home", meeting(MONDAY, 1))
    ann.set_calendar("work", synced_at=NOW - 450)
    moments = (0, 1, 449, 450, 451, 899, 900, 901, DAY - 450, DAY - 449, DAY, DAY + 1, 3)
    seen = []
    for age in moments:  # the last one: a clock that was set back
        place.clock.now = NOW + age
        found = await _get(place)
        assert found == _long_way(place), age
        states = {source["state"] for source in found["sources"]}
        seen.append((sorted(states), found["complete"]))
    fresh, mixed, stale = ["fresh"], ["fresh", "stale"], ["fresh", "stale"]
    assert seen[:8] == [(fresh, True)] * 4 + [(mixed, True)] * 3 + [(stale, True)]
    assert [complete for _, complete in seen[8:]] == [True, False, False, False, True]


@pytest.mark.rule("R23")
async def test_near_and_far_questions_give_the_same_as_the_long_way(place: Place) -> None:
    ann = equip(place)
    ann.put("home", meeting(MONDAY, 1, "RRULE:FREQ=WEEKLY"))
    cache = _timelines(place)
    spans = []
    for start, end in (
        ("2026-11-02T00:00:00Z", "2026-11-30T00:30:00Z"),
        ("2027-06-01T00:00:00Z", "2027-06-15T00:00:00Z"),  # beyond what was read
        ("2026-11-02T00:30:00Z", "2026-11-16T00:30:00Z"),  # cuts a period at both ends
        ("2028-06-01T00:00:00Z", "2028-06-02T00:00:00Z"),  # beyond what is expanded
        ("2026-10-01T00:00:00Z", "2027-03-01T00:00:00Z"),
    ):
        params = {"start": start, "end": end}
        assert await _get(place, **params) == _long_way(place, **params)
        entry = cache.peek(place.ann.id, (MONDAY, MONDAY + 1), NOW)
        assert entry is not None
        spans.append(entry.timeline.span == entry.timeline.coverage)
    assert spans == [False, True, True, True, True]
    ann.put("home", meeting(MONDAY + HOUR, 2))
    assert await _get(place) == _long_way(place)
    entry = cache.peek(place.ann.id, (MONDAY, MONDAY + 1), NOW)
    assert entry is not None
    assert entry.timeline.span[1] == NOW + USUAL_AFTER_S


async def test_what_is_remembered_is_counted(place: Place) -> None:
    ann = equip(place)
    ann.put("home", meeting(MONDAY, 1, "RRULE:FREQ=DAILY;COUNT=60"))
    cache = _timelines(place)
    sizes = []
    for hour in range(100):
        start = f"2026-11-{2 + hour // 24:02}T{hour % 24:02}:00:00Z"
        await _get(place, start=start, end="2026-11-20T00:00:00Z")
        entry = cache.peek(place.ann.id, (MONDAY, MONDAY + 1), NOW)
        assert entry is not None
        assert cache.bytes == entry.size
        sizes.append(entry.size)
    assert sizes[0] < sizes[20]
    assert max(sizes[50:]) <= max(sizes[:50])  # windows are forgotten, rows are rendered once
    place.clock.now += 901  # other states, other answers: the windows kept are void
    await _get(place)
    entry = cache.peek(place.ann.id, (MONDAY, MONDAY + 1), place.clock.now)
    assert entry is not None
    assert cache.bytes == entry.size < max(sizes)


# --- the head ---


async def _raw(place: Place, *lines: str) -> tuple[str, dict[str, str], bytes, bool]:
    """Send a request by hand; returns status line, headers, body, and whether it was closed."""
    reader, writer = await asyncio.open_connection(place.client.host, place.client.port)
    target = f"{_path(place)}?start={WEEK['start']}&end={WEEK['end']}"
    head = [f"GET {target} HTTP/{lines[0]}", f"Authorization: Bearer {place.secrets['reader']}"]
    writer.write("\r\n".join([*head, "Host: x", *lines[1:], "", ""]).encode())
    status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    body = await reader.readexactly(int(headers.get("Content-Length", "0")))
    try:
        async with asyncio.timeout(0.1):
            closed = await reader.read() == b""
    except TimeoutError:
        closed = False
    writer.close()
    return status, headers, body, closed


@pytest.mark.parametrize(
    ("lines", "connection", "closed"),
    [
        (("1.1",), None, False),
        (("1.1", "Connection: close"), "close", True),
        (("1.0",), None, True),
        (("1.0", "Connection: keep-alive"), "keep-alive", False),
    ],
)
async def test_connections_live_as_long_as_the_client_asks(
    place: Place, lines: tuple[str, ...], connection: str | None, closed: bool
) -> None:
    equip(place)
    status, headers, body, was_closed = await _raw(place, *lines)
    assert status == "HTTP/1.1 200 OK"
    assert (headers.get("Connection"), was_closed) == (connection, closed)
    assert body.startswith(b'{"start":')


async def test_the_head_says_what_other_answers_say(place: Place) -> None:
    equip(place)
    _, headers, _, _ = await _raw(place, "1.1", "X-Request-Id: abcd-1234")
    other = await place.reader.send(
        "POST", "/v1/freebusy", json={**WEEK, "principals": [place.ann.id]}
    )
    same = other.headers
    for name in ("Server", "X-Content-Type-Options", "RateLimit-Policy", "Content-Type"):
        assert headers[name] == same[name]
    assert [name for name in headers if name not in same] == ["ETag"]
    assert (headers["X-Request-Id"], headers["Cache-Control"]) == (
        "abcd-1234",
        "private, no-cache",
    )
    status, known, body, _ = await _raw(place, "1.1", f"If-None-Match: {headers['ETag']}")
    assert (status, body, known["ETag"]) == ("HTTP/1.1 304 Not Modified", b"", headers["ETag"])
    assert not {"Content-Length", "Content-Type"} & set(known)


async def test_requests_that_arrive_together_look_once() -> None:
    looks: list[int] = []
    look = OncePerTurn(lambda: looks.append(len(looks)))

    async def request() -> int:
        look()
        first = len(looks)
        await asyncio.sleep(0)
        look()
        return first

    assert await asyncio.gather(*(request() for _ in range(5))) == [1] * 5
    assert len(looks) == 2
