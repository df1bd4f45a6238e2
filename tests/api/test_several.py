"""Several people at once, and long answers, from timelines in memory: the bytes of the long way."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import orjson
import pytest

from gateway.api.http.state import STATE
from gateway.api.process.timelines import TimelineCache
from gateway.api.wire.times import render_instant
from gateway.core.intervals import Interval
from gateway.services.availability import free_busy
from gateway.store.access import principals
from gateway.store.access.principals import Principal, find_principals
from gateway.store.booking import bookings
from tests.api.conftest import NOW, Place
from tests.api.shaped import shaped
from tests.api.test_fast_path import soon
from tests.api.test_freebusy import equip
from tests.api.test_pieces import YEAR, crowded, query_of, turns_of
from tests.services.people import DAY, HOUR, MONDAY, meeting

__all__ = ["crowded"]  # the fixture
KINDS = ("STATUS:TENTATIVE", "X-MICROSOFT-CDO-BUSYSTATUS:OOF", "STATUS:CONFIRMED")
WINDOWS: Sequence[Interval] = (
    (MONDAY, MONDAY + 7 * DAY),
    (MONDAY + HOUR // 2, MONDAY + 9 * DAY + 1),  # cuts periods at both ends
    (MONDAY - 14 * DAY, MONDAY + 170 * DAY),  # more than is read at first
    (MONDAY + 600 * DAY, MONDAY + 601 * DAY),  # beyond what is expanded
    (NOW, NOW + 366 * DAY),
)


def _cache(place: Place) -> TimelineCache:
    app = place.client.app
    assert app is not None
    found: TimelineCache = app[STATE].timelines
    return found


def _expected(place: Place, wanted: Sequence[str], window: Interval, bound: str | None) -> bytes:
    """Compute the whole answer from the database, as a key of the subaccount ``bound`` gets it."""
    people, errors = {}, {}
    with place.database.read() as session:
        known = find_principals(session, wanted, subaccount_id=bound)
        for number, one in enumerate(wanted):
            if one in known:
                found = free_busy(session, known[one], window, now=place.clock.now)
                people[one] = shaped(found, known[one].time_zone)
            else:
                detail = "There is no such principal."
                errors[one] = {
                    "pointer": f"/principals/{number}",
                    "code": "not-found",
                    "detail": detail,
                }
    return orjson.dumps({"principals": people, "errors": errors})


async def _post(place: Place, caller: str, wanted: Sequence[str], window: Interval) -> bytes:
    body = {
        "principals": list(wanted),
        "start": render_instant(window[0]),
        "end": render_instant(window[1]),
    }
    answer = await place.caller(caller).send("POST", "/v1/freebusy", json=body)
    assert answer.status == 200
    return await answer.read()


def _others(place: Place) -> tuple[Principal, Principal]:
    """Add two colleagues of Ann's without any account, one of them held for a while."""
    made = []
    with place.database.write() as session:
        for zone in ("Asia/Kathmandu", "UTC"):
            made.append(
                principals.create_principal(
                    session,
                    subaccount_id=place.ann.subaccount_id,
                    name=zone,
                    time_zone=zone,
                    now=NOW,
                )
            )
        span = (MONDAY + HOUR, MONDAY + 3 * HOUR)
        bookings.create_hold(session, made[0].id, span, expires_at=NOW + 500, now=NOW)
    return made[0], made[1]


