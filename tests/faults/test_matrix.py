"""Every fault of the look-alike in every stage of an account's life ends with both sides equal.

The cases are checked against the look-alike's own registry, so a new behaviour cannot be
forgotten. A fault lasts twenty minutes; the clock is virtual, the HTTP is real.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from gateway.lookalike.quirks import QUIRKS
from gateway.store import accounts
from gateway.sync.scheduler import Worker
from gateway.upstream.transport import Transport
from tests.faults.judge import differences, free_of
from tests.faults.person import DAY, HOUR, Person, fill, pass_time, timed

FAULT_S = 1200
HEALED_WITHIN_S = 3 * HOUR
TIMEOUT_S = 0.2
"""After which a slow answer is given up, in real seconds."""

MOST_REQUESTS = 45
"""What one account may ask during a fault of twenty minutes, whatever goes wrong."""

STAGES = ("first sync", "idle", "incremental", "push pending")


@dataclass(frozen=True)
class Case:
    """One form of one quirk; ``told`` are the codes a person sees while it lasts, by stage."""

    quirk: str
    params: dict[str, Any] = field(default_factory=dict)
    narrow: dict[str, Any] = field(default_factory=dict)
    start: Callable[[Person], Awaitable[None]] | None = None
    end: Callable[[Person], Awaitable[None]] | None = None
    stages: tuple[str, ...] = STAGES
    told: dict[str, set[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        more = [str(value) for value in (*self.params.values(), *self.narrow.values())]
        return "-".join([self.quirk, *more])

    async def begin(self, person: Person) -> None:
        if self.start is not None:
            await self.start(person)
        else:
            person.fault(self.quirk, **self.narrow, **self.params)

    async def finish(self, person: Person) -> None:
        if self.end is not None:
            await self.end(person)
        person.server.world.faults.clear(self.quirk)


def move_partition(how: str) -> Callable[[Person], Awaitable[None]]:
    """The account moves; what refuses at the old partition does so for good."""

    async def move(person: Person) -> None:
        person.account.move_partition(refuse=how)

    return move


async def lose_patience(person: Person) -> None:
    """Give up soon on slow answers, and let all be slow."""
    settings = person.context.settings.model_copy(update={"upstream_timeout_s": TIMEOUT_S})
    await person.context.transport.close()
    person.context.transport = Transport(settings)
    person.fault("slow")


async def find_patience(person: Person) -> None:
    await person.context.transport.close()
    person.context.transport = Transport(person.context.settings)


def told(always: str = "", **stages: str) -> dict[str, set[str]]:
    """Codes by stage (blanks as underscores): what is always told unless a stage says more."""
    return {stage: set(stages.get(stage.replace(" ", "_"), always).split()) for stage in STAGES}


UNREACHABLE = told("upstream-unreachable")
UNREAD = told("upstream-unreachable", idle="")
THROTTLED = told("upstream-throttled")
FORBIDDEN = told("upstream-forbidden", push_pending="upstream-forbidden upstream-refused")
REJECTED = told("credential-rejected credential-revoked")
LATE = told("incomplete-answer", idle="")
REFUSED_412 = told(push_pending="upstream-precondition upstream-refused")
PUSHING = ("push pending",)

CASES = [
    Case("partition-moved", {"refuse": "401"}, start=move_partition("401")),
    Case("partition-moved", {"refuse": "404"}, start=move_partition("404")),
    Case("partition-moved", {"refuse": "connect"}, start=move_partition("connect")),
    Case("empty-propstat-status"),
    Case("calendar-switched-off", told=REJECTED),
    Case("calendar-error", {"status": 403}, told=FORBIDDEN | {"idle": set()}),
    Case("calendar-error", {"status": 500}, {"calendar": "home"}, told=UNREAD),
    Case("sync-truncated", {"limit": 3}),
    Case("lag", {"after": 5}, told=LATE),
    Case("lag", {"after": 900}, told=LATE),
    Case("multiget-fewer"),
    Case("multiget-fewer", {"keep": 0}),
    Case("old-range-403"),
    Case("etag-drift", told=REFUSED_412),
    Case("put-412", stages=PUSHING, told=REFUSED_412),
    Case("throttle", {"form": "503", "block": 600}, told=THROTTLED),
    Case("throttle", {"form": "503-bare", "block": 600}, told=THROTTLED),
    Case("throttle", {"form": "429", "block": 600}, told=THROTTLED),
    Case("throttle", {"form": "html-502", "block": 600}, told=UNREACHABLE),
    Case("throttle", {"form": "403", "block": 600}, told=FORBIDDEN),
    Case("throttle", {"burst": 3, "block": 90}, told=THROTTLED | {"idle": set()}),
    Case("reset", {"when": "before"}, told=UNREACHABLE),
    Case("reset", {"when": "after"}, told=UNREACHABLE),
    Case("reset", {"when": "after"}, {"method": "PUT"}, stages=PUSHING, told=UNREACHABLE),
    Case("reset", {"when": "after"}, {"method": "DELETE"}, stages=PUSHING, told=UNREACHABLE),
    Case("slow", start=lose_patience, end=find_patience, told=UNREACHABLE),
    Case("cut-body", {"how": "clean"}, told=UNREACHABLE),
    Case("cut-body", {"how": "broken"}, told=UNREACHABLE),
    Case("status", {"code": 403}, told=FORBIDDEN),
    Case(
        "status",
        {"code": 404},
        told=told("not-icloud", push_pending="not-icloud linked-calendar-gone"),
    ),
    Case("status", {"code": 502}, told=UNREACHABLE),
    Case(
        "status",
        {"code": 404},
        {"method": "PUT"},
        stages=PUSHING,
        told=told(push_pending="upstream-refused"),
    ),
    Case("status", {"code": 507}, {"method": "PUT"}, stages=PUSHING, told=UNREACHABLE),
    Case("down", told=UNREACHABLE),
    Case("empty-multistatus", told=UNREAD),
]


def test_no_fault_is_forgotten() -> None:
    assert {case.quirk for case in CASES} == {q.name for q in QUIRKS if q.kind == "fault"}


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
    ("case", "stage"),
    [pytest.param(case, stage, id=f"{case}-{stage}") for case in CASES for stage in case.stages],
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
    assert differences(person) == []
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
