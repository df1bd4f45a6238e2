"""The migration that takes polls out of the signals: times stand, and only new values are told."""

import time
from collections.abc import Callable

import pytest

from gateway.store.access.keys import create_key
from gateway.store.accounts import calendars
from gateway.store.engine import Database
from gateway.store.operations import checkup
from gateway.store.outbox import overview
from gateway.store.schema import migrate
from gateway.store.signals import ChangeSignals, PostgresqlSignals, open_signals
from tests.store.conftest import NOW, Place
from tests.store.test_migrations import downgrade

BEFORE = "0008"

CHANGES = (
    ("UPDATE upstream_calendars SET state = 'ok', synced_at = 500", False),
    ("UPDATE connections SET state = 'ok', verified_at = 900", False),
    ("UPDATE upstream_calendars SET synced_at = 501", True),
    ("UPDATE connections SET state = 'paused'", True),
)


@pytest.mark.rule("R23")
def test_a_signal_is_raised_by_a_new_value_alone(place: Place) -> None:
    database = place.database
    downgrade(database, BEFORE)
    _run(database, "UPDATE upstream_calendars SET state = 'ok', synced_at = 500")
    migrate(database)
    assert _synced_at(place) == 500
    live = open_signals(database)
    try:
        _until(live, lambda: live.version(place.principal.id) is not None)
        for change, is_told in CHANGES:
            before = live.version(place.principal.id)
            _run(database, change)
            _settle(database, live)
            assert (live.version(place.principal.id) != before) is is_told, change
    finally:
        live.close()
    assert _synced_at(place) == 900
    downgrade(database, BEFORE)
    with database.read() as session:
        query = "SELECT synced_at FROM upstream_calendars"
        assert session.exec_driver_sql(query).scalar() == 900


@pytest.mark.rule("R25")
def test_every_overview_counts_a_poll_that_found_nothing_new(place: Place) -> None:
    _run(place.database, "UPDATE upstream_calendars SET state = 'ok', synced_at = 500")
    _run(place.database, "UPDATE connections SET verified_at = 5000")
    with place.database.read() as session:
        assert overview.oldest_sync(session, overview.Scope()) == 5000
        assert checkup.troubled_calendars(session, now=5_100, fresh_for_s=900) == []
        assert checkup.troubled_calendars(session, now=6_000, fresh_for_s=900) == [
            ("source-stale", place.calendar_id, "last read 1000 s ago")
        ]


def _run(database: Database, statement: str) -> None:
    with database.write() as session:
        session.exec_driver_sql(statement)


def _synced_at(place: Place) -> int | None:
    with place.database.read() as session:
        return calendars.get_calendar(session, place.calendar_id).synced_at


def _settle(database: Database, live: ChangeSignals) -> None:
    """Wait until everything written so far has been heard of: notifications come in order."""
    live.refresh()
    if isinstance(live, PostgresqlSignals):
        heard = live.version("keys")
        with database.write() as session:
            create_key(session, name="s", scopes=frozenset(), subaccount_id=None, now=NOW)
        _until(live, lambda: live.version("keys") != heard)


def _until(live: ChangeSignals, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    live.refresh()
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)
        live.refresh()
