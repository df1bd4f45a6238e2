"""Looking at a principal makes its account due soon, unless it is failing."""

import pytest

from gateway.api.process.activity import ACTIVE_FOR_S, KEY_SEEN_EVERY_S, Activity
from gateway.settings import Settings
from gateway.store.access import keys
from gateway.store.accounts import accounts
from gateway.store.engine import Database
from gateway.store.threads import StoreThreads
from tests.store.conftest import NOW, Place, place

__all__ = ["place"]


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite is enough here."""
    return sqlite_database


@pytest.mark.parametrize(("failures", "due"), [(0, NOW + 35.0), (2, NOW + 240.0)])
async def test_a_viewed_account_is_polled_often(place: Place, failures: int, due: float) -> None:
    with place.database.write() as session:
        accounts.update_connection(
            session, place.connection.id, next_sync_at=NOW + 240.0, failures=failures
        )
    threads = StoreThreads(place.database)
    activity = Activity(Settings(poll_active_s=35), threads, lambda: float(NOW))
    activity.note(place.principal.id)
    activity.note("p_without_account")
    await activity.flush()
    with place.database.read() as session:
        connection = accounts.get_connection(session, place.connection.id)
    assert (connection.active_until, connection.next_sync_at) == (NOW + ACTIVE_FOR_S, due)
    threads.close()


async def test_a_used_key_is_noted_now_and_then(place: Place) -> None:
    with place.database.write() as session:
        made, _ = keys.create_key(
            session, name="k", scopes=frozenset({"admin"}), subaccount_id=None, now=NOW
        )
    threads = StoreThreads(place.database)
    clock = [NOW]
    activity = Activity(Settings(), threads, lambda: float(clock[0]))
    seen = []
    for at in (NOW, NOW + 1, NOW + KEY_SEEN_EVERY_S - 1, NOW + KEY_SEEN_EVERY_S):
        clock[0] = at
        activity.note_key(made)
        await activity.flush()
        with place.database.read() as session:
            seen.append(keys.list_keys(session)[0].last_used_at)
    assert seen == [NOW, NOW, NOW, NOW + KEY_SEEN_EVERY_S]
    threads.close()
