"""Beyond the rolling window: CalDAV asks the worker through the database and knows what JSON knows.

The worker here is the real one's loop over the same database, in a thread of its own, as it would
be in another process (R23, R25, R27).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.core.intervals import DAY
from gateway.core.recurrence.expand import BusyRules, default_window, expand
from gateway.services.availability import free_busy
from gateway.services.overlaps import overlaps_of
from gateway.store.access.principals import get_principal, update_principal
from gateway.store.accounts.accounts import Keyring
from gateway.store.objects.objects import get_coverage
from gateway.store.threads import StoreThreads
from gateway.sync.context import SyncContext
from gateway.sync.windows import extend_asked, extend_wanted
from tests.storage_plugin.conftest import World, now
from tests.storage_plugin.dav import event

HOUR = 3600


@pytest.fixture
def keyring(tmp_path) -> Keyring:
    return Keyring.create(tmp_path / "keyring.json")


@contextmanager
def working(world: World, keyring: Keyring) -> Iterator[None]:
    """A worker on the database of this world."""
    stop = threading.Event()

    async def work() -> None:
        threads = StoreThreads(world.database)
        context = SyncContext(world.settings, threads, keyring)
        while not stop.is_set():
            await extend_asked(context)
            await asyncio.sleep(0.01)
        await context.close()
        threads.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer than the second that a client waits."""
    monkeypatch.setattr("storage_plugin.reports.beyond_window.WAIT_S", 30)


