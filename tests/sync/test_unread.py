"""Members that iCloud lists and does not hand over: nobody else waits for them (R9)."""

import pytest

from gateway.core.availability.timeline import FreeBusy
from gateway.services.availability import free_busy
from gateway.store.access import principals
from gateway.store.accounts import members
from gateway.store.accounts.members import SET_ASIDE_AFTER_S
from gateway.sync.scheduler import Worker
from tests.sync.conftest import Site, event

pytestmark = pytest.mark.rule("R9")

GHOST = "ghost.ics"
DAY = 86_400


def unread(site: Site, calendar: str = "home") -> dict[str, members.UnreadMember]:
    return site.read(members.list_unread, site.calendar(calendar).id)


def availability(site: Site) -> FreeBusy:
    now = int(site.clock.time)
    with site.database.read() as session:
        person = principals.get_principal(session, site.principal_id)
        return free_busy(session, person, (now, now + 60 * DAY), now=now)


def home_source(site: Site):
    calendar_id = site.calendar("home").id
    return next(s for s in availability(site).sources if s.calendar == calendar_id)


async def pass_time(site: Site, worker: Worker, seconds: int, step: float = 1.0) -> None:
    """Let the worker do what falls due."""
    end = site.clock.time + seconds
    while site.clock.time < end:
        site.clock.advance(step)
        await worker.tick()
        await worker.idle()


