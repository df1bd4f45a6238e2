"""One row that cannot be read is its own problem: every list of many goes on without it."""

from typing import Any

import pytest
from sqlalchemy import update

from gateway.store.accounts import accounts
from gateway.store.booking_tables import schedules
from gateway.store.objects import collections
from gateway.store.tables import collections as collection_rows
from gateway.store.tables import connections
from tests.api.conftest import Place
from tests.api.test_freebusy import WEEK, equip
from tests.api.test_schedules import OFFICE, make

DAMAGED = ["", "{", "null", "[]", "{}", "7", "[1, 2]", '{"a": 1}', '"text"']
RULES = [*DAMAGED, '{"weekdays": 3, "overrides": {}}']


def _spoil(place: Place, table: Any, column: str, value: str, row: str) -> None:
    with place.database.write() as session:
        session.execute(update(table).where(table.c.id == row).values({column: value}))


async def _listed(place: Place, limit: int) -> list[str]:
    """Follow the pages to the end."""
    names: list[str] = []
    more: dict[str, Any] = {}
    while True:
        status, page = await place.platform.get("/v1/schedules", limit=limit, **more)
        assert status == 200, page
        names += [one["name"] for one in page["schedules"]]
        if page["next"] is None:
            return sorted(names)  # those of one second come in the order of their ids
        more = {"cursor": page["next"]}


async def test_a_damaged_schedule_stops_no_list_of_them(both: Place) -> None:
    ids = [await make(both, name=name) for name in "abcdefg"]
    for number in (0, 2, 3, 6):
        _spoil(both, schedules, "rules", RULES[number], ids[number])
    for limit in (1, 2, 3, 100):
        assert await _listed(both, limit) == ["b", "e", "f"]
    for value in RULES:
        _spoil(both, schedules, "rules", value, ids[0])
        status, problem = await both.platform.get(f"/v1/schedules/{ids[0]}")
        assert (status, problem["code"]) == (500, "schedule-unreadable"), value
        assert ids[0] in problem["detail"]
    _spoil(both, schedules, "time_zone", "Nowhere/Land", ids[1])
    assert await _listed(both, 2) == ["e", "f"]


async def test_a_damaged_schedule_can_be_replaced_and_deleted(both: Place) -> None:
    first, second = [await make(both, name=name) for name in "ab"]
    for row in (first, second):
        _spoil(both, schedules, "rules", "{", row)
    body = {
        "name": "new",
        "principal": both.ann.id,
        "duration_minutes": 15,
        "working_hours": OFFICE,
    }
    assert (await both.stranger.call("PUT", f"/v1/schedules/{first}", body))[0] == 404
    assert (await both.stranger.call("DELETE", f"/v1/schedules/{second}"))[0] == 404
    assert (await both.platform.call("PUT", f"/v1/schedules/{first}", body))[0] == 200
    assert (await both.platform.call("DELETE", f"/v1/schedules/{second}"))[0] == 204
    assert await _listed(both, 10) == ["new"]


@pytest.mark.parametrize("value", DAMAGED)
async def test_damaged_addresses_and_properties_stop_nothing(both: Place, value: str) -> None:
    person = equip(both)
    with both.database.read() as session:
        own = collections.list_collections(session, both.ann.id)
    _spoil(both, connections, "addresses", value, person.connection.id)
    _spoil(both, collection_rows, "properties", value, own[-1].id)
    base = f"/v1/principals/{both.ann.id}"
    for path in ("connection", "calendars", "status", "calendar-roles"):
        status, found = await both.platform.get(f"{base}/{path}")
        assert status in (200, 405), (path, found)  # roles are written only
    for path in ("/v1/principals", "/v1/status", "/v1/conflicts", "/v1/appointments"):
        status, found = await both.platform.get(path)
        assert status == 200, (path, found)
    body = {
        "timeMin": WEEK["start"],
        "timeMax": WEEK["end"],
        "items": [{"id": "somebody@icloud.example"}, {"id": both.ann.id}],
    }
    status, found = await both.platform.post("/v1/compat/google/freeBusy", body)
    assert status == 200
    assert "errors" not in found["calendars"][both.ann.id]
    with both.database.read() as session:
        assert [one.id for one in accounts.list_connections(session)] == [person.connection.id]
        assert len(collections.list_collections(session, both.ann.id)) == len(own)
