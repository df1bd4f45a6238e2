"""API keys: the last one that may do everything stays, whoever deletes at the same time (R46)."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import delete

from gateway.core.errors import StateConflict
from gateway.store.access.keys import count_unbound_admins, create_key, revoke_key
from gateway.store.engine import Database
from gateway.store.tables import api_keys


def make_admin(database: Database) -> str:
    """Make a key that may do everything and return its id."""
    with database.write() as session:
        made, _ = create_key(
            session, name="a", scopes=frozenset({"admin"}), subaccount_id=None, now=1
        )
    return made.id


@pytest.mark.rule("R46")
def test_two_admins_who_delete_each_other_leave_one(database: Database) -> None:
    for _ in range(8):
        pair = [make_admin(database), make_admin(database)]
        together = Barrier(2)

        def revoke(key_id: str, together: Barrier = together) -> bool:
            together.wait()
            try:
                with database.write() as session:
                    revoke_key(session, key_id)
            except StateConflict:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(revoke, pair)) == [False, True]
        with database.write() as session:
            assert count_unbound_admins(session) == 1
            session.execute(delete(api_keys))
