"""The worker process: same results, and what happens when it dies or nobody waits any more."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.core.recurrence.model import BusyRules
from gateway.core.status import FBType
from gateway.expansion.prepare import MirrorRules, RawObject, expand_one, prepare_mirrored
from gateway.expansion.worker import INLINE_LIMIT, Expander

START = 1_795_000_000
WINDOW = (START - 30 * 86_400, START + 400 * 86_400)
RULES = MirrorRules(window=WINDOW, busy=BusyRules(ZoneInfo("UTC"), frozenset()), detail="full")
MANY = 2 * INLINE_LIMIT


def _objects(prefix: str, count: int = MANY) -> list[RawObject]:
    return [
        RawObject(
            f"{prefix}{number}.ics",
            '"e"',
            (
                "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n"
                f"UID:{prefix}{number}\r\nDTSTAMP:20261101T000000Z\r\n"
                f"DTSTART:20261120T{number % 24:02}0000Z\r\nDURATION:PT1H\r\n"
                "RRULE:FREQ=WEEKLY;COUNT=10\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
            ).encode(),
        )
        for number in range(count)
    ]


@pytest.fixture
async def expander() -> AsyncIterator[Expander]:
    expander = Expander()
    yield expander
    await expander.close()


async def _pid(expander: Expander, other_than: int | None = None) -> int:
    while expander._process is None or expander._process.pid == other_than:
        await asyncio.sleep(0.002)
    return expander._process.pid


async def _kill_all(expander: Expander) -> None:
    last = None
    while True:
        last = await _pid(expander, last)
        assert expander._process is not None
        with suppress(ProcessLookupError):
            expander._process.kill()


async def test_the_worker_process_answers_in_order_what_would_be_computed_here(
    expander: Expander,
) -> None:
    raws = _objects("a")
    assert await expander.prepare(raws, RULES) == [prepare_mirrored(raw, RULES) for raw in raws]
    jobs = [(raw.body, RULES.busy) for raw in raws]
    assert await expander.expand(jobs, WINDOW) == [expand_one(job, WINDOW) for job in jobs]


async def test_two_batches_at_a_time_are_not_mixed_up(expander: Expander) -> None:
    first, second = _objects("a"), _objects("b")
    found = await asyncio.gather(expander.prepare(first, RULES), expander.prepare(second, RULES))
    assert [[ready.uid for ready in batch] for batch in found] == [
        [raw.name.removesuffix(".ics") for raw in batch] for batch in (first, second)
    ]


async def test_a_caller_that_left_does_not_leave_its_answers_to_the_next(
    expander: Expander,
) -> None:
    left = asyncio.create_task(expander.prepare(_objects("left"), RULES))
    await _pid(expander)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    found = await expander.prepare(_objects("next"), RULES)
    assert [ready.uid for ready in found] == [f"next{number}" for number in range(MANY)]


async def test_a_worker_that_was_killed_is_started_again_and_nothing_is_lost(
    expander: Expander,
) -> None:
    raws = _objects("a")
    running = asyncio.create_task(expander.prepare(raws, RULES))
    pid = await _pid(expander)
    assert expander._process is not None
    expander._process.kill()
    assert await running == [prepare_mirrored(raw, RULES) for raw in raws]
    assert expander._process.pid != pid


@pytest.mark.rule("R25")
async def test_what_kills_the_worker_each_time_is_kept_and_its_time_is_unknown(
    expander: Expander,
) -> None:
    raws = _objects("a", INLINE_LIMIT + 1)
    killer = asyncio.create_task(_kill_all(expander))
    found = await expander.prepare(raws, RULES)
    killer.cancel()
    assert [(ready.served, ready.raw) for ready in found] == [(False, raw.body) for raw in raws]
    for ready in found:
        assert [problem.code for problem in ready.expansion.problems] == ["expansion-failed"]
        (row,) = ready.expansion.instances
        assert (row.start, row.end, row.fbtype) == (*WINDOW, FBType.UNKNOWN)


async def test_a_mistake_in_one_item_is_raised_and_the_next_batch_works(
    expander: Expander,
) -> None:
    broken = [RawObject("x.ics", None, ())] * MANY  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="AttributeError in the worker process"):
        await expander.prepare(broken, RULES)
    raws = _objects("a")
    assert await expander.prepare(raws, RULES) == [prepare_mirrored(raw, RULES) for raw in raws]


class _Unreadable:
    """Leaves the worker in good order and cannot be read by whoever gets it."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return int, ("no number",)


def unreadable(_item: object) -> _Unreadable:
    return _Unreadable()


async def test_an_answer_that_cannot_be_read_does_not_leave_the_others_to_the_next_batch(
    expander: Expander,
) -> None:
    with pytest.raises(ValueError, match="no number"):
        await expander._ask(unreadable, range(3))
    raws = _objects("a")
    found = await asyncio.wait_for(expander.prepare(raws, RULES), 30)
    assert found == [prepare_mirrored(raw, RULES) for raw in raws]


async def test_the_worker_is_given_none_of_our_settings(
    expander: Expander, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_KEYRING", "k1:secret")
    await expander.prepare(_objects("a"), RULES)
    environment = Path(f"/proc/{await _pid(expander)}/environ").read_bytes().split(b"\0")
    assert [entry for entry in environment if entry.startswith(b"GATEWAY_")] == []


def test_the_worker_loads_the_engine_alone_and_ends_with_its_input() -> None:
    program = (
        "import sys, pickle; from gateway.expansion.child import main;"
        "import gateway.expansion.prepare;"
        "main(); print(sorted({'asyncio', 'sqlalchemy', 'aiohttp', 'lxml', 'multiprocessing',"
        "'cryptography', 'structlog', 'icalendar'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.strip() == "[]"  # standard output carries answers only
    assert done.stdout == ""
