"""After an upgrade stored objects are expanded by the rules that hold now, without a sync."""

import asyncio

import pytest
from sqlalchemy import delete, select, update

from gateway.core.recurrence.expand import ENGINE_VERSION
from gateway.store.objects import collections, objects
from gateway.store.tables import generations, instances, secrets
from gateway.store.tables import objects as object_rows
from gateway.sync.renew import renew_batch
from gateway.sync.scheduler import Worker
from gateway.sync.windows import extend_until
from tests.sync.conftest import Site, event
from tests.sync.test_extend import busy_starts

UNREADABLE = event("odd").replace(b"DTEND:20261001T100000Z", b"DTEND:whenever")


def age(site: Site) -> None:
    """Make everything look as an earlier engine left it: another time, and its mark."""
    with site.database.write() as session:
        session.execute(update(instances).values(busy_start=instances.c.busy_start - 600))
        session.execute(update(object_rows).values(expanded_by=ENGINE_VERSION - 1))
        session.execute(update(generations).values(expanded_by=ENGINE_VERSION - 1))


def marks(site: Site) -> set[int]:
    with site.database.read() as session:
        return {
            *session.execute(select(object_rows.c.expanded_by)).scalars(),
            *session.execute(select(generations.c.expanded_by)).scalars(),
        }


@pytest.mark.rule("R23", "R25")
async def test_what_an_earlier_engine_expanded_is_expanded_anew_and_stands_until_then(
    site: Site,
) -> None:
    for number in range(5):
        site.account.put("home", event(f"m{number}"))
    site.account.put("home", UNREADABLE)  # kept as a secret, not served
    await site.sync()
    assert marks(site) == {ENGINE_VERSION}
    assert await renew_batch(site.context) == 0
    right = busy_starts(site)
    coverage = site.read(objects.get_coverage, site.principal_id)
    revision = site.read(collections.find_mirror, site.calendar("home").id).revision
    age(site)
    old = busy_starts(site)
    generation = site.read(objects.get_extent, site.principal_id)[0]
    assert await renew_batch(site.context, limit=2) == 2
    half = busy_starts(site)
    assert len(half) == len(old)
    assert half not in (old, right)
    assert set(half) <= {*old, *right}
    assert site.read(objects.get_coverage, site.principal_id) == coverage  # nothing turned unknown
    assert site.read(objects.get_extent, site.principal_id)[0] > generation
    while await renew_batch(site.context, limit=2):
        pass
    assert busy_starts(site) == right
    assert marks(site) == {ENGINE_VERSION}
    assert site.read(collections.find_mirror, site.calendar("home").id).revision == revision


async def test_what_was_expanded_far_ahead_stays_known_that_far(site: Site) -> None:
    site.account.put("home", event("w", "20261001T090000", "20261001T100000", "RRULE:FREQ=WEEKLY"))
    await site.sync()
    far = int(site.clock.time) + 900 * 86_400
    assert await extend_until(site.context, site.principal_id, (far - 86_400, far))
    right = busy_starts(site)
    age(site)
    while await renew_batch(site.context):
        pass
    assert busy_starts(site) == right
    assert site.read(objects.get_coverage, site.principal_id)[1] == far


async def test_an_object_whose_secret_is_lost_stops_nobody(site: Site) -> None:
    site.account.put("home", UNREADABLE, "a.ics")
    site.account.put("home", event("good", "20261002T090000", "20261002T100000"), "b.ics")
    await site.sync()
    right = busy_starts(site)
    age(site)
    with site.database.write() as session:
        session.execute(
            update(secrets).where(secrets.c.field == "raw").values(ciphertext=b"\0" * 40)
        )
    while await renew_batch(site.context):
        pass
    after = busy_starts(site)
    assert len(after) == len(right)
    assert min(after) == min(right) - 600  # it keeps what is stored of it
    assert await renew_batch(site.context) == 0


async def test_the_worker_renews_by_itself(site: Site) -> None:
    site.account.put("home", event("a"))
    await site.sync()
    right = busy_starts(site)
    age(site)
    stop = asyncio.Event()
    running = asyncio.create_task(Worker(site.context, tick_s=0.05).run(stop))
    async with asyncio.timeout(30):
        while marks(site) != {ENGINE_VERSION}:
            await asyncio.sleep(0.05)
    stop.set()
    await running
    assert busy_starts(site) == right


async def test_a_person_without_objects_is_noted_too(site: Site) -> None:
    await site.sync()
    with site.database.write() as session:
        session.execute(delete(object_rows))
    age(site)
    while await renew_batch(site.context):
        pass
    assert marks(site) == {ENGINE_VERSION}
