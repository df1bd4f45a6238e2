"""How a question about free/busy goes, as architecture.md tells it."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import Place
from tests.walks import Footprints, named_in


@pytest.fixture
def trace() -> Iterator[Footprints]:
    """Files that run from here on, in all threads that begin later."""
    footprints = Footprints()
    yield footprints
    footprints.stop()


WEEK = {"start": "2026-10-26T00:00:00Z", "end": "2026-11-02T00:00:00Z"}


async def test_free_busy_goes_the_way_the_page_tells(trace: Footprints, place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/freebusy"
    trace.begin()
    status, _ = await place.reader.get(path, **WEEK, on_tentative="free")
    assert status == 200
    named = named_in("Walk 3")
    assert len(named) >= 3
    assert named - trace.files == set()


async def test_the_fast_path_is_the_one_the_page_tells(trace: Footprints, place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/freebusy"
    await place.reader.get(path, **WEEK)
    trace.begin()
    status, _ = await place.reader.get(path, **WEEK)
    assert status == 200
    named = named_in("The fast path")
    assert len(named) >= 4
    assert named - trace.files == {"gateway/store/objects/freshness.py"}  # what a poll does
    assert "gateway/store/engine.py" not in trace.files