def stamp(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%dT%H%M%SZ")


def midnight(days: int) -> int:
    return now() - now() % DAY + days * DAY


def daily(uid: str, start: int, *more: str) -> bytes:
    return event(uid, stamp(start), stamp(start + HOUR), "RRULE:FREQ=DAILY", *more)


def covered(world: World) -> tuple[int, int]:
    with world.database.read() as session:
        found = get_coverage(session, world.principal_id)
    assert found is not None
    return found


def of_engine(world: World, window: tuple[int, int]) -> list[str]:
    """What the JSON face says, as VFREEBUSY periods."""
    with world.database.read() as session:
        person = get_principal(session, world.principal_id)
        found = free_busy(session, person, window, now=now())
    assert found.complete
    return [f"{stamp(start)}/{stamp(end)}" for start, end, _status in found.busy]


def periods(text: str) -> list[str]:
    lines = text.replace("\r\n ", "").split("\r\n")
    return [
        one for ln in lines if ln.startswith("FREEBUSY") for one in ln.split(":", 1)[1].split(",")
    ]


@pytest.mark.rule("R22", "R23", "R25")
@pytest.mark.parametrize("days", [500, -200], ids=["ahead", "back"])
def test_a_report_beyond_the_window_knows_what_json_knows(local_world, keyring, days):
    world, start = local_world, midnight(days)
    assert world.device.put(f"{world.platform_path}d.ics", daily("d", midnight(-300))).status == 201
    with working(world, keyring):
        answer = world.device.freebusy(world.home, stamp(start), stamp(start + 4 * DAY))
    assert periods(answer.text) == of_engine(world, (start, start + 4 * DAY))
    assert len(periods(answer.text)) == 4
    low, high = covered(world)
    assert low <= start
    assert start + 4 * DAY <= high


@pytest.mark.rule("R25")
def test_without_a_worker_that_part_is_unknown_after_a_moment(local_world, monkeypatch):
    monkeypatch.setattr("storage_plugin.reports.beyond_window.WAIT_S", 0.1)
    world, start = local_world, midnight(500)
    world.device.put(f"{world.platform_path}d.ics", daily("d", midnight(0)))
    began = time.monotonic()
    answer = world.device.freebusy(world.home, stamp(start), stamp(start + DAY))
    assert time.monotonic() - began < 5
    assert periods(answer.text) == [f"{stamp(start)}/{stamp(start + DAY)}"]


@pytest.mark.rule("R25")
def test_over_five_years_nobody_waits_and_it_is_unknown(local_world, keyring):
    world, start = local_world, midnight(6 * 366)
    world.device.put(f"{world.platform_path}d.ics", daily("d", midnight(0)))
    answer = world.device.freebusy(world.home, stamp(start), stamp(start + DAY))
    assert periods(answer.text) == [f"{stamp(start)}/{stamp(start + DAY)}"]
    assert covered(world) == default_window(now())


@pytest.mark.rule("R25", "R27")
def test_a_far_booking_waits_and_what_is_known_stays_known(local_world, keyring):
    world, far = local_world, midnight(500)
    put = world.platform.put
    assert world.device.put(f"{world.platform_path}d.ics", daily("d", midnight(0))).status == 201
    with working(world, keyring):
        taken = put(f"{world.platform_path}a.ics", event("a", stamp(far), stamp(far + HOUR)))
        assert (taken.status, "slot-taken" in taken.text) == (409, True)
        free = event("b", stamp(far + 2 * HOUR), stamp(far + 3 * HOUR))
        assert put(f"{world.platform_path}b.ics", free).status == 201
    horizon = covered(world)
    assert horizon[1] >= far + 3 * HOUR
    for name, start in (("c", midnight(3)), ("e", midnight(700))):  # written without a worker
        body = event(name, stamp(start + 5 * HOUR), stamp(start + 6 * HOUR))
        assert world.device.put(f"{world.platform_path}{name}.ics", body).status == 201
    body = daily("f", midnight(2) + 8 * HOUR)
    assert world.device.put(f"{world.platform_path}f.ics", body).status == 201
    assert covered(world) == horizon
    window = (far, far + DAY)
    answer = world.device.freebusy(world.home, *map(stamp, window))
    assert periods(answer.text) == of_engine(world, window)
    assert len(periods(answer.text)) == 3


@pytest.mark.rule("R27")
@pytest.mark.parametrize("edited", [False, True], ids=["new", "single becomes series"])
def test_a_series_never_lands_on_what_is_booked_beyond_the_window(
    local_world, keyring, monkeypatch, edited
):
    world, far = local_world, midnight(490)
    put: Callable[..., object] = world.platform.put
    path = f"{world.platform_path}series.ics"
    first = midnight(490 - 70 * 7) + 9 * HOUR + 7 * DAY
    weekly = event("s", stamp(first), stamp(first + HOUR), "RRULE:FREQ=WEEKLY")
    with working(world, keyring):
        booked = event("x", stamp(far + 9 * HOUR), stamp(far + 10 * HOUR))
        assert put(f"{world.platform_path}x.ics", booked).status == 201
        if edited:
            assert put(path, event("s", stamp(first), stamp(first + HOUR))).status == 201
        answer = put(path, weekly)
        assert (answer.status, "slot-taken" in answer.text) == (409, True)
        beside = weekly.replace(b"BYDAY", b"BYDAY")
        later = event("s", stamp(first + HOUR), stamp(first + 2 * HOUR), "RRULE:FREQ=WEEKLY")
        assert put(path, later).status in (201, 204), beside
        renamed = later.replace(b"END:VEVENT", b"SUMMARY:New\r\nEND:VEVENT")
        assert put(path, renamed).status == 204
    # Where nobody expands it is refused, not sold.
    monkeypatch.setattr("storage_plugin.reports.beyond_window.WAIT_S", 0.1)
    beyond = event("y", stamp(midnight(900)), stamp(midnight(900) + HOUR))
    assert world.device.put(f"{world.platform_path}y.ics", beyond).status == 201
    other = event("t", stamp(first + 4 * HOUR), stamp(first + 5 * HOUR), "RRULE:FREQ=WEEKLY")
    refused = put(f"{world.platform_path}t.ics", other)
    assert (refused.status, "availability-unknown" in refused.text) == (409, True)


@pytest.mark.rule("R22")
def test_a_query_beyond_the_window_returns_what_matches_and_nothing_else(local_world, keyring):
    world = local_world
    near, far = midnight(10), midnight(500)
    for name, body in (
        ("single", event("single", stamp(near), stamp(near + HOUR))),
        ("far", event("far", stamp(far), stamp(far + HOUR))),
        ("farther", event("farther", stamp(far + 90 * DAY), stamp(far + 90 * DAY + HOUR))),
        ("daily", daily("daily", near)),
        ("ended", event("ended", stamp(near), stamp(near + HOUR), "RRULE:FREQ=DAILY;COUNT=3")),
        ("weekly", event("weekly", stamp(far + DAY), stamp(far + DAY + HOUR), "RRULE:FREQ=WEEKLY")),
    ):
        assert world.device.put(f"{world.platform_path}{name}.ics", body).status == 201
    bounds = f"start='{stamp(far)}' end='{stamp(far + 2 * HOUR)}'"
    inner = f"<c:time-range {bounds}/>"
    expanding = f"<c:calendar-data><c:expand {bounds}/></c:calendar-data>"
    with working(world, keyring):
        for data in ("<c:calendar-data/>", expanding):
            answer = world.device.query(world.platform_path, inner, data=data)
            names = {href.rsplit("/", 1)[1] for href in answer.hrefs}
            assert names == {"far.ics", "daily.ics"}
            assert answer.text.count("BEGIN:VEVENT") == 2


def test_the_rules_of_expansion_are_those_of_the_person(local_world, keyring):
    """What is expanded on demand reads floating times as everything else does."""
    world, far = local_world, midnight(500)
    body = event("f", "X", "Y", "RRULE:FREQ=DAILY").replace(
        b"DTSTART:X", b"DTSTART:20260101T090000"
    )
    body = body.replace(b"DTEND:Y", b"DTEND:20260101T100000")
    assert world.device.put(f"{world.platform_path}f.ics", body).status == 201
    with working(world, keyring):
        answer = world.device.freebusy(world.home, stamp(far), stamp(far + 3 * DAY))
    with world.database.read() as session:
        zone = ZoneInfo(get_principal(session, world.principal_id).time_zone)
    wanted = expand(body, (far, far + 3 * DAY), BusyRules(zone)).instances
    assert periods(answer.text) == [f"{stamp(i.start)}/{stamp(i.end)}" for i in wanted]


@pytest.mark.rule("R27")
def test_what_a_new_zone_lays_on_an_appointment_is_listed(local_world, keyring):
    world, noon = local_world, midnight(3) + 12 * HOUR
    floating = event("f", "X", "Y").replace(b"DTSTART:X", f"DTSTART:{stamp(noon)[:-1]}".encode())
    floating = floating.replace(b"DTEND:Y", f"DTEND:{stamp(noon + HOUR)[:-1]}".encode())
    assert world.platform.put(f"{world.platform_path}f.ics", floating).status == 201
    there = event("z", stamp(noon), stamp(noon + HOUR))  # where noon is in UTC, not in Berlin
    assert world.device.put(f"{world.platform_path}z.ics", there).status == 201

    def listed() -> list[tuple[int, int]]:
        with world.database.read() as session:
            return [span for _, span in overlaps_of(session, world.principal_id, now=now())]

    async def expand_anew() -> None:
        threads = StoreThreads(world.database)
        context = SyncContext(world.settings, threads, keyring)
        assert await extend_wanted(context, world.principal_id)
        await context.close()
        threads.close()

    assert listed() == []
    with world.database.write() as session:
        update_principal(session, world.principal_id, {"time_zone": "UTC"})
    asyncio.run(expand_anew())
    assert listed() == [(noon, noon + HOUR)]
