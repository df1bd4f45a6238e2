"""What has had its time is erased, and nothing else."""

import pytest

from gateway.store.access import idempotency, keys
from gateway.store.booking import bookings
from gateway.store.booking_tables import holds
from gateway.store.booking_tables import horizons as wanted
from gateway.store.booking_tables import idempotency as answers
from gateway.store.objects import horizons
from gateway.store.operations.retention import sweep
from tests.api.conftest import NOW, Place
from tests.services.people import DAY, HOUR, MONDAY


@pytest.mark.rule("R29", "R30")
async def test_expired_holds_answers_and_horizons_go(both: Place) -> None:
    with both.database.write() as session:
        key = keys.find_key(session, both.secrets["platform"])
        assert key is not None
        for number, age in enumerate((DAY + 1, DAY, DAY - 1, 0)):
            name, at = f"k{number}", NOW - age
            idempotency.reserve(session, key_id=key.id, key=name, request_hash=b"x", now=at)
        for expires_at in (NOW - 1, NOW, NOW + 1):
            span = (MONDAY, MONDAY + HOUR)
            bookings.create_hold(session, both.ann.id, span, expires_at=expires_at, now=NOW)
        for person, asked_at in ((both.ann, NOW - horizons.KEPT_S), (both.bob, NOW - DAY)):
            far = (MONDAY, MONDAY + 900 * DAY)
            horizons.ask_horizon(session, [person.id], far, now=asked_at)
        assert sweep(session, now=NOW) == (2, 2, 1)
        assert sweep(session, now=NOW) == (0, 0, 0)
    with both.database.read() as session:
        kept = [row.key for row in session.execute(answers.select().order_by(answers.c.key))]
        left = [row.expires_at for row in session.execute(holds.select())]
        asked = [row.principal_id for row in session.execute(wanted.select())]
    assert asked == [both.bob.id]
    assert (kept, left) == (["k2", "k3"], [NOW + 1])
