"""Large answers: refused before they are computed, else the same bytes, rendered in turns."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api.freebusy.handlers import free_busy_pieces
from gateway.api.http.pieces import PIECE, join_pieces
from gateway.core.availability.merge import combine
from gateway.core.availability.policy import Policy
from gateway.core.availability.sources import SourceState
from gateway.core.availability.timeline import FreeBusy
from gateway.services.questions import MAX_PERIODS
from gateway.store.access import principals
from tests.api.conftest import Place
from tests.api.doors import Line, ask, request, served
from tests.api.shaped import shaped
from tests.api.test_freebusy import equip
from tests.services.people import event

T = TypeVar("T")
DAY = 86_400
YEAR = {"start": "2026-11-02T00:00:00Z", "end": "2027-11-02T00:00:00Z"}
HOURLY = [
    event(f":20261101T0{hour}0000Z", f":20261101T0{hour}3000Z", "RRULE:FREQ=HOURLY;INTERVAL=3")
    for hour in range(3)
]


@pytest.fixture
def crowded(place: Place) -> Place:
    """Ann is busy every hour of the year."""
    person = equip(place)
    for body in HOURLY:  # one object has 5,000 instances at most
        person.put("home", body)
    return place


def sent(place: Place, body: dict[str, Any], **headers: str) -> bytes:
    key = f"Bearer {place.secrets['platform']}"
    return request(
        "POST",
        "/v1/freebusy",
        orjson.dumps(body),
        Authorization=key,
        Content_Type="application/json",
        **headers,
    )


def query_of(window: dict[str, Any]) -> str:
    """Return start and end of a window as a query string."""
    return "&".join(f"{name}={value}" for name, value in window.items())


async def turns_of(work: Coroutine[Any, Any, T]) -> tuple[T, int]:
    """Do the work; returns its result, and how many turns of the event loop it left to others."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    result = await work
    counting.cancel()
    return result, turns


SPANS = st.lists(
    st.tuples(
        st.integers(0, 20 * DAY),
        st.one_of(st.integers(60, 1_800), st.integers(60, 3 * DAY)),
        st.sampled_from(["busy", "tentative", "unavailable", "unknown"]),
    ),
    max_size=600,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spans=SPANS,
    start=st.integers(1_761_000_000, 1_800_000_000),
    length=st.integers(1, 40 * DAY),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu"]),
    by_day=st.booleans(),
)
def test_pieces_are_the_bytes_of_the_whole(
    spans: list[tuple[int, int, Any]], start: int, length: int, zone: str, by_day: bool
) -> None:
    busy = combine([[(start + at, start + at + long, status) for at, long, status in spans]])
    found = FreeBusy(
        start=start,
        end=start + length,
        revision=7,
        complete=False,
        policy=Policy(on_tentative="free"),
        busy=tuple(busy),
        sources=(SourceState("c1", "linked", "fresh", start, 3, None),),
    )
    expected = orjson.dumps(shaped(found, zone, by_day=by_day))
    assert (
        asyncio.run(join_pieces(free_busy_pieces(found, ZoneInfo(zone), by_day=by_day))) == expected
    )


@pytest.mark.parametrize("group_by", [None, "day"])
async def test_a_large_answer_is_streamed_and_everybody_has_a_turn(
    crowded: Place, group_by: str | None
) -> None:
    body = {"principals": [crowded.ann.id, "p_nobody"], **YEAR, "group_by": group_by}
    async with served(crowded) as port:
        answer, turns = await turns_of(ask(port, sent(crowded, body)))
        whole = await ask(port, sent(crowded, body, Idempotency_Key="one"))
        again = await ask(port, sent(crowded, body, Idempotency_Key="one"))
    assert (answer.status, answer.headers["transfer-encoding"]) == (200, "chunked")
    assert "x-request-id" in answer.headers
    assert "ratelimit" in answer.headers
    found = answer.problem
    ann = found["principals"][crowded.ann.id]
    assert len(ann["busy"]) == 365 * 24
    assert sum(len(day["busy"]) for day in ann.get("days", ())) == (365 * 24 if group_by else 0)
    assert found["errors"]["p_nobody"]["pointer"] == "/principals/1"
    assert turns > len(ann["busy"]) / PIECE
    assert (whole.body, again.body) == (answer.body, answer.body)
    assert "content-length" in whole.headers
    path = f"/v1/principals/{crowded.ann.id}/freebusy?{query_of(YEAR)}" + (
        f"&group_by={group_by}" if group_by else ""
    )
    status, alone = await crowded.platform.get(path)
    assert (status, alone) == (200, ann)


async def test_a_client_that_reads_slowly_holds_nobody_up(crowded: Place) -> None:
    body = {"principals": [crowded.ann.id], **YEAR, "group_by": "day"}
    async with served(crowded) as port:
        line = await Line.open(port)
        line.writer.transport.pause_reading()
        line.writer.write(sent(crowded, body))
        for _ in range(20):
            assert (await ask(port, request("GET", "/healthz"))).status == 200
        line.writer.transport.resume_reading()
        assert len((await line.answer()).problem["principals"][crowded.ann.id]["days"]) == 366
        line.close()


async def test_more_than_can_be_answered_is_refused_with_the_bound(crowded: Place) -> None:
    """200 people over a year by day are 73,000 days; what is left is less than three are busy."""
    with crowded.database.write() as session:
        people = [
            principals.create_principal(
                session,
                subaccount_id=crowded.ann.subaccount_id,
                name=f"Person {n}",
                time_zone="UTC",
                now=crowded.clock.now,
            ).id
            for n in range(199)
        ]
    everybody = [crowded.ann.id, *people]
    async with served(crowded) as port:
        fits = await ask(port, sent(crowded, {"principals": everybody, **YEAR}))
        days = await ask(port, sent(crowded, {"principals": people, **YEAR, "group_by": "day"}))
        body = {"principals": everybody, **YEAR, "group_by": "day"}
        # the hourly event of each of some others, as rows alone
        with crowded.database.write() as session:
            for person in people[:2]:
                session.exec_driver_sql(
                    "INSERT INTO instances (principal_id, collection_id, object_id, start, "
                    '"end", fbtype, busy_start, busy_end, reason) '
                    'SELECT ?, collection_id, object_id, start, "end", fbtype, busy_start, '
                    "busy_end, reason FROM instances WHERE principal_id = ?",
                    (person, crowded.ann.id),
                )
        refused = await ask(port, sent(crowded, body))
    assert (fits.status, days.status, refused.status) == (200, 200, 422)
    problem = refused.problem
    assert (problem["code"], [e["pointer"] for e in problem["errors"]]) == (
        "answer-too-large",
        ["/principals"],
    )
    assert f"{MAX_PERIODS:,}" in problem["detail"]


@pytest.mark.parametrize("path", ["freeBusy", "calendar/v3/freeBusy"])
async def test_the_google_shape_is_bounded_and_yields_too(
    crowded: Place, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {
        "timeMin": YEAR["start"],
        "timeMax": YEAR["end"],
        "items": [{"id": crowded.ann.id}, {"id": "nobody"}],
    }
    status, found = await crowded.platform.post(f"/v1/compat/google/{path}", body)
    assert (status, len(found["calendars"][crowded.ann.id]["busy"])) == (200, 365 * 24)
    assert found["calendars"]["nobody"]["busy"] == []
    monkeypatch.setattr("gateway.services.questions.MAX_PERIODS", 5_000)
    status, problem = await crowded.platform.post(f"/v1/compat/google/{path}", body)
    assert (status, problem["code"]) == (400, "answer-too-large")
