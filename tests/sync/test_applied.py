"""Every decision of the table, applied to what is stored: nothing less, nothing else (R16, R17)."""

from typing import Any

import pytest
from sqlalchemy import select

from gateway.core.recurrence.expand import BusyRules, default_window, expand
from gateway.expansion.prepare import RawObject
from gateway.services.outbox import own_objects
from gateway.store import tables
from gateway.store.accounts import calendars
from gateway.store.booking import bookings
from gateway.store.engine import Session
from gateway.store.objects import collections, objects
from gateway.store.objects.objects import PreparedObject
from gateway.store.outbox import outbox
from tests.core.test_reconcile import BERLIN, CELLS, HERE, body, there_body, written
from tests.sync.conftest import Site

NEW_ETAG = '"found"'


class Undone(Exception):
    """Ends a unit of work whose changes are not wanted."""


@pytest.fixture
async def pushed(site: Site) -> Site:
    """A site with one appointment in iCloud."""
    site.book()
    await site.sync()
    return site


@pytest.mark.rule("R16", "R17")
@pytest.mark.parametrize("moved", [False, True], ids=["in place", "moved"])
@pytest.mark.parametrize("here", HERE)
async def test_what_is_decided_is_what_is_stored(pushed: Site, here: str, moved: bool) -> None:
    """A moved one is told from one in place by where the ledger looks for it, in every cell."""
    for cell in CELLS:
        is_moved = cell[1] != "deleted" and cell[2] in ("nothing", "put")
        if cell[0] == here and (is_moved or not moved):
            with pytest.raises(Undone), pushed.database.write() as session:
                try_cell(session, pushed, *cell, moved=moved)
                raise Undone


def try_cell(
    session: Session, site: Site, here: str, there: str, waiting: str, cell: str, *, moved: bool
) -> None:
    now = site.context.now()
    (row,) = outbox.list_ledger(session, site.principal_id)
    arrange(session, site, row.id, here, waiting, now)
    before = own_objects.load_own(session, row.id, now)
    kind, _, guests = there.partition(" + ")
    if kind == "deleted":
        decision = before.decide(None, now=now)
        own_objects.apply_deletion(session, before.row, now=now)
        place = before.row.upstream_path
    else:
        raw = RawObject("new.ics", NEW_ETAG, there_body(here, kind, guests=bool(guests)))
        decision = before.decide(raw, now=now)
        calendar = site.calendar("work" if moved else "home")
        place = calendar.path
        known = calendars.get_calendar(session, calendar.id)
        assert own_objects.apply_version(
            session, before, site.connection_id, known, raw, decision, now=now
        )
    assert written(decision) == cell
    check(session, site, before, decision, waiting, place, is_gone=kind == "deleted")


def arrange(
    session: Session, site: Site, ledger_id: str, here: str, waiting: str, now: int
) -> None:
    """Have the appointment be what the table says it is here, in what was seen, and waiting."""
    outbox.drop_messages(session, ledger_id)
    row = outbox.get_ledger_row(session, ledger_id)
    local = objects.find_object_by_id(session, row.object_id or "")
    assert local is not None
    collection = collections.lock_collection(session, local.collection_id)
    changes = HERE[here]
    mine = body(**(changes or {}))  # type: ignore[arg-type]
    prepared = PreparedObject(
        name=local.name,
        uid="a",
        kind=local.kind,
        component="VEVENT",
        etag=f"{here}",
        body=mine,
        expansion=expand(mine, default_window(now), BusyRules(BERLIN)),
    )
    objects.save_object(session, collection, prepared, now=now)
    if changes is None:
        appointment = bookings.find_appointment_by_object(session, local.id)
        assert appointment is not None
        bookings.update_appointment(session, appointment.id, now=now, object_id=None)
        outbox.update_ledger(session, ledger_id, now=now, object_id=None)
        objects.delete_objects(session, collection, [local.name], now=now)
    outbox.update_ledger(
        session,
        ledger_id,
        now=now,
        base_body=body(),
        upstream_etag='"seen"',
        sent_body=mine if waiting == "put in doubt" else None,
        state="pending" if waiting != "nothing" else "pushed",
    )
    if waiting != "nothing":
        action = "delete" if waiting == "delete" else "put"
        outbox.enqueue(
            session, ledger_id=ledger_id, connection_id=site.connection_id, action=action, now=now
        )


def check(
    session: Session,
    site: Site,
    before: own_objects.OwnObject,
    decision: Any,
    waiting: str,
    place: str,
    *,
    is_gone: bool,
) -> None:
    after = own_objects.load_own(session, before.row.id, site.context.now())
    found = session.execute(
        select(tables.conflicts.c.kind, tables.conflicts.c.dropped, tables.conflicts.c.dropped_body)
    )
    lost = {(kind, side, bytes(dropped)) for kind, side, dropped in found}
    assert lost == {(one.kind, one.side, one.body) for one in decision.conflicts}
    assert after.row.upstream_path == place
    if not is_gone:
        assert (after.row.upstream_etag, after.row.upstream_name) == (NEW_ETAG, "new.ics")
        assert after.row.sent_body is None
    if decision.cancel:
        assert (after.row.state, after.row.object_id, after.local) == ("deleted", None, None)
        assert not after.waiting
        return
    waits = waiting != "nothing"
    assert after.waiting == (waits or decision.send)
    expected = "parked" if decision.park else "pending" if waits else "pushed"
    assert (after.row.state, after.row.reason) == (expected, decision.park)
    if before.local is not None:
        assert after.local is not None
        assert after.local.body == (decision.body or before.local.body)
