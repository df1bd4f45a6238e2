"""What one booking by API costs the database: statements, transactions and locks."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.store import tables
from gateway.store.objects import collections
from tests.api.conftest import Place
from tests.api.test_bookings import MONDAY, span, wish, wish_hold
from tests.counting import Counted, counting


@pytest.fixture
async def warm(place: Place) -> Place:
    """Ann, whose appointments go to a linked calendar, and who has one already."""
    link(place)
    earlier = wish(place, MONDAY + 86_400)
    assert (await place.platform.post("/v1/appointments", earlier))[0] == 201
    return place


def link(place: Place) -> None:
    """Give Ann a connection and a linked calendar that was read a moment ago."""
    now = place.clock.now
    with place.database.write() as session:
        session.execute(
            tables.connections.insert().values(
                id="conn_x",
                principal_id=place.ann.id,
                state="ok",
                account_index=b"x",
                trust_for_s=86_400,
                created_at=now,
                next_sync_at=0,
            )
        )
        session.execute(
            tables.upstream_calendars.insert().values(
                id="cal_x",
                connection_id="conn_x",
                path="/1/calendars/work/",
                name="Work",
                kind="calendar",
                writable=True,
                role="linked",
                blocks=True,
                state="ok",
                synced_at=now,
            )
        )
        collections.create_collection(
            session,
            principal_id=place.ann.id,
            name="mirror-work",
            kind="mirror",
            display_name="Work",
            upstream_calendar_id="cal_x",
            now=now,
        )


async def counted(place: Place, method: str, path: str, json: Any = None) -> tuple[Counted, Any]:
    """Count what one call asks; the principal is locked exactly once, and all is one unit."""
    assert (await place.platform.get("/v1/holds/hold_none"))[0] == 404  # the key is known by now
    with counting(place.database) as found:
        status, answer = await place.platform.call(method, path, json)
    assert status in (200, 201, 204), answer
    found.statements = [one for one in found.statements if "sqlite_master" not in one]
    return found, answer


def at_most(found: Counted, statements: int) -> None:
    locks = found.of("FROM principals WHERE principals.id = ? AND principals.erased_at IS NULL")
    assert (len(found.statements) <= statements, found.transactions, locks) == (True, 1, 1), str(
        found
    )


async def test_an_appointment_that_consumes_a_hold(warm: Place) -> None:
    _, held = await warm.platform.post("/v1/holds", wish_hold(warm, MONDAY))
    body = wish(warm, MONDAY, hold=held["id"])
    found, made = await counted(warm, "POST", "/v1/appointments", body)
    assert (made["push"], made["verified_age_s"]) == ("pending", 0)
    at_most(found, 15)


async def test_a_hold(warm: Place) -> None:
    at_most((await counted(warm, "POST", "/v1/holds", wish_hold(warm, MONDAY)))[0], 8)


@pytest.mark.parametrize(
    ("changes", "most"),
    [(lambda: {"title": "Other"}, 17), (lambda: span(MONDAY + 7200), 22)],
)
async def test_a_change(warm: Place, changes: Callable[[], Any], most: int) -> None:
    _, made = await warm.platform.post("/v1/appointments", wish(warm, MONDAY))
    found, _ = await counted(warm, "PATCH", f"/v1/appointments/{made['id']}", changes())
    at_most(found, most)


async def test_a_cancelled_appointment(warm: Place) -> None:
    _, made = await warm.platform.post("/v1/appointments", wish(warm, MONDAY))
    at_most((await counted(warm, "DELETE", f"/v1/appointments/{made['id']}"))[0], 12)


async def test_blocked_slots(warm: Place) -> None:
    body = {**wish_hold(warm, MONDAY), "title": "x"}
    found, made = await counted(warm, "POST", "/v1/blocked-slots", body)
    at_most(found, 8)
    at_most((await counted(warm, "DELETE", f"/v1/blocked-slots/{made['id']}"))[0], 8)


async def test_an_appointment_of_more_than_a_week_keeps_its_end(warm: Place) -> None:
    times = span(MONDAY + 7 * 86_400, 10 * 24)
    body = {**wish(warm, MONDAY), **times}
    _, made = await warm.platform.post("/v1/appointments", body)
    assert {name: made[name] for name in times} == times
