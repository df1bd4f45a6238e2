"""Change signals: all that an answer depends on changes the version, in every process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import sqlalchemy

from gateway.store.access import principals
from gateway.store.access.keys import create_key, delete_key
from gateway.store.accounts import accounts, calendars
from gateway.store.booking import bookings
from gateway.store.engine import Database, Session, lock_principal
from gateway.store.objects import collections, objects
from gateway.store.operations import erasing
from gateway.store.signals import ChangeSignals, PostgresqlSignals, StateVersion, open_signals
from tests.store.conftest import NOW, Place, prepared
from tests.store.relay import relayed


@pytest.fixture
def signals(place: Place) -> Iterator[ChangeSignals]:
    """Look-ups of another process than the one that writes: a connection of its own."""
    other = Database(place.database.url.render_as_string(hide_password=False))
    opened = open_signals(other)
    _until(opened, lambda: opened.version(place.principal.id) is not None)
    yield opened
    opened.close()
    other.close()


def _until(signals: ChangeSignals, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not _refreshed(signals, check):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _refreshed(signals: ChangeSignals, check: Callable[[], bool]) -> bool:
    signals.refresh()
    return check()


Change = Callable[[Session, Place], object]

CHANGES: dict[str, Change] = {
    "an object": lambda s, p: objects.save_object(
        s, p.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW
    ),
    "a sync": lambda s, p: calendars.update_calendar(s, p.calendar_id, synced_at=NOW),
    "a role": lambda s, p: calendars.update_calendar(s, p.calendar_id, role="none"),
    "a failure": lambda s, p: calendars.update_calendar(s, p.calendar_id, state="failed"),
    "a state": lambda s, p: accounts.update_connection(
        s, p.connection.id, state="credential-revoked"
    ),
    "a hold": lambda s, p: bookings.create_hold(
        s, p.principal.id, (NOW, NOW + 60), expires_at=NOW + 300, now=NOW
    ),
    "a local calendar": lambda s, p: collections.create_collection(
        s, principal_id=p.principal.id, name="x", kind="local", display_name="x", now=NOW
    ),
    "a mirror dropped": lambda s, p: erasing.retire_collections(s, [p.mirror.id]),
    "a time zone": lambda s, p: principals.update_principal(
        s, p.principal.id, {"time_zone": "Asia/Tokyo"}
    ),
}


@pytest.mark.rule("R23")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_an_answer_depends_on_is_seen(
    place: Place, signals: ChangeSignals, change: Change
) -> None:
    before = signals.version(place.principal.id)
    with place.database.write() as session:
        change(session, place)
    _until(signals, lambda: signals.version(place.principal.id) != before)


def test_what_is_rolled_back_or_of_others_changes_nothing(
    place: Place, signals: ChangeSignals
) -> None:
    before = signals.version(place.principal.id)
    with place.database.write() as session:
        other = principals.create_principal(
            session,
            subaccount_id=place.principal.subaccount_id,
            name="Other",
            time_zone="UTC",
            now=NOW,
        )
    with pytest.raises(ZeroDivisionError), place.database.write() as session:
        CHANGES["an object"](session, place)
        raise ZeroDivisionError
    with place.database.write() as session:
        principals.update_principal(session, other.id, {"time_zone": "Asia/Tokyo"})
    _settle(place, signals)
    assert signals.version(place.principal.id) == before


def _settle(place: Place, signals: ChangeSignals) -> None:
    """Wait until everything written so far has been heard of: keys are told in order."""
    if isinstance(signals, PostgresqlSignals):
        heard: StateVersion | None = signals.version("keys")
        with place.database.write() as session:
            create_key(session, name="s", scopes=frozenset(), subaccount_id=None, now=NOW)
        _until(signals, lambda: signals.version("keys") != heard)


def test_a_revoked_key_is_not_found_any_more(place: Place, signals: ChangeSignals) -> None:
    before = signals.version("keys")
    with place.database.write() as session:
        key, secret = create_key(
            session, name="k", scopes=frozenset({"platform"}), subaccount_id=None, now=NOW
        )
    if isinstance(signals, PostgresqlSignals):
        _until(signals, lambda: signals.version("keys") != before)
    signals.refresh()
    known = signals.keys
    assert known == {}
    known["Bearer s"] = key
    signals.refresh()
    assert signals.keys == {"Bearer s": key}
    read_without_asking = None if isinstance(signals, PostgresqlSignals) else key
    assert signals.read_key(secret) == read_without_asking
    assert signals.read_key("gw_unknown") is None
    with place.database.write() as session:
        delete_key(session, key.id)
    _until(signals, lambda: signals.keys == {})
    assert signals.read_key(secret) is None
    known["Bearer late"] = key  # read before the change, remembered after it
    assert signals.keys == {}


def test_a_principal_that_does_not_exist_has_no_version(sqlite_database: Database) -> None:
    signals = open_signals(sqlite_database)
    assert signals.version("nobody") is None
    signals.close()


def test_a_lost_connection_makes_every_version_void(postgresql_database: Database) -> None:
    signals = open_signals(postgresql_database)
    _until(signals, lambda: signals.version("p_x") is not None)
    before = signals.version("p_x")
    with postgresql_database.write() as session:
        session.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    _until(signals, lambda: signals.version("p_x") not in (None, before))
    signals.close()


@contextmanager
def _through_a_wire(url: sqlalchemy.URL) -> Iterator[tuple[str, threading.Event]]:
    """Yield the URL of a database as seen through a wire, and the event that lets bytes pass."""
    passing = threading.Event()
    passing.set()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with source, sink:
            try:
                while data := source.recv(65536):
                    passing.wait()
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def join(near: socket.socket, far: socket.socket) -> None:
        for pair in ((near, far), (far, near)):
            threading.Thread(target=pump, args=pair, daemon=True).start()

    with relayed(url, join) as port:
        here = url.set(host="127.0.0.1", port=port, query={})
        yield here.render_as_string(hide_password=False), passing
        passing.set()


@pytest.mark.rule("R23")
def test_a_wire_that_went_dead_makes_every_version_void(postgresql_database: Database) -> None:
    with _through_a_wire(postgresql_database.url) as (url, passing):
        signals = open_signals(Database(url))
        _until(signals, lambda: signals.version("p_x") is not None)
        passing.clear()  # no reset, no end: nothing comes any more, as behind a firewall
        _until(signals, lambda: signals.version("p_x") is None)
        assert signals.keys == {}
        passing.set()
        _until(signals, lambda: signals.version("p_x") is not None)
        signals.close()


@pytest.mark.rule("R27")
@pytest.mark.parametrize("is_done", [True, False], ids=["committed", "rolled back"])
def test_a_process_knows_its_own_commits_before_it_answers(place: Place, is_done: bool) -> None:
    """On PostgreSQL the notification comes later; a slot just booked was offered until then."""
    signals = open_signals(place.database)
    try:
        _until(signals, lambda: signals.version(place.principal.id) is not None)
        if isinstance(signals, PostgresqlSignals):
            signals._hear = lambda _payload: None  # type: ignore[method-assign]  # late for ever
        before = signals.version(place.principal.id)
        with suppress(ZeroDivisionError), place.database.write() as session:
            lock_principal(session, place.principal.id)
            span = (NOW, NOW + 60)
            bookings.create_hold(session, place.principal.id, span, expires_at=NOW + 300, now=NOW)
            if not is_done:
                raise ZeroDivisionError
        signals.refresh()
        assert (signals.version(place.principal.id) != before) == is_done
    finally:
        signals.close()
