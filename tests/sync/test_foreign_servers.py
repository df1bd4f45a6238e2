"""One pull suite for three servers: the look-alike, plain Radicale and Xandikos.

Nothing here knows which server it is; what is particular to iCloud is in ``test_pull``.
"""

import random
from contextlib import contextmanager
from zoneinfo import ZoneInfo

import pytest

from gateway.core.availability.merge import coalesce_rows
from gateway.core.errors import UpstreamUnreachable
from gateway.core.recurrence.expand import BusyRules, default_window, expand
from gateway.lookalike.server import Lookalike
from gateway.services.availability import free_busy
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.accounts import calendars
from gateway.store.accounts.accounts import Credential
from gateway.store.engine import lock_principal
from gateway.store.objects import collections, objects
from gateway.store.outbox import outbox
from gateway.sync.connect import ask_account, record_connection
from gateway.sync.scheduler import Worker
from tests.sync.conftest import EMAIL, NOW, ZONE, Site, create_principal, event, make_context
from tests.sync.upstreams import PASSWORD, USER, Foreign, Imitation, Upstream, foreign_server

SERVERS = ("lookalike", "radicale", "xandikos")
DAY = 86_400
OVERRIDE = [
    *("END:VEVENT", "BEGIN:VEVENT", "UID:series", "DTSTAMP:20260901T000000Z"),
    *("RECURRENCE-ID:20261008T090000Z", "DTSTART:20261008T150000Z", "DTEND:20261008T170000Z"),
    "SUMMARY:Later",
]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory):
    """The kind of server and, unless it is ours, where it listens."""
    if request.param == "lookalike":
        yield None
        return
    with foreign_server(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
async def site(server, sqlite_database, keyring, clock, tmp_path):
    """A connected account: calendar 0 is linked, 1 is a conflict calendar; nothing read yet."""
    if server is None:
        async with Lookalike(now=clock) as ours:
            account = ours.world.add_account(EMAIL)
            ours.world.faults.set("passed-untold", EMAIL)  # as the two others do
            credential = Credential(EMAIL, account.issue_app_password())
            async for made in connected(ours.url, credential, sqlite_database, keyring, clock):
                made.upstream = Imitation(account)
                yield made
        return
    port, home = server
    upstream = Foreign(port, home)
    url, credential = f"http://127.0.0.1:{port}/", Credential(USER, PASSWORD)
    async for made in connected(url, credential, sqlite_database, keyring, clock):
        made.upstream = upstream
        yield made
    upstream.close()


async def connected(url, credential, database, keyring, clock):
    settings = Settings(
        upstream_url=url,
        upstream_allow_loopback=True,
        upstream_requests_per_minute=100_000,
    )
    async for context in make_context(settings, database, keyring, clock):
        made = Site(
            server=None,
            account=None,
            password=credential.app_password,
            context=context,
            database=database,
            clock=clock,
            principal_id=create_principal(database),
        )
        found = await ask_account(settings, credential, wire=context.wire)
        connection = await record_connection(context, made.principal_id, credential, found)
        made.connection_id = connection.id
        yield made


@pytest.fixture
def upstream(site: Site) -> Upstream:
    """The phone; its calendars have their roles."""
    site.roles(linked=site.upstream.segments[0], conflicts=(site.upstream.segments[1],))
    return site.upstream


@pytest.fixture
async def filled(site: Site, upstream: Upstream) -> Upstream:
    """Events and a series with an override in both calendars, read once."""
    for calendar in (0, 1):
        for number in range(3):
            upstream.put(calendar, f"c{calendar}-{number}.ics", timed(calendar, number))
    upstream.put(0, "series.ics", series())
    assert (await site.sync()).ok
    assert_equal(site, upstream)
    return upstream


def timed(calendar: int, number: int, summary: str = "Dentist", *, later: int = 0) -> bytes:
    """One event of half an hour, some days later than it was at first."""
    hour = 8 + number * 2 + calendar
    day = f"202610{1 + number + later:02}T{hour:02}"
    return event(f"c{calendar}-{number}", f"{day}0000", f"{day}3000", summary=summary)


def series() -> bytes:
    rule = ("RRULE:FREQ=WEEKLY;BYDAY=TH;COUNT=5", "EXDATE:20261015T090000Z")
    return event("series", "20261001T090000", "20261001T100000", *rule, *OVERRIDE)


def assert_equal(site: Site, upstream: Upstream) -> None:
    """The mirrors hold what the phone shows, by name and text, and busy time follows from it."""
    rows = []
    for segment, truth in zip(upstream.segments, upstream.truth, strict=True):
        here = site.mirrored(segment)
        assert set(here) == set(truth)
        for name, body in truth.items():
            assert summaries(here[name].body) == summaries(body)
            found = expand(body, default_window(NOW), BusyRules(ZoneInfo(ZONE)))
            rows += [(one.busy_start, one.busy_end, one.fbtype) for one in found.instances]
    window = (NOW, NOW + 60 * DAY)
    principal = site.read(principals.get_principal, site.principal_id)
    said = site.read(free_busy, principal, window, now=int(site.clock.time))
    assert said.complete
    assert list(said.busy) == coalesce_rows(rows, window)


def summaries(body: bytes) -> list[bytes]:
    return sorted(line for line in body.splitlines() if line.startswith(b"SUMMARY"))


async def pull(site: Site, upstream: Upstream, *, after: float = 60):
    """Sync a while later; both sides are equal then."""
    site.clock.advance(after)
    report = await site.sync()
    assert report.ok
    assert_equal(site, upstream)
    return report


@pytest.mark.rule("R9")
async def test_an_idle_poll_is_one_request(site: Site, filled: Upstream) -> None:
    before = site.read(calendars.list_calendars, site.connection_id)
    report = await pull(site, filled)
    assert (report.requests, report.calendars) == (1, [])
    after = site.read(calendars.list_calendars, site.connection_id)
    assert [c.sync_token for c in after] == [c.sync_token for c in before]


@pytest.mark.rule("R9")
async def test_a_change_costs_a_listing_a_report_and_a_multiget(
    site: Site, filled: Upstream
) -> None:
    filled.put(1, "c1-0.ics", timed(1, 0, "Moved", later=9))
    report = await pull(site, filled)
    assert (report.requests, [c.changed for c in report.calendars]) == (3, [1])


@pytest.mark.rule("R9", "R11")
async def test_deletions_arrive_and_free_their_time(site: Site, filled: Upstream) -> None:
    filled.delete(0, "c0-1.ics")
    filled.delete(0, "series.ics")
    report = await pull(site, filled)
    assert [c.removed for c in report.calendars] == [2]


@pytest.mark.rule("R9")
async def test_deleted_and_made_again_under_its_name(site: Site, filled: Upstream) -> None:
    filled.delete(0, "c0-1.ics")
    filled.put(0, "c0-1.ics", timed(0, 1, "Anew", later=9))
    await pull(site, filled)
    filled.delete(0, "c0-1.ics")
    await pull(site, filled)
    filled.put(0, "c0-1.ics", timed(0, 1, "Once more", later=8))
    await pull(site, filled)


@pytest.mark.rule("R9")
async def test_moved_to_the_other_calendar_and_back(site: Site, filled: Upstream) -> None:
    filled.move(0, "series.ics", 1)
    await pull(site, filled)
    filled.move(1, "series.ics", 0)
    await pull(site, filled)


@pytest.mark.rule("R9", "R11")
async def test_a_token_nobody_knows_costs_nothing_but_a_listing(
    site: Site, filled: Upstream
) -> None:
    for segment in filled.segments:
        with site.database.write() as session:
            calendars.update_calendar(
                session, site.calendar(segment).id, sync_token="http://nowhere.test/sync/1"
            )
    filled.put(0, "c0-0.ics", timed(0, 0, "Changed", later=9))
    filled.delete(1, "c1-2.ics")
    filled.put(1, "new.ics", event("new", "20261020T090000", "20261020T100000"))
    report = await pull(site, filled)
    assert sum(c.changed for c in report.calendars) == 2
    assert sum(c.removed for c in report.calendars) == 1


@pytest.mark.rule("R9")
@pytest.mark.parametrize("at", range(2, 9))
async def test_a_first_sync_that_is_cut_goes_on(
    site: Site, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    for module in ("gateway.upstream.icloud", "gateway.sync.pull.fetch"):
        monkeypatch.setattr(f"{module}.MULTIGET_BATCH", 3)
    for calendar in (0, 1):
        for number in range(7):
            upstream.put(calendar, f"c{calendar}-{number}.ics", timed(calendar, number))
    with cut(site, at):
        report = await site.sync()
    assert report.problem == "upstream-unreachable"
    upstream.delete(0, "c0-3.ics")
    upstream.put(0, "c0-4.ics", timed(0, 4, "Meanwhile", later=9))
    await pull(site, upstream)


@contextmanager
def cut(site: Site, at: int):
    """Let no request pass from this one on."""
    send, sent = site.context.wire.request, []

    async def request(method, url, *more):
        sent.append(method)
        if len(sent) >= at:
            raise UpstreamUnreachable("Cut.")
        return await send(method, url, *more)

    site.context.wire.request = request
    yield
    site.context.wire.request = send
    assert len(sent) >= at


@pytest.mark.rule("R12")
async def test_once_a_day_what_is_wrong_here_is_repaired(site: Site, filled: Upstream) -> None:
    mirror = site.read(collections.find_mirror, site.calendar(filled.segments[0]).id)
    with site.database.write() as session:
        lock_principal(session, site.principal_id)
        locked = collections.lock_collection(session, mirror.id)
        objects.delete_objects(session, locked, ["c0-0.ics", "series.ics"], now=NOW)
    report = await pull(site, filled, after=DAY + 60)
    assert sum(c.repaired for c in report.calendars) == 2


@pytest.mark.rule("R11", "R12")
async def test_what_the_daily_comparison_found_first_can_go_again(
    site: Site, filled: Upstream
) -> None:
    filled.put(0, "brief.ics", event("brief"))
    await pull(site, filled, after=DAY + 60)
    filled.delete(0, "brief.ics")
    await pull(site, filled)


@pytest.mark.rule("R9", "R11")
async def test_what_a_pull_that_broke_off_had_read_can_go_again(
    site: Site, filled: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("gateway.upstream.icloud", "gateway.sync.pull.fetch"):
        monkeypatch.setattr(f"{module}.MULTIGET_BATCH", 3)
    before = set(site.mirrored(filled.segments[0]))
    for number in range(20, 27):
        filled.put(0, f"x-{number}.ics", event(f"x-{number}"))
    site.clock.advance(60)
    with cut(site, 5):
        assert (await site.sync()).problem == "upstream-unreachable"
    read = set(site.mirrored(filled.segments[0])) - before
    assert read
    for name in sorted(read):
        filled.delete(0, name)
    await pull(site, filled)


@pytest.mark.rule("R11")
async def test_a_calendar_is_gone_when_two_listings_lack_it(site: Site, filled: Upstream) -> None:
    held = set(filled.truth[1])
    filled.drop(1)
    report = await site.sync()
    assert (report.ok, "calendar-missing" in repr(report)) == (False, True)
    assert set(site.mirrored(filled.segments[1])) == held
    site.clock.advance(601)
    assert (await site.sync()).ok
    assert site.calendar(filled.segments[1]).state == "gone"
    assert_equal(site, filled)


@pytest.mark.rule("R9", "R12")
async def test_random_edits_between_syncs_arrive_whole(site: Site, upstream: Upstream) -> None:
    chance = random.Random(7)
    for turn in range(5):
        for _ in range(130 if turn == 0 else 8):
            calendar = chance.randrange(2)
            known = sorted(upstream.truth[calendar])
            what = chance.random() if known else 1.0
            if what < 0.2:
                upstream.delete(calendar, chance.choice(known))
            elif what < 0.3:
                upstream.move(calendar, chance.choice(known), 1 - calendar)
            else:
                fresh = f"e{calendar}-{chance.randrange(10**9)} ü.ics"
                name = chance.choice(known) if what < 0.5 else fresh
                day = f"202610{chance.randrange(1, 29):02}T{chance.randrange(8, 20):02}"
                uid, summary = name[:-4].replace(" ü", ""), f"S{chance.randrange(10**9)}"
                body = event(uid, f"{day}0000", f"{day}3000", summary=summary)
                upstream.put(calendar, name, body)
        await pull(site, upstream, after=100_000 if turn == 3 else 60)
    report = await pull(site, upstream)
    assert (report.requests, report.calendars) == (1, [])


@pytest.mark.rule("R13", "R17")
async def test_pushes_go_up_change_and_come_down(site: Site, upstream: Upstream) -> None:
    assert (await site.sync()).ok
    site.book()
    report = await site.sync()
    assert (report.pushed, report.ok) == (1, True)
    (row,) = site.ledger()
    assert row.state == "pushed"
    assert row.upstream_name not in site.mirrored(upstream.segments[0])
    site.book(body=event("local-1", "20261002T090000", "20261002T100000"))
    assert (await site.sync()).pushed == 1
    upstream.put(
        0, row.upstream_name, event(row.upstream_uid, "20261005T090000", "20261005T100000")
    )
    assert (await site.sync()).ok
    assert b"DTSTART:20261005T090000Z" in site.platform_object().body
    upstream.delete(0, row.upstream_name)
    assert (await site.sync()).ok
    assert [a.status for a in site.appointments()] == ["cancelled"]
    assert site.read(outbox.list_messages, site.principal_id) == []
    assert site.read(objects.list_problems, site.principal_id) == []


@pytest.mark.rule("R17")
async def test_a_push_that_is_deleted_there_before_any_pull_is_cancelled(
    site: Site, filled: Upstream
) -> None:
    site.clock.advance(60)
    site.book()
    await Worker(site.context)._push(site.connection_id)
    (row,) = site.ledger()
    assert row.state == "pushed"
    filled.put(0, row.upstream_name, event(row.upstream_uid))
    filled.delete(0, row.upstream_name)
    filled.delete(0, "c0-0.ics")  # else the other servers' tokens are what they were
    await pull(site, filled)
    assert [a.status for a in site.appointments()] == ["cancelled"]
