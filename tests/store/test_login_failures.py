"""Failed logins are counted by address and by (address, name), for all processes together."""

from sqlalchemy import func, select

from gateway.store.access.login_failures import (
    PER_ADDRESS,
    PER_NAME,
    WINDOW_S,
    blocked_keys,
    keys_of,
    note_failures,
)
from gateway.store.engine import Database
from gateway.store.tables import login_failures

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
NOW = 1_800_000_000


def fail(database: Database, address: str, name: str, times: int, *, now: int = NOW) -> None:
    for _ in range(times):
        with database.write() as session:
            note_failures(session, [(now, *keys_of(address, name))], now=now)


def wait(database: Database, address: str, name: str, *, now: int = NOW) -> int:
    with database.read() as session:
        blocked = blocked_keys(session, now=now)
    return max(blocked.get(key, now) for key in keys_of(address, name)) - now


def test_a_name_is_blocked_at_one_address_alone(database: Database) -> None:
    fail(database, HERE, "anna", PER_NAME - 1)
    assert wait(database, HERE, "anna") == 0
    fail(database, HERE, "anna", 1)
    assert wait(database, HERE, "anna") == WINDOW_S
    assert [wait(database, HERE, "ben"), wait(database, ELSEWHERE, "anna")] == [0, 0]


def test_an_address_is_blocked_for_every_name(database: Database) -> None:
    for n in range(PER_ADDRESS):
        fail(database, HERE, f"name {n}", 1)
    assert wait(database, HERE, "another") == WINDOW_S
    assert wait(database, ELSEWHERE, "another") == 0


def test_a_block_ends_when_its_oldest_failure_counts_no_more(database: Database) -> None:
    fail(database, HERE, "anna", 1, now=NOW - 100)
    fail(database, HERE, "anna", PER_NAME - 1)
    assert wait(database, HERE, "anna") == WINDOW_S - 100
    assert wait(database, HERE, "anna", now=NOW + WINDOW_S - 101) == 1
    assert wait(database, HERE, "anna", now=NOW + WINDOW_S - 100) == 0


def test_what_counts_no_more_is_forgotten_and_nothing_is_readable(database: Database) -> None:
    fail(database, HERE, "my password", 5, now=NOW - WINDOW_S)
    fail(database, HERE, "my password", 2)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(login_failures)) == 2
        row = session.execute(select(login_failures)).first()
    assert b"password" not in row.name_key
    assert HERE.encode() not in row.address_key
