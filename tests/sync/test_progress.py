"""What a sync tells of itself: progress of a first sync, and the metrics (R9, R12)."""

import pytest
from structlog.testing import capture_logs

from gateway.observe import metrics
from gateway.store.objects import collections, objects
from gateway.sync.pull import calendar as pull
from gateway.sync.report import Progress
from gateway.sync.scheduler import sync_account
from tests.sync.conftest import Site, event

COUNT = 230


@pytest.fixture
async def waiting(fresh_site: Site) -> Site:
    """A connected account whose 230 events have never been read."""
    for number in range(COUNT):
        fresh_site.account.put("home", event(f"e{number}"))
    await fresh_site.connect()
    fresh_site.roles(conflicts=())
    return fresh_site


@pytest.mark.rule("R9")
async def test_a_first_sync_tells_how_far_it_is(
    waiting: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "LOG_EVERY", 100)
    seen: list[Progress] = []
    stored: list[tuple[str, int, int | None]] = []

    def look(progress: Progress) -> None:
        seen.append(progress)
        calendar = waiting.calendar("home")
        stored.append((calendar.state, calendar.progress_done, calendar.progress_total))

    home = waiting.calendar("home")
    with capture_logs() as lines:
        report = await sync_account(waiting.context, waiting.connection_id, progress=look)
    assert report.ok
    done = [50, 100, 150, 200, 230]
    assert seen == [Progress(home.id, "Home", number, COUNT) for number in done]
    assert stored == [("syncing", number, COUNT) for number in done]
    about = {"part": "sync", "log_level": "info", "calendar": home.id}
    assert lines == [
        {**about, "event": "first sync under way", "done": 100, "total": COUNT},
        {**about, "event": "first sync under way", "done": 200, "total": COUNT},
        {**about, "event": "first sync ended", "done": COUNT, "complete": True},
    ]
    waiting.account.put("home", event("later"))
    with capture_logs() as lines:
        assert (await waiting.sync()).ok
    assert lines == []


def samples() -> dict[str, float]:
    """Every sample of the sync metrics by name and labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in metrics().registry.collect()
        if family.name.startswith("gateway_sync_")
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


@pytest.mark.rule("R9", "R12")
async def test_runs_objects_requests_repairs_and_ages_are_counted(site: Site) -> None:
    before = samples()
    site.account.put("home", event("a"))
    site.account.put("home", b"no calendar at all", "odd.ics")
    await site.sync()
    site.account.delete("home", "odd.ics")
    site.clock.advance(100)
    await site.sync()
    site.clock.advance(250)
    await site.sync()
    mirror = site.read(collections.find_mirror, site.calendar("home").id)
    with site.database.write() as session:  # damage that no listing tells of
        objects.delete_objects(session, mirror, ["a.ics"], now=1)
    site.clock.advance(86_400)
    await site.sync()
    grown = {name: value - before.get(name, 0.0) for name, value in samples().items()}
    assert {name: value for name, value in grown.items() if value} == {
        "gateway_sync_runs_total ok": 4.0,
        "gateway_sync_objects_total changed": 3.0,
        "gateway_sync_objects_total removed": 1.0,
        "gateway_sync_objects_total repaired": 1.0,
        "gateway_sync_objects_total unclear": 1.0,
        "gateway_sync_requests_count": 4.0,
        "gateway_sync_requests_sum": float(len(site.requests())),
        "gateway_sync_age_seconds_count": 4.0,
        "gateway_sync_age_seconds_sum": 100.0 + 250.0 + 86_400.0,
    }
