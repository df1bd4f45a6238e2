"""What somebody was told is on the disk; what is simply done again does not wait for it."""

from gateway.store.engine import Database
from gateway.store.threads import StoreThreads

FULL, NORMAL = 2, 1


def synchronous(database: Database, *, repeatable: bool) -> int:
    with database.write(repeatable=repeatable) as session:
        return int(session.exec_driver_sql("PRAGMA synchronous").scalar_one())


def test_a_unit_waits_for_the_disk_unless_it_is_repeatable(sqlite_database: Database) -> None:
    found = [synchronous(sqlite_database, repeatable=way) for way in (False, True, True, False)]
    assert found == [FULL, NORMAL, NORMAL, FULL]


async def test_threads_pass_it_on(sqlite_database: Database) -> None:
    threads = StoreThreads(sqlite_database)
    try:
        ask = "PRAGMA synchronous"
        assert await threads.write(lambda s: s.exec_driver_sql(ask).scalar()) == FULL
        assert await threads.write_repeatable(lambda s: s.exec_driver_sql(ask).scalar()) == NORMAL
    finally:
        threads.close()
