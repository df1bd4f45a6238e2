"""A long first sync: the near future first, the rest unknown, and on after an interruption."""

import pytest

from gateway.services.availability import free_busy
from gateway.store.access import principals
from gateway.sync.pull import calendar as pull
from tests.sync.conftest import NOW, Site, event

DAY = 86_400
FAR, NEAR = 260, 40


def stamp(days: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(NOW - NOW % DAY + days * DAY + 9 * 3600, UTC).strftime(
        "%Y%m%dT%H%M%S"
    )


@pytest.fixture
async def large(fresh_site: Site) -> Site:
    """A calendar with few events soon and many long ago, named so that the old come first."""
    for number in range(FAR):
        start = stamp(-400 + number)
        fresh_site.account.put("home", event(f"a{number}", start, start[:9] + "100000"))
    for number in range(NEAR):
        start = stamp(1 + 2 * number)
        fresh_site.account.put("home", event(f"z{number}", start, start[:9] + "100000"))
    await fresh_site.connect()
    fresh_site.roles(conflicts=())
    fresh_site.requests()
    return fresh_site


def availability(site: Site, first_day: int, days: int):
    start = NOW - NOW % DAY + first_day * DAY
    with site.database.read() as session:
        principal = principals.get_principal(session, site.principal_id)
        return free_busy(session, principal, (start, start + days * DAY), now=NOW)


class Died(BaseException):
    """The end of the process, as far as the run can see."""


class Crashed(Exception):
    """What nobody foresaw."""


ENDS = pytest.mark.parametrize("end", [Died, Crashed])


async def sync_until(site: Site, end: type[BaseException]) -> None:
    """Sync until the run is ended; a crash of one calendar is told and raised no further."""
    if issubclass(end, Exception):
        report = await site.sync()
        assert report.problem == site.calendar("home").problem == "run-crashed"
        return
    with pytest.raises(end):
        await site.sync()


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int, end: type[BaseException]) -> None:
    original = pull._mirror_batch
    count = iter(range(1000))

    async def until_then(*args, **kwargs):
        if next(count) >= batches:
            raise end
        return await original(*args, **kwargs)

    monkeypatch.setattr(pull, "_mirror_batch", until_then)


@ENDS
@pytest.mark.rule("R9", "R25")
async def test_the_next_months_are_answered_before_the_first_sync_is_over(
    large: Site, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    assert not availability(large, 0, 30).complete
    with monkeypatch.context() as patch:
        stop_after(patch, 1, end)
        await sync_until(large, end)
    calendar = large.calendar("home")
    assert (calendar.state, calendar.synced_at) == ("syncing", None)
    assert (calendar.progress_done, calendar.progress_total) == (50, FAR + NEAR)
    assert {f"z{n}.ics" for n in range(NEAR)} < set(large.mirrored("home"))
    soon = availability(large, 0, 92)
    assert soon.complete
    assert len(soon.busy) == NEAR
    assert [source.state for source in soon.sources][-1] == "syncing"
    assert not availability(large, -30, 60).complete
    assert not availability(large, 80, 30).complete


@ENDS
@pytest.mark.rule("R9")
async def test_an_interrupted_first_sync_goes_on_where_it_stopped(
    large: Site, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 3, end)
        await sync_until(large, end)
    held = len(large.mirrored("home"))
    assert held == 150
    large.requests()
    assert (await large.sync()).ok
    asked = large.requests()
    asked = asked[asked.index("PROPFIND") :]  # a batch read ahead by the run that was stopped
    assert asked.count("REPORT calendar-multiget") == (FAR + NEAR - held) // 50
    large.assert_mirror_equals("home")
    calendar = large.calendar("home")
    assert (calendar.state, calendar.reached_until) == ("ok", None)
    assert availability(large, -30, 300).complete


@ENDS
@pytest.mark.row(17)
@pytest.mark.parametrize("fault", ["status", "empty-multistatus"])
async def test_without_a_usable_query_nothing_is_promised_and_all_is_read(
    large: Site, monkeypatch: pytest.MonkeyPatch, fault: str, end: type[BaseException]
) -> None:
    # The second REPORT is the query by time range.
    large.fault(fault, calendar="home", method="REPORT", skip=1, times=1)
    with monkeypatch.context() as patch:
        stop_after(patch, 1, end)
        await sync_until(large, end)
    assert large.calendar("home").reached_until is None
    assert not availability(large, 0, 30).complete
    assert (await large.sync()).ok
    large.assert_mirror_equals("home")


async def test_a_short_first_sync_asks_nothing_more(fresh_site: Site) -> None:
    for number in range(60):
        fresh_site.account.put("home", event(f"a{number}"))
    await fresh_site.connect()
    fresh_site.roles(conflicts=())
    fresh_site.requests()
    await fresh_site.sync()
    multiget = "REPORT calendar-multiget"
    assert fresh_site.requests() == ["PROPFIND", "REPORT sync-collection", multiget, multiget]
