"""A listener that does not hear is known for deaf, though LISTEN and every query succeed (R23)."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy

from gateway.store.access import principals
from gateway.store.engine import Database
from gateway.store.signals import ChangeSignals, PostgresqlSignals, open_signals
from tests.store.conftest import Place, place
from tests.store.relay import relayed

__all__ = ["place"]

Passes = Callable[[bytes, bool], bool]
"""Whether a notification passes: its message, and whether the client waits for an answer."""

POOLERS: dict[str, Passes] = {
    "no notification passes": lambda _message, _waits: False,
    "those within a transaction pass": lambda _message, waits: waits,  # as PgBouncer does
}


@pytest.fixture
def database(postgresql_database: Database) -> Database:
    """Only PostgreSQL has listeners."""
    return postgresql_database


class _Line:
    """One client's connection through the pooler, which drops some notifications."""

    def __init__(self, near: socket.socket, far: socket.socket, passes: Passes) -> None:
        self.near, self.far, self.passes = near, far, passes
        self.waits = True  # the client asked, and the server has yet to say that it is ready
        for pump in (self._to_server, self._to_client):
            threading.Thread(target=self._guarded, args=(pump,), daemon=True).start()

    def _guarded(self, pump: Callable[[], None]) -> None:
        try:
            pump()
        except OSError:
            pass
        finally:
            for end in (self.near, self.far):
                end.close()

    def _to_server(self) -> None:
        while data := self.near.recv(65536):
            self.waits = True
            self.far.sendall(data)
        self.far.shutdown(socket.SHUT_RDWR)

    def _to_client(self) -> None:
        """Hand on message by message: a letter, the length with itself, the rest."""
        held = b""
        while data := self.far.recv(65536):
            held += data
            while len(held) >= 5 and len(held) > (size := int.from_bytes(held[1:5], "big")):
                message, held = held[: size + 1], held[size + 1 :]
                if message[:1] == b"Z":
                    self.waits = False
                if message[:1] != b"A" or self.passes(message, self.waits):
                    self.near.sendall(message)
        self.near.shutdown(socket.SHUT_RDWR)


@contextmanager
def pooled(url: sqlalchemy.URL, passes: Passes) -> Iterator[str]:
    """Yield the URL of a database as seen through a pooler."""
    with relayed(url, lambda near, far: _Line(near, far, passes)) as port:
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        here = url.set(host="127.0.0.1", port=port, query=plain)
        yield here.render_as_string(hide_password=False)


def _until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _rename(place: Place, zone: str) -> None:
    with place.database.write() as session:
        principals.update_principal(session, place.principal.id, {"time_zone": zone})


def _bump(place: Place) -> None:
    """Raise the generation alone: no trigger speaks of it."""
    with place.database.write() as session:
        session.exec_driver_sql("UPDATE generations SET generation = generation + 1")


def _opened(url: str, listen_url: str = "") -> PostgresqlSignals:
    live: ChangeSignals = open_signals(Database(url), listen_url=listen_url)
    assert isinstance(live, PostgresqlSignals)
    return live


@pytest.mark.rule("R23")
@pytest.mark.parametrize("passes", POOLERS.values(), ids=POOLERS)
def test_nothing_is_trusted_through_a_pooler_that_loses_notifications(
    place: Place, passes: Passes
) -> None:
    with pooled(place.database.url, passes) as url:
        live = _opened(url)
        while live._epoch < 2:  # it has listened, was found deaf and listens again
            assert live.version(place.principal.id) is None
            assert live.keys == {}
            time.sleep(0.005)
        live.close()


@pytest.mark.rule("R23")
def test_a_listener_past_the_pooler_hears(place: Place) -> None:
    direct = place.database.url.render_as_string(hide_password=False)
    with pooled(place.database.url, lambda _message, _waits: False) as url:
        live = _opened(url, direct)
        _until(lambda: live.version(place.principal.id) is not None)
        before = live.version(place.principal.id)
        _rename(place, "Asia/Tokyo")
        _until(lambda: live.version(place.principal.id) != before)
        assert live.version(place.principal.id) is not None
        live.close()


@pytest.mark.rule("R23")
def test_generations_that_move_on_unheard_make_every_version_void(place: Place) -> None:
    """Tests arrive, and what they are sent to vouch for does not."""
    with pooled(place.database.url, lambda message, _waits: b"\0test " in message) as url:
        live = _opened(url)
        _until(lambda: live.version(place.principal.id) is not None)
        before = live.version(place.principal.id)
        _rename(place, "Asia/Tokyo")  # lost, and no generation says so
        _bump(place)
        _until(lambda: live.version(place.principal.id) != before)
        live.close()
