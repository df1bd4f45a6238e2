"""How a sync and a push go, as architecture.md tells it."""

from collections.abc import Iterator

import pytest

from gateway.sync.scheduler import Worker
from tests.sync.conftest import Site, event
from tests.walks import Footprints, named_in


@pytest.fixture
def trace() -> Iterator[Footprints]:
    """Files that run from here on, in all threads that begin later."""
    footprints = Footprints()
    yield footprints
    footprints.stop()


IN_THE_WORKER_PROCESS = {"gateway/expansion/prepare.py", "gateway/expansion/child.py"}
"""What it loads is held by test_expander.py."""


async def test_a_sync_goes_the_way_the_page_tells(trace: Footprints, site: Site) -> None:
    await site.sync()
    site.book()
    await site.sync()
    site.account.put("work", event("new"))
    (row,) = site.ledger()
    ours = site.account.get("home", row.upstream_name)
    site.account.put("home", ours.replace(b"T090000Z", b"T093000Z"), row.upstream_name)
    trace.begin()
    site.clock.advance(3600)
    worker = Worker(site.context)
    await worker.tick()
    await worker.idle()
    named = named_in("Walk 2")
    assert len(named) >= 5
    assert named - trace.files - IN_THE_WORKER_PROCESS == set()


async def test_a_push_goes_the_way_the_page_tells(trace: Footprints, site: Site) -> None:
    await site.sync()
    site.book()
    trace.begin()
    report = await site.sync()
    assert report.pushed == 1
    named = named_in("Walk 4")
    assert len(named) >= 2
    assert named - trace.files == set()
