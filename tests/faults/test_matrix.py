"""Every fault of the look-alike in every stage of an account's life ends with both sides equal.

The cases are checked against the look-alike's own registry, so a new behaviour cannot be
forgotten. A fault lasts twenty minutes; the clock is virtual, the HTTP is real. What a fault is
told as, and what iCloud is like in other ways, is in :mod:`cases` and ``tests/soak``.
"""

import os
from random import Random

import pytest

from gateway.lookalike.world.quirks import QUIRKS
from gateway.store.accounts import accounts
from gateway.sync.scheduler import Worker
from tests.faults.cases import CASES, Case
from tests.faults.judge import (
    content_differences,
    differences,
    free_of,
    write_differences,
)
from tests.faults.person import DAY, HOUR, Person, fill, pass_time, timed

WHOLE = "GATEWAY_TEST_WHOLE_MATRIX" in os.environ
"""Lead the whole matrix on PostgreSQL too, as ``make soak`` does."""

FAULT_S = 1200
HEALED_WITHIN_S = 3 * HOUR
MOST_REQUESTS = 50
"""What one account may ask during a fault of twenty minutes, whatever goes wrong."""


def test_no_fault_is_forgotten() -> None:
    assert {case.quirk for case in CASES} == {q.name for q in QUIRKS if q.kind == "fault"}


def cells() -> list[tuple[str, Case, str]]:
    """All of it on SQLite; on PostgreSQL every fault in one form and one stage, or all."""
    found = [("sqlite", case, stage) for case in CASES for stage in case.stages]
    if WHOLE:
        return found + [("postgresql", case, stage) for _, case, stage in found]
    one_form = {case.quirk: case for case in reversed(CASES)}.values()
    for number, case in enumerate(one_form):
        found.append(("postgresql", case, case.stages[number % len(case.stages)]))
    return found


async def prepare(person: Person, stage: str) -> None:
    fill(person)
    await person.connect()
    person.roles()
    if stage == "first sync":
        return
    assert (await person.sync()).ok
    if stage == "push pending":
        start = person.clock.time // HOUR * HOUR + 10 * DAY
        for number in range(3):
            assert person.book_at(f"known-{number}", start + number * DAY)
        await pass_time(Worker(person.context), person.clock, 60)
        assert differences(person) == []


def disturb(person: Person, stage: str) -> None:
    """What happens on both sides while the fault lasts."""
    start = person.clock.time // HOUR * HOUR
    phone = person.account
    if stage == "incremental":
        phone.put("home", timed("home-0", start + 20 * DAY, summary="Moved"))
        phone.put("home", timed("new", start + 21 * DAY))
        phone.delete("home", "home-1.ics")
        phone.delete("work", "work-1.ics")
        phone.phone.delete_occurrence("home", "series.ics", _second_week(person))
    elif stage == "push pending":
        assert person.book_at("fresh", start + 15 * DAY)
        assert person.book_at("known-0", start + 16 * DAY)
        person.withdraw("known-1")
        assert person.block("private", start + 17 * DAY)


def _second_week(person: Person) -> str:
    data = person.account.get("home", "series.ics").decode()
    start = next(line for line in data.splitlines() if line.startswith("DTSTART:"))[8:16]
    return f"{start[:6]}{int(start[6:]) + 7:02}T{data.split('DTSTART:')[1][9:15]}Z"


def lasting(person: Person, stage: str) -> list[tuple[int, int]]:
    """Time that is busy before the fault and stays so: it must never look free."""
    now = int(person.clock.time)
    window = (now, now + 60 * DAY)
    before = {(s, e) for s, e, _ in person.true_busy(window)}
    disturb(person, stage)
    return sorted(before & {(s, e) for s, e, _ in person.true_busy(window)})


@pytest.mark.rule("R4", "R9", "R11", "R16", "R25")
@pytest.mark.parametrize(
    ("database", "case", "stage"),
    [
        pytest.param(database, case, stage, id=f"{database}-{case}-{stage}")
        for database, case, stage in cells()
    ],
    indirect=["database"],
)
async def test_a_fault_ends_with_both_sides_equal(person: Person, case: Case, stage: str) -> None:
    person.context.random = Random(f"{case} {stage}")
    await prepare(person, stage)
    await case.begin(person)
    spans = lasting(person, stage)
    make_due(person)
    worker = Worker(person.context)
    told: set[str] = set()
    person.requests()

    def watch() -> bool:
        person.note_names()
        told.update(person.problems())
        assert free_of(person, spans) == []
        return False

    def healed() -> bool:
        return not person.problems() and not differences(person)

    await pass_time(worker, person.clock, FAULT_S, each=watch)
    asked = person.requests()
    await case.finish(person)
    person.retry_parked()
    await pass_time(worker, person.clock, HEALED_WITHIN_S, each=healed)
    healing = person.requests()
    assert [*differences(person), *content_differences(person), *write_differences(person)] == []
    assert person.problems() == set()
    assert told == case.told.get(stage, set())
    assert len(asked) <= MOST_REQUESTS, asked
    assert len(healing) <= MOST_REQUESTS, healing
    await person.sync()
    person.requests()
    assert (await person.sync()).ok
    assert person.requests() == ["PROPFIND"]


def make_due(person: Person) -> None:
    with person.database.write() as session:
        accounts.update_connection(session, person.connection_id, next_sync_at=0.0)
