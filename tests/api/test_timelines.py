"""The fast path gives the same bytes as the long way, and never an answer that is not true."""

import asyncio
import time

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api.process.timelines import KeptTimeline, TimelineCache
from gateway.core.availability.timeline import FreeBusy
from gateway.core.intervals import Interval
from gateway.core.status import FBType
from gateway.services.availability import free_busy, load_to_keep
from gateway.store.access import principals
from gateway.store.accounts import calendars
from gateway.store.accounts.accounts import Keyring
from gateway.store.booking import bookings
from gateway.store.engine import Database
from gateway.store.objects import objects
from gateway.store.signals import open_signals
from gateway.store.threads import StoreThreads
from tests.api.shaped import etag, shaped
from tests.store.conftest import NOW, WINDOW, Place, place, prepared

__all__ = ["place"]  # the fixture of the store's tests

HOUR = 3_600
NEXT = (NOW, NOW + 24 * HOUR)
TYPES = [FBType.BUSY, FBType.TENTATIVE, FBType.UNAVAILABLE, FBType.UNKNOWN, FBType.FREE]


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite is enough here: the rows are the same."""
    return sqlite_database


def _fill(place: Place, spans: list[tuple[int, int, FBType]]) -> None:
    with place.database.write() as session:
        old = [o.name for o in objects.list_objects(session, place.mirror.id)]
        objects.delete_objects(session, place.mirror, old, now=NOW)
        batch = [
            prepared(f"{n}.ics", (NOW + start, NOW + start + length), fbtype=fbtype)
            for n, (start, length, fbtype) in enumerate(spans)
        ]
        objects.save_objects(session, place.mirror, batch, now=NOW)
        calendars.update_calendar(session, place.calendar_id, state="ok", synced_at=NOW)


def _long_way(place: Place, window: Interval, now: int) -> FreeBusy:
    with place.database.read() as session:
        return free_busy(session, place.principal, window, now=now)


def _rendered(place: Place, now: int) -> KeptTimeline:
    with place.database.read() as session:
        return KeptTimeline(*load_to_keep(session, place.principal.id, now=now), (0, 0))


SPANS = st.lists(
    st.tuples(
        st.integers(0, 20 * 24).map(lambda n: n * HOUR // 2),
        st.integers(1, 60).map(lambda n: n * HOUR // 4),
        st.sampled_from(TYPES),
    ),
    max_size=12,
)


@pytest.mark.rule("R23", "R24", "R25")
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    spans=SPANS,
    start=st.integers(-HOUR, 15 * 24 * HOUR),
    length=st.integers(1, 10 * 24 * HOUR),
    age=st.sampled_from([0, 899, 901, 86_399, 86_401]),
)
def test_both_ways_give_the_same_bytes(
    place: Place, spans: list[tuple[int, int, FBType]], start: int, length: int, age: int
) -> None:
    _fill(place, spans)
    window, now = (NOW + start, NOW + start + length), NOW + age
    slow = _long_way(place, window, now)
    fast = _rendered(place, now).answer(window, now=now)
    if age > 86_400:
        assert fast is None  # the source is not believed any more: the long way says unknown
        return
    assert fast is not None
    assert fast[1] == orjson.dumps(shaped(slow, place.principal.time_zone))
    assert fast[0] == etag(slow, place.principal.time_zone)


@pytest.mark.rule("R25")
def test_beyond_the_expanded_span_the_long_way_is_asked(place: Place) -> None:
    _fill(place, [(0, HOUR, FBType.BUSY)])
    rendered = _rendered(place, NOW)
    assert rendered.answer((NOW, WINDOW[1]), now=NOW) is not None
    assert rendered.answer((NOW, WINDOW[1] + 1), now=NOW) is None
    assert rendered.answer((WINDOW[0] - 1, NOW), now=NOW) is None


@pytest.mark.rule("R30")
def test_a_hold_shows_until_it_expires(place: Place) -> None:
    _fill(place, [])
    with place.database.write() as session:
        bookings.create_hold(
            session, place.principal.id, (NOW, NOW + HOUR), expires_at=NOW + 300, now=NOW
        )
    rendered = _rendered(place, NOW)
    fast = rendered.answer((NOW, NOW + HOUR), now=NOW + 299)
    assert fast is not None
    assert b'"busy":[{' in fast[1]
    assert rendered.answer((NOW, NOW + HOUR), now=NOW + 300) is None


async def test_a_change_is_seen_at_once_and_the_cache_stays_small(
    place: Place, keyring: Keyring
) -> None:
    _fill(place, [(n * HOUR, 600, FBType.BUSY) for n in range(100)])
    signals, threads = open_signals(place.database), StoreThreads(place.database)
    cache = TimelineCache(signals, threads, capacity=60_000)
    entry = await cache.find(place.principal.id, NEXT, now=NOW)
    assert entry is not None
    assert await cache.find(place.principal.id, NEXT, now=NOW) is entry
    _fill(place, [(0, HOUR, FBType.BUSY)])
    signals.refresh()
    newer = await cache.find(place.principal.id, NEXT, now=NOW)
    assert newer is not None
    assert newer.timeline.row(0)[:2] == (NOW, NOW + HOUR)
    assert len(newer.timeline.starts) == 1
    assert cache.bytes == newer.size
    with place.database.write() as session:
        others = [
            principals.create_principal(
                session,
                subaccount_id=place.principal.subaccount_id,
                name=str(n),
                time_zone="UTC",
                now=NOW,
            ).id
            for n in range(60)
        ]
    for other in others:
        assert await cache.find(other, NEXT, now=NOW) is not None
    assert 0 < cache.bytes <= 60_000
    assert await cache.find("p_nobody", NEXT, now=NOW) is None
    threads.close()
    signals.close()


async def test_many_askers_build_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(place, [(0, HOUR, FBType.BUSY)])
    signals, threads = open_signals(place.database), StoreThreads(place.database)
    reads = 0
    real = threads.read

    async def counted(*args: object, **kwargs: object) -> object:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.05)
        return await real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(threads, "read", counted)
    cache = TimelineCache(signals, threads)
    began = time.monotonic()
    found = await asyncio.gather(
        *(cache.find(place.principal.id, NEXT, now=NOW) for _ in range(20))
    )
    assert len({id(entry) for entry in found}) == 1
    assert reads == 1
    assert time.monotonic() - began < 5
    threads.close()
    signals.close()
