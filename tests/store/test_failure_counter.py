"""Failed logins count in memory at once, and in the database as soon as it can be written."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select

from gateway.store import tables
from gateway.store.access.failure_counter import MOST_KEYS, FailureCounter
from gateway.store.access.login_failures import PER_ADDRESS, PER_NAME, WINDOW_S
from gateway.store.engine import Database

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
NOW = 1_800_000_000


class Clock:
    now = NOW

    def __call__(self) -> float:
        return float(self.now)


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Hold the write lock as another process does: with a connection of its own."""
    other = Database(database.url.render_as_string(hide_password=False))
    try:
        with other.write() as session:
            if other.is_sqlite:
                session.execute(tables.login_failures.delete())
            else:
                session.exec_driver_sql("LOCK TABLE login_failures IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        other.close()


def rows(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(tables.login_failures)) or 0


def until(check: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 15
    while not check():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def counter(database: Database) -> Iterator[FailureCounter]:
    made = FailureCounter(database, Clock())
    yield made
    made.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_nobody_waits_for_a_locked_database_and_guessing_is_stopped_all_the_same(
    database: Database, counter: FailureCounter, at_once: bool
) -> None:
    with locked(database):
        began = time.monotonic()
        for _ in range(PER_NAME):
            assert counter.wait_s(HERE, "anna") == 0
            counter.note(HERE, "anna", at_once=at_once)
        assert counter.wait_s(HERE, "anna") == WINDOW_S
        assert time.monotonic() - began < 1  # once for the short try, not ten times ten seconds
        assert (counter.wait_s(HERE, "ben"), counter.wait_s(ELSEWHERE, "anna")) == (0, 0)
    assert until(lambda: rows(database) == PER_NAME)
    other = FailureCounter(database, Clock())
    other.read()
    assert other.wait_s(HERE, "anna") == WINDOW_S


def test_an_address_is_stopped_for_every_name(counter: FailureCounter) -> None:
    for n in range(PER_ADDRESS):
        assert counter.wait_s(HERE, "another") == 0
        counter.note(HERE, f"name {n}")
    assert counter.wait_s(HERE, "another") == WINDOW_S
    assert counter.wait_s(ELSEWHERE, "another") == 0


def test_a_failure_is_known_to_others_before_the_caller_goes_on(
    database: Database, counter: FailureCounter
) -> None:
    for n in range(1, 4):
        counter.note(HERE, "anna", at_once=True)
        assert rows(database) == n


def test_each_failure_is_written_once_whoever_writes(database: Database) -> None:
    counter = FailureCounter(database, Clock())

    def fail() -> None:
        for _ in range(20):
            counter.note(HERE, "anna", at_once=True)

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert until(lambda: rows(database) == 80)
    counter.close()
    assert rows(database) == 80


def test_a_failure_counts_no_more_after_a_while(sqlite_database: Database) -> None:
    clock = Clock()
    counter = FailureCounter(sqlite_database, clock)
    for _ in range(PER_NAME):
        counter.note(HERE, "anna")
    clock.now += WINDOW_S - 1
    assert counter.wait_s(HERE, "anna") == 1
    clock.now += 1
    assert counter.wait_s(HERE, "anna") == 0
    counter.close()


def test_a_flood_of_addresses_does_not_fill_the_memory(sqlite_database: Database) -> None:
    counter = FailureCounter(sqlite_database, Clock())
    with locked(sqlite_database):
        for n in range(MOST_KEYS // 2 + 500):
            counter.note(f"2001:db8:{n:x}::/64", "anna")
        assert len(counter._own) <= MOST_KEYS
        assert len(counter._waiting) <= 10_000
    counter.close()
