"""The outbox keeps order per resource, survives doubt, and folds edits that were never sent."""

import pytest

from gateway.store.accounts import accounts
from gateway.store.objects import objects
from gateway.store.outbox import outbox
from gateway.store.outbox.outbox import LedgerRow
from tests.store.conftest import NOW, Place, prepared


def _ledger(place: Place, name: str) -> LedgerRow:
    with place.database.write() as session:
        stored = objects.save_object(
            session, place.platform, prepared(name, (NOW, NOW + 60), kind="appointment"), now=NOW
        )
        return outbox.create_ledger_row(
            session,
            principal_id=place.principal.id,
            object_id=stored.id,
            account_index=b"i",
            upstream_calendar_id=place.calendar_id,
            upstream_path="/111/calendars/home/",
            upstream_uid=f"uid-{name}",
            now=NOW,
        )


def _enqueue(place: Place, ledger: LedgerRow, action: outbox.Action) -> None:
    with place.database.write() as session:
        outbox.enqueue(
            session, ledger_id=ledger.id, connection_id=place.connection.id, action=action, now=NOW
        )


def _due(place: Place, now: float = NOW) -> list[outbox.OutboxMessage]:
    with place.database.read() as session:
        return outbox.due_messages(session, place.connection.id, now=now)


def _busy_connections(place: Place, now: float = NOW) -> list[str]:
    with place.database.read() as session:
        return outbox.connections_with_messages(session, now=now)


@pytest.mark.rule("R16")
def test_two_edits_before_a_push_make_one_message(place: Place) -> None:
    ledger = _ledger(place, "a.ics")
    _enqueue(place, ledger, "put")
    _enqueue(place, ledger, "put")
    assert [e.action for e in _due(place)] == ["put"]


@pytest.mark.rule("R16")
def test_the_number_of_a_replaced_message_never_comes_again(place: Place) -> None:
    ledger = _ledger(place, "a.ics")
    _enqueue(place, ledger, "put")
    (replaced,) = _due(place)
    _enqueue(place, ledger, "put")
    assert _due(place)[0].id > replaced.id
    with place.database.write() as session:
        assert not outbox.mark_in_doubt(session, replaced.id)
        assert outbox.mark_in_doubt(session, _due(place)[0].id)


@pytest.mark.rule("R16")
def test_an_message_in_doubt_is_never_folded_away(place: Place) -> None:
    ledger = _ledger(place, "a.ics")
    _enqueue(place, ledger, "put")
    (first,) = _due(place)
    with place.database.write() as session:
        outbox.mark_in_doubt(session, first.id)
    _enqueue(place, ledger, "delete")
    (still_first,) = _due(place)
    assert (still_first.id, still_first.in_doubt, still_first.attempts) == (first.id, True, 1)
    with place.database.write() as session:
        outbox.finish(session, first.id)
    assert [e.action for e in _due(place)] == ["delete"]


@pytest.mark.rule("R16")
def test_order_is_kept_per_resource_and_others_pass(place: Place) -> None:
    stuck, free = _ledger(place, "a.ics"), _ledger(place, "b.ics")
    _enqueue(place, stuck, "put")
    (first,) = _due(place)
    with place.database.write() as session:
        outbox.mark_in_doubt(session, first.id)
        outbox.postpone(session, first, due_at=NOW + 100, reason="throttled", detail="")
    _enqueue(place, stuck, "delete")
    assert _busy_connections(place) == []
    _enqueue(place, free, "put")
    assert _busy_connections(place) == [place.connection.id]
    assert [e.ledger_id for e in _due(place)] == [free.id]
    assert [e.ledger_id for e in _due(place, NOW + 100)] == [stuck.id, free.id]


@pytest.mark.rule("R16")
def test_a_parked_message_waits_for_a_person(place: Place) -> None:
    ledger = _ledger(place, "a.ics")
    _enqueue(place, ledger, "put")
    (message,) = _due(place)
    with place.database.write() as session:
        outbox.park(session, message.id, reason="guests-added-upstream", detail="…")
    assert _due(place, NOW + 1e9) == []
    _enqueue(place, ledger, "delete")
    assert _busy_connections(place, NOW + 1e9) == []
    with place.database.read() as session:
        (listed, row), _ = outbox.list_messages(session, place.principal.id)
    assert (listed.state, listed.reason, row.id) == ("parked", "guests-added-upstream", ledger.id)
    with place.database.write() as session:
        outbox.unpark(session, message.id, now=NOW)
    assert [e.id for e in _due(place)] == [message.id]


@pytest.mark.rule("R16")
def test_every_attempt_counts_whether_anything_was_sent_or_not(place: Place) -> None:
    ledger = _ledger(place, "a.ics")
    _enqueue(place, ledger, "delete")
    for attempts in (1, 2):
        (message,) = _due(place)
        with place.database.write() as session:
            outbox.postpone(session, message, due_at=NOW, reason="throttled", detail="")
        assert _due(place)[0].attempts == attempts
    (message,) = _due(place)
    with place.database.write() as session:
        outbox.mark_in_doubt(session, message.id)
        outbox.postpone(session, message, due_at=NOW, reason="throttled", detail="")
    assert _due(place)[0].attempts == 3


@pytest.mark.rule("R16")
def test_nothing_is_sent_while_the_account_backs_off(place: Place) -> None:
    _enqueue(place, _ledger(place, "a.ics"), "put")
    with place.database.write() as session:
        accounts.update_connection(
            session, place.connection.id, failures=1, next_sync_at=float(NOW + 30)
        )
    assert _busy_connections(place, NOW + 29) == []
    assert _busy_connections(place, NOW + 30) == [place.connection.id]


@pytest.mark.rule("R3", "R13")
def test_the_ledger_outlives_its_object(place: Place) -> None:
    ledger = _ledger(place, "a.ics")
    with place.database.write() as session:
        objects.delete_objects(session, place.platform, ["a.ics"], now=NOW)
        (row,) = outbox.list_ledger(session, place.principal.id)
    assert (row.upstream_uid, row.upstream_name) == ("uid-a.ics", "uid-a.ics.ics")
    assert (row.id, row.upstream_calendar_id) == (ledger.id, place.calendar_id)