@contextmanager
def _no_long_way() -> Iterator[None]:
    """Have the long way fail: what is answered now comes from memory."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the long way was asked")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.services.questions.free_busy", refuse)
        yield


@pytest.mark.rule("R23", "R24", "R25", "R30")
async def test_several_people_get_the_bytes_of_the_long_way(both: Place) -> None:
    ann = equip(both)
    chance = random.Random(4)
    for _ in range(40):
        start = MONDAY + chance.randrange(-20 * 48, 200 * 48) * HOUR // 2
        where = chance.choice(["home", "work", "platform"])
        ann.put(where, meeting(start, chance.choice([0.25, 1, 30]), chance.choice(KINDS)))
    held, free = _others(both)
    wanted = [free.id, both.bob.id, both.ann.id, "p_nobody", held.id]
    for age in (0, 450, 501, 901, DAY + 1):
        both.clock.now = NOW + age
        for window in WINDOWS:
            for caller, bound in (("admin", None), ("reader", both.ann.subaccount_id)):
                expected = _expected(both, wanted, window, bound)

                async def same(
                    caller: str = caller, window: Interval = window, expected: bytes = expected
                ) -> bool:
                    return await _post(both, caller, wanted, window) == expected

                if both.database.is_sqlite:
                    assert await same(), (age, window, caller)
                await soon(same)


@pytest.mark.rule("R23")
async def test_people_who_are_remembered_are_not_computed_again(both: Place) -> None:
    ann = equip(both)
    ann.put("home", meeting(MONDAY, 1, "RRULE:FREQ=DAILY"))
    held, free = _others(both)
    wanted = [both.ann.id, held.id, free.id]
    window = WINDOWS[0]

    async def known() -> bool:
        await _post(both, "admin", [*wanted, both.bob.id], window)
        return all(_cache(both).peek(one, window, NOW) for one in [*wanted, both.bob.id])

    await soon(known)
    with _no_long_way():
        found = await _post(both, "reader", [*wanted, both.bob.id], window)
    assert found == _expected(both, [*wanted, both.bob.id], window, both.ann.subaccount_id)
    assert both.bob.id in orjson.loads(found)["errors"]  # remembered, and still nobody's of hers

    ann.put("home", meeting(MONDAY + 5 * HOUR, 2))
    fresh = _expected(both, wanted, window, None)

    async def seen() -> bool:
        return await _post(both, "reader", wanted, window) == fresh

    if both.database.is_sqlite:
        assert await seen()
    await soon(seen)


async def test_a_long_answer_is_rendered_in_turns_from_memory(crowded: Place) -> None:
    """A year of 8,760 periods; what others have to wait for is a piece of it."""
    path = f"/v1/principals/{crowded.ann.id}/freebusy?{query_of(YEAR)}"
    window = (MONDAY, MONDAY + 365 * DAY)
    with _no_long_way():
        entry = await _cache(crowded).find(crowded.ann.id, window, now=NOW)
        assert entry is not None
        assert entry.answer(window, now=NOW) is None  # too much for one turn
        _, turns = await turns_of(entry.prepare(window))
        assert turns >= 365 * 24 // 200  # nothing is waited for after the last piece
        assert entry.answer(window, now=NOW) is not None
        status, found = await crowded.platform.get(path)
        assert (status, len(found["busy"])) == (200, 365 * 24)
        again = await crowded.platform.get(path)
        body = {"principals": [crowded.ann.id], **YEAR}
        several = await crowded.platform.post("/v1/freebusy", body)
    assert again == (200, found)
    assert several == (200, {"principals": {crowded.ann.id: found}, "errors": {}})
    with crowded.database.read() as session:
        slow = free_busy(session, crowded.ann, window, now=crowded.clock.now)
    assert found == orjson.loads(orjson.dumps(shaped(slow, crowded.ann.time_zone)))


@pytest.mark.parametrize("group_by", ["", "&group_by=day"])
async def test_whoever_has_too_much_is_not_remembered_and_told_the_bound(
    crowded: Place, group_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.services.questions.MAX_PERIODS", 5_000)
    monkeypatch.setattr("gateway.services.availability.MOST_ROWS", 5_000)
    path = f"/v1/principals/{crowded.ann.id}/freebusy"
    week: dict[str, Any] = {**YEAR, "end": "2026-11-09T00:00:00Z"}
    for _ in range(2):
        status, problem = await crowded.platform.get(f"{path}?{query_of(YEAR)}{group_by}")
        assert (status, problem["code"]) == (422, "answer-too-large")
        assert [error["pointer"] for error in problem["errors"]] == ["/end"]
        status, found = await crowded.platform.get(f"{path}?{query_of(week)}{group_by}")
        assert (status, len(found["busy"])) == (200, 7 * 24)


async def test_too_much_is_read_once_until_something_changes(
    crowded: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.services.availability.MOST_ROWS", 1_000)
    built = 0
    cache = _cache(crowded)
    real = cache._build

    async def counted(*args: Any) -> Any:
        nonlocal built
        built += 1
        return await real(*args)

    monkeypatch.setattr(cache, "_build", counted)
    path = f"/v1/principals/{crowded.ann.id}/freebusy?{query_of(YEAR)}"
    answers = [await crowded.platform.get(path) for _ in range(3)]
    assert [status for status, _ in answers] == [200] * 3
    assert built == 1
    with crowded.database.write() as session:
        bookings.create_hold(
            session, crowded.ann.id, (MONDAY, MONDAY + HOUR), expires_at=NOW + 500, now=NOW
        )
    status, found = await crowded.platform.get(path)
    assert (status, found["busy"][0]["end"]) == (200, "2026-11-02T02:30:00+01:00")
    assert built == 2
