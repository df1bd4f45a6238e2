"""What is slow to read in one account does not hold up the others (one worker, all its parts)."""

import asyncio

import pytest

from gateway.lookalike.server import Lookalike
from gateway.settings import Settings
from gateway.store.accounts import accounts
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.sync.scheduler import Worker
from tests.faults.conftest import living
from tests.faults.judge import differences
from tests.faults.person import DAY, Person, make_person, stamp, timed
from tests.sync.conftest import Clock, event

NEIGHBOURS = 4
FEW_MEGABYTES = 5_000_000
BOMBS = (
    "FREQ=SECONDLY",
    "FREQ=SECONDLY;BYHOUR=25",
    "FREQ=SECONDLY;INTERVAL=7;BYMINUTE=7",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=DAILY;BYHOUR=0,1,2,3,4,5;BYMINUTE=0,1,2,3,4,5,6,7,8,9;BYSETPOS=-1",
    "FREQ=SECONDLY;COUNT=2000000000",
)


def hours(name: str, first: float) -> list[str]:
    """Lines of dates that name 300,000 hours."""
    lines = []
    for start in range(0, 300_000, 500):
        moments = (first + (start + number) * 3600 for number in range(500))
        lines.append(f"{name}:" + ",".join(f"{stamp(moment)}Z" for moment in moments))
    return lines


def huge_objects(now: float) -> list[bytes]:
    """Objects of five megabytes, each large in its own way."""
    times = ("20261001T090000", "20261001T100000")
    return [
        event("long-line", *times, "X-LONG:" + "x" * FEW_MEGABYTES),
        event("exdates", *times, "RRULE:FREQ=HOURLY", *hours("EXDATE", now)),
    ]


async def connected(made: Person) -> Person:
    await made.connect()
    made.roles()
    make_due(made, at=float("inf"))
    return made


def make_due(made: Person, at: float) -> None:
    with made.database.write() as session:
        accounts.update_connection(
            session, made.connection_id, next_sync_at=min(at, made.clock.time + DAY)
        )


@pytest.mark.rule("R9")
async def test_rule_bombs_and_huge_objects_do_not_hold_up_other_accounts(
    server: Lookalike,
    settings: Settings,
    sqlite_database: Database,
    keyring: Keyring,
    clock: Clock,
) -> None:
    async for person in living(server, settings, sqlite_database, keyring, clock):
        await lead(person)


async def lead(person: Person) -> None:
    server, context, clock = person.server, person.context, person.clock
    for number, rule in enumerate(BOMBS * 2):
        bomb = event(f"bomb-{number}", "19700101T000000", "19700101T000001", f"RRULE:{rule}")
        person.account.put("work", bomb)
    for body in huge_objects(clock.time):
        assert len(body) > FEW_MEGABYTES
        person.account.put("home", body)
    await connected(person)
    neighbours = []
    for number in range(NEIGHBOURS):
        neighbour = make_person(server, context, person.database, clock, f"n{number}@icloud.com")
        for event_number in range(30):
            start = clock.time + DAY + event_number * 7200
            neighbour.account.put("home", timed(f"e{event_number}", start))
        neighbours.append(await connected(neighbour))
    worker = Worker(context)
    make_due(person, at=0)
    assert await worker.tick() == 1
    (slow,) = worker._tasks.values()
    while not context.expander._turn.locked():  # it reads its objects now
        await asyncio.sleep(0.01)
    for neighbour in neighbours:
        make_due(neighbour, at=0)
    assert await worker.tick() == NEIGHBOURS
    await asyncio.gather(*(task for task in worker._tasks.values() if task is not slow))
    assert [differences(neighbour) for neighbour in neighbours] == [[]] * NEIGHBOURS
    assert person.mirrored("home") == {}
    await worker.idle()
    assert person.problems() == set()
    assert len(person.mirrored("work")) == len(BOMBS) * 2
    assert len(person.mirrored("home")) == len(huge_objects(clock.time))
