"""An answered booking survives a power cut: the unit that wrote it waited for the disk."""

from typing import Any

import pytest
from sqlalchemy import Connection, event

from tests.api.conftest import Place
from tests.api.test_bookings import wish
from tests.services.people import MONDAY

FULL = 2


@pytest.mark.rule("R27", "R29")
async def test_a_booking_is_on_the_disk_before_it_is_answered(place: Place) -> None:
    engine = place.database.engine
    written: list[tuple[str, int]] = []

    def note(connection: Connection, _cursor: Any, statement: str, *_rest: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            cursor = connection.connection.cursor()
            synchronous = cursor.execute("PRAGMA synchronous").fetchone()[0]
            written.append((" ".join(statement.split()[:3]), synchronous))

    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = await place.platform.post(
            "/v1/appointments", wish(place, MONDAY), headers={"Idempotency-Key": "k"}
        )
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert answer[0] == 201
    told = dict(written)
    assert told["INSERT INTO appointments"] == FULL
    assert told["INSERT INTO objects"] == FULL
    assert told["UPDATE idempotency SET"] == FULL  # the answer that is remembered with it
