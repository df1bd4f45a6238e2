"""Objects over CalDAV: what is put comes back, on both databases."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from gateway.core.ical.objects import parse_calendar_object
from gateway.core.intervals import DAY
from gateway.core.recurrence.expand import default_window, expand
from gateway.core.recurrence.model import BusyRules
from gateway.store.access.principals import update_principal
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import get_collection
from gateway.store.objects.objects import PreparedObject, save_object
from tests.storage_plugin.conftest import DAY0, World, at, now
from tests.storage_plugin.dav import Answer, C, D, event
from tests.store.rows import busy_rows


def test_a_body_comes_back_byte_for_byte_with_its_etag(world):
    body = event("one", at(9), at(10), "X-APPLE-STRUCTURED-LOCATION;X-TITLE=A:geo:37.33,-122.03")
    put = world.device.put(f"{world.platform_path}one.ics", body)
    got = world.device.get(f"{world.platform_path}one.ics")
    assert (put.status, got.status, got.body) == (201, 200, body)
    assert put.etag == got.etag


@pytest.mark.rule("R20")
def test_a_mirror_is_read_only_and_says_so(world):
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    path = f"{world.mirror_path}a.ics"
    for answer in (
        world.device.put(path, event("a", at(11), at(12))),
        world.device.delete(path),
        world.platform.put(f"{world.mirror_path}new.ics", event("n", at(11), at(12))),
    ):
        assert (answer.status, answer.conditions) == (403, [f"{D}need-privileges"])
    assert world.device.get(path).body == event("a", at(9), at(10))
    props = world.device.propfind(world.mirror_path, "d:current-user-privilege-set")
    privileges = props.props(world.mirror_path)[f"{D}current-user-privilege-set"]
    assert [node[0].tag for node in privileges] == [
        f"{D}read",
        f"{D}read-current-user-privilege-set",
        f"{C}read-free-busy",
    ]


@pytest.mark.rule("R21")
def test_sync_tells_each_change_once(world):
    device, path = world.device, world.platform_path
    token = device.sync(path).xml.findtext(f"{D}sync-token")
    device.put(f"{path}one.ics", event("one", at(9), at(10)))
    first = device.sync(path, token)
    assert first.hrefs == [f"{path}one.ics"]
    token = first.xml.findtext(f"{D}sync-token")
    assert device.sync(path, token).hrefs == []
    device.delete(f"{path}one.ics")
    last = device.sync(path, token)
    assert last.hrefs == [f"{path}one.ics"]
    assert [s.text for s in last.xml.iter(f"{D}status")] == ["HTTP/1.1 404 Not Found"]


@pytest.fixture
def meanwhile(world: World) -> Iterator[Callable]:
    """Send a request while another unit holds the person; returns its answer.

    ``change`` runs in that unit, after the request has come as far as the lock lets it.
    """
    with ThreadPoolExecutor(1) as pool:

        def send(request: Callable[[], Answer], change: Callable[[Session], object]) -> Answer:
            with world.database.write() as session:
                lock_principal(session, world.principal_id)
                running = pool.submit(request)
                _wait_for_the_lock(world, session)
                change(session)
            return running.result()

        yield send


def _wait_for_the_lock(world: World, session: Session) -> None:
    """Return when somebody waits for this unit; where nobody can be seen waiting, after a while."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    )
    for _ in range(50):
        if not world.database.is_sqlite and session.execute(waiting).scalar_one():
            return
        time.sleep(0.02 if not world.database.is_sqlite else 0.004)


@pytest.mark.rule("R21")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "MOVE"])
def test_a_condition_is_checked_against_what_a_rival_has_just_written(world, meanwhile, method):
    path, body = f"{world.platform_path}one.ics", event("one", at(9), at(10))
    etag = world.device.put(path, body).etag
    theirs = event("one", at(11), at(12), summary="Theirs")
    requests = {
        "PUT": lambda: world.device.put(path, body, **{"If-Match": etag}),
        "DELETE": lambda: world.device.delete(path, **{"If-Match": etag}),
        "MOVE": lambda: world.device.move(
            path, f"{world.platform_path}two.ics", **{"If-Match": etag}
        ),
    }
    parsed = parse_calendar_object(theirs)
    expansion = expand(theirs, default_window(now()), BusyRules(ZoneInfo("Europe/Berlin")))
    stored = world.object("one.ics")

    def rival(session: Session) -> None:
        collection = get_collection(session, stored.collection_id)
        prepared = PreparedObject(
            "one.ics", "one", stored.kind, "VEVENT", parsed.etag, theirs, expansion
        )
        save_object(session, collection, prepared, now=now())

    assert meanwhile(requests[method], rival).status == 412
    assert world.object("one.ics").body == theirs


@pytest.mark.rule("R23")
def test_an_event_put_while_its_owner_moves_to_another_zone_is_read_in_the_new_one(
    world, meanwhile
):
    day = DAY0.strftime("%Y%m%d")
    body = event("day", "X", "", "TRANSP:OPAQUE").replace(
        b"DTSTART:X", f"DTSTART;VALUE=DATE:{day}".encode()
    )
    answer = meanwhile(
        lambda: world.device.put(f"{world.platform_path}day.ics", body),
        lambda session: update_principal(
            session, world.principal_id, {"time_zone": "America/New_York"}
        ),
    )
    assert answer.status == 201
    with world.database.read() as session:
        around = (int(DAY0.timestamp()) - DAY, int(DAY0.timestamp()) + 3 * DAY)
        collection = world.object("day.ics").collection_id
        found = busy_rows(session, world.principal_id, around, [collection])
    midnight = DAY0.replace(tzinfo=ZoneInfo("America/New_York"))
    assert [start for start, *_ in found] == [int(midnight.timestamp())]
