"""The rows of the store: pages, lists, erasing and expanding anew among many events and people.

The size is events in one calendar, or people; what is measured is the longest time others must
wait (a unit of work), or one page.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.scale import Case
from gateway.core.recurrence.expand import Expansion, Instance, default_window
from gateway.core.status import FBType
from gateway.store.access import principals
from gateway.store.booking import agenda
from gateway.store.engine import Database, Session
from gateway.store.objects import collections, expansions, objects
from gateway.store.objects.collections import Collection
from gateway.store.operations import erasing
from gateway.store.outbox import overview
from gateway.store.outbox.overview import Scope
from gateway.store.schema import migrate

NOW = 1_790_000_000
ROUNDS = 20
_AT_ONCE = 500
_MEETINGS = 8
"""Instances of an event: one in eight recurs."""


@contextmanager
def _database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        database = Database(f"sqlite:///{folder}/gateway.sqlite3")
        migrate(database)
        yield database
        database.close()


def _person(session: Session, subaccount_id: str) -> tuple[str, Collection]:
    made = principals.create_principal(
        session, subaccount_id=subaccount_id, name="x", time_zone="UTC", now=NOW
    )
    mirror_id = collections.create_collection(
        session, principal_id=made.id, name="m", kind="mirror", display_name="m", now=NOW
    )
    return made.id, collections.get_collection(session, mirror_id)


def _subaccount(session: Session) -> str:
    return principals.create_subaccount(session, name="x", now=NOW).id


def _events(session: Session, mirror: Collection, count: int, *, kind: str = "mirrored") -> None:
    """Fill a calendar, one batch under one revision as a sync does."""
    for first in range(0, count, _AT_ONCE):
        batch = [_event(number, kind) for number in range(first, min(count, first + _AT_ONCE))]
        objects.save_objects(session, mirror, batch, now=NOW)


def _event(number: int, kind: str) -> objects.PreparedObject:
    first = NOW + number * 900
    spans = [(first + day * 86_400, first + day * 86_400 + 900) for day in range(_MEETINGS)]
    spans = spans if number % 8 == 0 else spans[:1]
    return objects.PreparedObject(
        name=f"{kind[0]}{number}.ics",
        uid=f"{kind[0]}{number}",
        kind=kind,  # type: ignore[arg-type]
        component="VEVENT",
        etag=f'"{number}"',
        body=b"x" * 1_000,
        expansion=Expansion(
            tuple(Instance(s, e, FBType.BUSY, s, e, "opaque", None) for s, e in spans),
            (),
            default_window(NOW),
            recurring=len(spans) > 1,
            open_ended=len(spans) > 1,
            first_start=spans[0][0],
            last_end=spans[-1][1],
        ),
        upstream_name=f"{kind[0]}{number}.ics",
        upstream_etag='"u"',
    )


@contextmanager
def _calendar(count: int) -> Iterator[tuple[Database, str, Collection]]:
    """Yield a person with one calendar of so many events."""
    with _database() as database:
        with database.write() as session:
            person, mirror = _person(session, _subaccount(session))
        for first in range(0, count, 10_000):
            with database.write() as session:
                for start in range(first, min(count, first + 10_000), _AT_ONCE):
                    batch = [
                        _event(number, "mirrored")
                        for number in range(start, min(count, start + _AT_ONCE))
                    ]
                    objects.save_objects(session, mirror, batch, now=NOW)
        yield database, person, mirror


def _longest(database: Database, step: Callable[[Session], bool]) -> float:
    """Return the seconds of the longest unit of a job, but for the slowest in a hundred."""
    took = []
    while True:
        began = time.perf_counter()
        with database.write(repeatable=True) as session:
            goes_on = step(session)
        took.append(time.perf_counter() - began)
        if not goes_on:
            return sorted(took)[int(len(took) * 0.99) - 1]


def _erase(count: int) -> float:
    with _calendar(count) as (database, _, mirror):
        with database.write() as session:
            erasing.retire_collections(session, [mirror.id])
        return _longest(database, _erase_one)


def _erase_one(session: Session) -> bool:
    target = erasing.next_target(session)
    return target is not None and bool(erasing.erase_piece(session, target))


def _batch(count: int) -> float:
    """Return the seconds of one batch of a re-expansion, read and written, of one object."""
    with _calendar(count) as (database, person, _):
        with database.write() as session:
            expansions.forget_expansions(session, person)
        window, after, done = default_window(NOW), "", 0
        began = time.perf_counter()
        while True:
            with database.read() as session:
                found = expansions.outdated_objects(session, person, window, after=after, limit=100)
            if not found:
                return (time.perf_counter() - began) / done
            pairs = [(item, _event(0, "mirrored").expansion) for item in found]
            with database.write(repeatable=True) as session:
                expansions.replace_expansions(session, person, pairs)
            after, done = found[-1].id, done + len(found)


def _sync_page(count: int) -> float:
    with _calendar(count) as (database, _, mirror), database.read() as session:
        began = time.perf_counter()
        for _ in range(ROUNDS):
            collections.numbered_changes(session, mirror.id, 0, limit=101)
        return (time.perf_counter() - began) / ROUNDS


@contextmanager
def _crowd(count: int) -> Iterator[Database]:
    """Yield so many people with thirty events and one Blocked Slot each, ten in a subaccount."""
    with _database() as database:
        for first in range(0, count, 500):
            with database.write() as session:
                for number in range(first, min(count, first + 500)):
                    if number % 10 == 0:
                        subaccount_id = _subaccount(session)
                    _, mirror = _person(session, subaccount_id)
                    _events(session, mirror, 30)
                    _events(session, mirror, 1, kind="blocked-slot")
        yield database


_crowds: dict[int, tuple[float, float, float]] = {}


def _of_crowd(part: int) -> Callable[[int], float]:
    """Measure all lists of one crowd together: making it takes longest."""

    def measure(count: int) -> float:
        if count not in _crowds:
            with _crowd(count) as database, database.read() as session:
                _crowds[count] = (
                    _mean(lambda: agenda.blocked_slots_in(session, Scope(), limit=100)),
                    _mean(lambda: principals.list_principals(session, limit=100)),
                    _mean(lambda: overview.count_problems(session, Scope())),
                )
        return _crowds[count][part]

    return measure


def _mean(ask: Callable[[], object]) -> float:
    ask()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        ask()
    return (time.perf_counter() - began) / ROUNDS


CASES = (
    Case("the longest unit of erasing a calendar, events", "unit", _erase, 2.0),
    Case("expanding a calendar anew, events", "event", _batch),
    Case("a page of 100 changes, events", "page", _sync_page),
    Case("a page of Blocked Slots, people", "page", _of_crowd(0)),
    Case("a page of people", "page", _of_crowd(1)),
    Case("counting what could not be read, people", "count", _of_crowd(2), 3.0),
)