FORMS = [
    {"status": 404},
    {"status": 0},
    {"status": 403},
    {"status": 500},
    {"status": 403, "listed": "error"},
    {"status": 500, "listed": "error"},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("stage", ["first", "later"])
async def test_a_ghost_stops_nobody(fresh_site: Site, form: dict, stage: str) -> None:
    site = fresh_site
    await site.connect()
    site.roles()
    if stage == "later":
        assert (await site.sync()).ok
    for number in range(7):
        site.account.put("home", event(f"good-{number}"))
    site.account.put("home", event("ghost"), GHOST)
    site.fault("ghost", member=GHOST, **form)
    report = await site.sync()
    assert [(c.catching_up, c.set_aside) for c in report.calendars if c.name == "Home"] == [(1, 0)]
    home = site.calendar("home")
    assert (home.state, home.problem, home.told_problem) == ("ok", None, "catching-up")
    assert (home.ctag, home.synced_at) == (home.listed_ctag, int(site.clock.time))
    assert set(site.mirrored("home")) == {f"good-{number}.ics" for number in range(7)}
    assert set(unread(site)) == {GHOST}
    said = availability(site)
    assert not said.complete
    assert not any(status == "unknown" for _, _, status in said.busy)
    assert (home_source(site).state, home_source(site).problem) == ("fresh", "catching-up")
    site.requests()
    assert (await site.sync()).problem is None
    assert site.requests() == ["PROPFIND"]  # not due yet: the token has moved on


async def test_a_ghost_is_asked_for_ever_more_rarely_then_daily(site: Site) -> None:
    site.fault("ghost", member=GHOST)
    site.account.put("home", event("ghost"), GHOST)
    begun = site.clock.time
    await site.sync()
    worker = Worker(site.context)
    site.mark = site.server.world.journal.last_seq
    await pass_time(site, worker, SET_ASIDE_AFTER_S + 30)
    asked = [
        entry.time - begun
        for entry in site.log(since=site.mark)
        if entry.report == "calendar-multiget"
    ]
    assert [round(at) for at in asked] == [5, 20, 80, 200, 440, 900]
    assert unread(site)[GHOST].state == "set-aside"
    home = site.calendar("home")
    assert (home.catching_up, home.set_aside, home.told_problem) == (0, 1, "member-set-aside")
    said = availability(site)
    assert said.complete
    assert home_source(site).problem == "member-set-aside"
    site.requests()
    await pass_time(site, worker, DAY, step=900)
    assert sum("multiget" in one for one in site.requests()) in (1, 2)  # and the daily comparison
    site.server.world.faults.clear("ghost")
    await pass_time(site, worker, DAY, step=900)
    assert set(site.mirrored("home")) == {GHOST}
    assert unread(site) == {}
    assert site.calendar("home").told_problem is None


async def test_a_ghost_that_is_handed_over_is_read_when_it_is_due(site: Site) -> None:
    site.fault("ghost", member=GHOST)
    site.account.put("home", event("ghost"), GHOST)
    await site.sync()
    site.server.world.faults.clear("ghost")
    await pass_time(site, Worker(site.context), 6)
    site.assert_mirror_equals("home")
    assert availability(site).complete
    assert unread(site) == {}


async def test_a_ghost_that_goes_away_is_forgotten(site: Site) -> None:
    site.fault("ghost", member=GHOST)
    site.account.put("home", event("ghost"), GHOST)
    await site.sync()
    site.account.delete("home", GHOST)
    await site.sync()
    assert unread(site) == {}
    assert availability(site).complete


async def test_a_ghost_that_is_no_longer_listed_is_forgotten_by_the_daily_comparison(
    site: Site,
) -> None:
    site.fault("ghost", member=GHOST)
    site.account.put("home", event("ghost"), GHOST)
    await site.sync()
    site.account.calendar("home").resources.pop(GHOST)  # without a word
    site.clock.advance(DAY)
    await site.sync()
    assert unread(site) == {}


async def test_the_version_here_stands_while_the_new_one_cannot_be_read(site: Site) -> None:
    site.account.put("home", event("a"), GHOST)
    await site.sync()
    before = availability(site).busy
    site.fault("ghost", member=GHOST)
    site.account.put("home", event("a", "20261002T090000", "20261002T100000"), GHOST)
    await site.sync()
    assert availability(site).busy == before
    assert not availability(site).complete
    site.clock.advance(SET_ASIDE_AFTER_S)
    await site.sync()
    assert unread(site)[GHOST].state == "set-aside"
    site.account.put("home", event("a", "20261003T090000", "20261003T100000"), GHOST)
    await site.sync()
    assert unread(site)[GHOST].state == "catching-up"  # another version begins anew


async def test_a_calendar_of_which_nothing_can_be_read_is_not_set_aside(site: Site) -> None:
    for number in range(30):
        site.account.put("home", event(f"e{number}"))
    site.fault("ghost", calendar="home")
    await site.sync()
    assert len(unread(site)) == 30
    for _ in range(4):
        site.clock.advance(SET_ASIDE_AFTER_S)
        await site.sync()
    assert {row.state for row in unread(site).values()} == {"catching-up"}
    assert not availability(site).complete
    site.server.world.faults.clear("ghost")
    await pass_time(site, Worker(site.context), 600, step=10)
    site.assert_mirror_equals("home")


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_an_appointment_that_cannot_be_read_stays_and_stops_nobody(
    site: Site, status: int
) -> None:
    site.book("one")
    await site.sync()
    (row,) = site.ledger()
    moved = site.account.get("home", row.upstream_name).replace(b"T090000Z", b"T080000Z")
    site.fault("ghost", member=row.upstream_name, status=status)
    site.account.put("home", moved, row.upstream_name)
    site.account.put("home", event("good"))
    await site.sync()
    assert "good.ics" in site.mirrored("home")
    assert set(unread(site)) == {row.upstream_name}
    assert [one.status for one in site.appointments()] == ["confirmed"]
    site.server.world.faults.clear("ghost")
    await pass_time(site, Worker(site.context), 6)
    assert unread(site) == {}
    assert b"T080000Z" in site.platform_object("one").body


async def test_an_appointment_said_to_be_gone_and_listed_is_caught_up_with(site: Site) -> None:
    """A 404 row in sync-collection and a listing that contradict each other stall nothing."""
    site.book("one")
    await site.sync()
    (row,) = site.ledger()
    site.fault("ghost", member=row.upstream_name, listed="error", method="REPORT")
    site.account.put("home", site.account.get("home", row.upstream_name), row.upstream_name)
    site.account.put("home", event("good"))
    await site.sync()
    assert "good.ics" in site.mirrored("home")
    assert [one.status for one in site.appointments()] == ["confirmed"]


@pytest.mark.parametrize("name", ["a%2Fb.ics", "a%252Fb.ics", "100%.ics", "a%41.ics", "ü%2f.ics"])
async def test_names_with_percent_signs_are_no_ghosts(site: Site, name: str) -> None:
    site.account.put("home", event("odd"), name)
    assert (await site.sync()).ok
    assert len(site.mirrored("home")) == 1
    site.account.put("home", event("odd", summary="Changed"), name)
    assert (await site.sync()).ok
    (held,) = site.mirrored("home").values()
    assert b"Changed" in held.body
    site.account.delete("home", name)
    assert (await site.sync()).ok
    assert site.mirrored("home") == {}


async def test_ghosts_leave_with_their_calendar(site: Site) -> None:
    site.fault("ghost", member=GHOST)
    site.account.put("work", event("ghost"), GHOST)
    await site.sync()
    assert unread(site, "work")
    site.account.drop_calendar("work")
    await site.sync()
    site.clock.advance(600)
    await site.sync()
    assert unread(site, "Work") == {}
    assert availability(site).complete


async def test_a_first_sync_that_reads_next_to_nothing_is_not_over(fresh_site: Site) -> None:
    """Reads that lag behind the listing of a new calendar leave its time unknown, not free."""
    site = fresh_site
    for number in range(3):
        site.account.put("home", event(f"e{number}"))
    site.fault("ghost", calendar="home")
    await site.connect()
    site.roles()
    await site.sync()
    home = site.calendar("home")
    assert (home.state, home.told_problem) == ("syncing", "catching-up")
    assert any(status == "unknown" for _, _, status in availability(site).busy)
    site.clock.advance(SET_ASIDE_AFTER_S)
    await site.sync()
    home = site.calendar("home")
    assert (home.state, home.told_problem) == ("ok", "member-set-aside")
    assert availability(site).complete


@pytest.mark.rule("R11")
async def test_what_could_not_be_asked_for_keeps_the_old_token(site: Site) -> None:
    """A multiget that answers nothing: ten members of a batch are asked for singly, no more."""
    site.fault("multiget-fewer", keep=0)
    for number in range(24):
        site.account.put("home", event(f"e{number}"))
    await site.sync()
    home = site.calendar("home")
    assert len(site.mirrored("home")) == 10
    assert (home.problem, home.ctag == home.listed_ctag) == ("incomplete-answer", False)
    assert unread(site) == {}
    await site.sync()
    await site.sync()
    site.assert_mirror_equals("home")
    assert site.calendar("home").problem is None


@pytest.mark.rule("R11")
@pytest.mark.parametrize("skip", [0, 1])
async def test_a_report_without_the_rows_that_moved_it_is_cross_checked(
    site: Site, skip: int
) -> None:
    """The home says that it moved, the report says nothing: all ETags are compared."""
    site.account.put("home", event("a"))
    assert (await site.sync()).ok
    site.account.put("home", event("b"))
    site.fault("sync-empty", times=1 + skip)
    await site.sync()
    assert set(site.mirrored("home")) == {"a.ics", "b.ics"}
