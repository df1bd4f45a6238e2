"""Writes as a sync does, run as ``python -m benchmarks.changes FOLDER PRINCIPAL`` until terminated.

50 changes a second to twenty other people and 5 a second to the one named, each one a unit of its
own: an event of one hour is written anew at another time.
"""

import json
import sys
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from benchmarks.events import ZONE, Mix, make_events
from benchmarks.fill import blocked_slot
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.access.principals import Principal
from gateway.store.engine import Database, lock_principal
from gateway.store.objects import collections
from gateway.store.objects.collections import PLATFORM_NAME, Collection
from gateway.store.objects.objects import PreparedObject, save_object

OTHERS = 20
OTHERS_A_SECOND, OWN_A_SECOND = 50, 5


def main(folder: Path, principal_id: str) -> None:
    """Make the other people and write for ever."""
    database, now = Database(Settings(data_dir=folder).database), int(time.time())
    with database.write() as session:
        own = principals.get_principal(session, principal_id)
        others = [
            principals.create_principal(
                session, subaccount_id=own.subaccount_id, name=f"N{number}", time_zone=ZONE, now=now
            )
            for number in range(OTHERS)
        ]
    made = make_events(Mix(count=200, days=60, open_ended=0), today=datetime.now(UTC).date())
    bodies = [blocked_slot(one, own, now) for one in made if b"RRULE" not in one.body]
    places = {one.id: _place(database, one) for one in (own, *others)}
    print(json.dumps({"ready": ""}), flush=True)
    step = 1 / (OTHERS_A_SECOND + OWN_A_SECOND)
    due = time.monotonic()
    for turn in count():
        due += step
        time.sleep(max(0.0, due - time.monotonic()))
        mine = turn % (OTHERS_A_SECOND // OWN_A_SECOND + 1) == 0
        person = own if mine else others[turn % OTHERS]
        _write(database, places[person.id], bodies[turn % len(bodies)])


def _place(database: Database, person: Principal) -> Collection:
    with database.read() as session:
        found = collections.find_collection(session, person.id, PLATFORM_NAME)
    assert found is not None
    return found


def _write(database: Database, place: Collection, prepared: PreparedObject) -> None:
    with database.write() as session:
        lock_principal(session, place.principal_id)
        save_object(session, place, prepared, now=int(time.time()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
