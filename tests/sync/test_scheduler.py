"""Who is synced when: due times, back-off, leases, revoked passwords, outages (R4)."""

import asyncio
from itertools import pairwise

import pytest

from gateway.core.errors import StateConflict
from gateway.store.accounts import accounts, leases
from gateway.store.outbox import outbox
from gateway.sync import run as account
from gateway.sync.connect import connect, pause
from gateway.sync.lease import leased
from gateway.sync.scheduler import Worker, sync_account
from tests.sync.conftest import Site, create_principal, event, make_context

HOUR = 3600


def due_in(site: Site) -> float:
    return site.connection().next_sync_at - site.clock.time


async def run_due(site: Site) -> int:
    worker = Worker(site.context)
    started = await worker.tick()
    await worker.idle()
    return started


async def test_idle_accounts_are_due_in_3_to_5_minutes_active_ones_in_30_to_40_s(
    site: Site,
) -> None:
    delays = []
    for _ in range(20):
        await site.sync()
        delays.append(due_in(site))
    assert all(180 <= delay <= 300 for delay in delays)
    assert max(delays) - min(delays) > 10
    with site.database.write() as session:
        accounts.update_connection(
            session, site.connection_id, active_until=int(site.clock.time) + 600
        )
    for _ in range(20):
        await site.sync()
        assert 30 <= due_in(site) <= 40


async def test_only_due_accounts_are_run(site: Site) -> None:
    assert await run_due(site) == 0
    site.clock.advance(due_in(site))
    assert await run_due(site) == 1
    assert site.requests() == ["PROPFIND"]
    assert await run_due(site) == 0
    site.roles(linked="home", conflicts=("work", "Family"))
    assert await run_due(site) == 1
    assert site.calendar("Family").state == "ok"


@pytest.mark.rule("R16")
async def test_the_outbox_is_looked_at_whatever_the_due_time(site: Site) -> None:
    site.book()
    assert await run_due(site) == 1
    assert site.requests() == ["PUT", "GET"]
    assert due_in(site) > 100
    assert await run_due(site) == 0


@pytest.mark.parametrize("form", ["503", "503-bare", "429", "html-502"])
async def test_back_off_grows_is_kept_and_ends(site: Site, form: str) -> None:
    site.fault("throttle", form=form, block=10_000, retry_after=5)
    delays = []
    for _ in range(7):
        site.clock.advance(max(0, due_in(site)))
        assert await run_due(site) == 1
        delays.append(due_in(site))
    assert 25 <= delays[0] <= 35
    assert all(later > 1.5 * earlier for earlier, later in pairwise(delays[:5]))
    assert delays[-1] <= 1000
    assert site.connection().failures == 7
    assert site.connection().problem in ("upstream-throttled", "upstream-unreachable")
    assert len(site.requests()) == 7
    site.server.world.faults.clear("throttle")
    site.clock.advance(due_in(site))
    await run_due(site)
    assert (site.connection().failures, site.connection().problem) == (0, None)
    assert 180 <= due_in(site) <= 300


async def test_back_off_survives_a_restart(site: Site, keyring) -> None:
    site.fault("throttle", form="503", block=10_000, retry_after=100)
    site.clock.advance(due_in(site))
    assert await run_due(site) == 1
    site.requests()
    waits = due_in(site)
    assert 180 <= waits <= 220
    async for restarted in make_context(site.context.settings, site.database, keyring, site.clock):
        worker = Worker(restarted)
        site.clock.advance(waits - 1)
        assert (await worker.tick(), site.requests()) == (0, [])
        site.clock.advance(1)
        assert await worker.tick() == 1
        await worker.idle()
        assert site.connection().failures == 2
        assert len(site.requests()) == 1
        assert due_in(site) > 180


@pytest.mark.row(7)
@pytest.mark.rule("R4")
async def test_a_revoked_password_stops_polling_after_three_single_probes(site: Site) -> None:
    site.account.put("home", event("kept"))
    await site.sync()
    site.account.revoke()
    site.requests()
    delays = []
    for _ in range(4):
        site.clock.advance(max(0, due_in(site)))
        assert await run_due(site) == 1
        delays.append(due_in(site))
    assert delays[:3] == [900, 2 * HOUR, 24 * HOUR]
    assert delays[3] > 365 * 24 * HOUR
    assert site.requests() == ["PROPFIND"] * 4
    connection = site.connection()
    assert (connection.state, connection.problem) == ("credential-revoked", "credential-rejected")
    assert set(site.mirrored("home")) == {"kept.ics"}
    assert site.calendar("home").state == "ok"
    assert connection.synced_at < site.clock.time - 24 * HOUR


@pytest.mark.rule("R4")
async def test_a_probe_that_succeeds_brings_the_account_back(site: Site) -> None:
    site.fault("calendar-switched-off")
    site.book()
    site.clock.advance(due_in(site))
    await run_due(site)
    assert site.connection().state == "credential-revoked"
    assert await run_due(site) == 0
    site.server.world.faults.clear("calendar-switched-off")
    site.account.put("home", event("new"))
    site.clock.advance(900)
    assert await run_due(site) == 1
    assert site.connection().state == "ok"
    assert set(site.mirrored("home")) == {"new.ics"}
    await run_due(site)
    assert site.ledger()[0].state == "pushed"


@pytest.mark.rule("R4")
@pytest.mark.parametrize(("refused", "dead"), [(3, 0), (2, 2)])
async def test_many_401s_at_once_are_an_outage_and_nobody_is_declared_dead(
    site: Site, refused: int, dead: int
) -> None:
    connections = [site.connection_id]
    world = site.server.world
    for number in range(10):
        account = world.add_account(f"a{number}@icloud.com")
        principal_id = create_principal(site.database)
        made = await connect(
            site.context, principal_id, account.email, account.issue_app_password()
        )
        connections.append(made.id)
    for number in range(refused):
        world.faults.set("calendar-switched-off", f"a{number}@icloud.com")
    site.clock.advance(HOUR)
    for connection_id in reversed(connections[1:]):
        await sync_account(site.context, connection_id)
    await site.sync()
    states = [site.read(accounts.get_connection, c).state for c in connections]
    assert states.count("credential-revoked") == dead
    if not dead:
        problems = [site.read(accounts.get_connection, c).problem for c in connections]
        assert problems.count("upstream-outage") == refused
        due = [site.read(accounts.get_connection, c).next_sync_at for c in connections]
        assert all(site.clock.time < at < site.clock.time + 1000 for at in due)


# --- leases and single flight ---


async def test_callers_that_wait_share_a_run_and_a_later_caller_gets_a_new_one(site: Site) -> None:
    worker = Worker(site.context)
    await asyncio.gather(*(worker.sync_now(site.connection_id) for _ in range(5)))
    assert site.requests() == ["PROPFIND"]
    site.account.put("home", event("a"))
    await worker.sync_now(site.connection_id)
    assert set(site.mirrored("home")) == {"a.ics"}


async def test_two_processes_never_work_on_one_account(site: Site, keyring) -> None:
    async for other in make_context(site.context.settings, site.database, keyring, site.clock):
        assert other.owner != site.context.owner
        site.fault("slow", by=0.2)
        first = asyncio.create_task(site.sync())
        while site.connection().id and not _leased(site):
            await asyncio.sleep(0.005)
        with pytest.raises(StateConflict):
            async with leased(other, site.connection_id, wait_s=0):
                raise AssertionError
        second = asyncio.create_task(sync_account(other, site.connection_id))
        reports = await asyncio.gather(first, second)
        assert [report.ok for report in reports] == [True, True]
        site.clock.advance(HOUR)
        workers = [Worker(site.context), Worker(other)]
        assert sum(await asyncio.gather(*(worker.tick() for worker in workers))) == 1
        for worker in workers:
            await worker.idle()


def _leased(site: Site) -> bool:
    with site.database.read() as session:
        until = session.exec_driver_sql("SELECT lease_until FROM connections").scalar()
    return until > site.clock.time


async def test_a_dead_processs_accounts_are_taken_over_when_the_lease_runs_out(
    site: Site,
) -> None:
    site.clock.advance(HOUR)
    with site.database.write() as session:
        assert leases.claim_due(
            session, owner="killed", now=site.clock.time, lease_s=60, limit=5
        ) == [site.connection_id]
    assert await run_due(site) == 0
    site.clock.advance(60)
    assert await run_due(site) == 1
    assert (site.connection().failures, site.connection().problem) == (0, None)


def _claim(site: Site, owner: str) -> list[str]:
    with site.database.write() as session:
        return leases.claim_due(
            session,
            owner=owner,
            now=site.clock.time,
            lease_s=60,
            limit=5,
            backoff=lambda failures: 100.0 * failures,
        )


@pytest.mark.rule("R45")
async def test_a_run_that_killed_its_process_is_a_failed_run_and_backs_off(site: Site) -> None:
    """What was well before is taken over at once: mostly it was the machine that died."""
    site.clock.advance(HOUR)
    synced_at = site.connection().synced_at
    for failures, waits in ((0, 0), (1, 0), (2, 200), (3, 300)):
        site.clock.advance(waits)
        assert _claim(site, f"killed-{failures}") == [site.connection_id]
        found = site.connection()
        assert (found.state, found.failures, found.synced_at) == ("ok", failures, synced_at)
        assert found.problem == ("run-crashed" if failures else None)
        site.clock.advance(60)
        if failures:
            assert _claim(site, "another") == []  # it rests now, and its lease is nobody's
            assert site.connection().next_sync_at == site.clock.time + 100 * (failures + 1)
            assert not _leased(site)
    site.clock.advance(400)
    assert await run_due(site) == 1
    assert (site.connection().failures, site.connection().problem) == (0, None)


@pytest.mark.rule("R45")
async def test_a_push_that_killed_its_process_is_a_failed_run_too(site: Site) -> None:
    site.book()
    for owner in ("killed", "killed-again"):
        with site.database.write() as session:
            assert leases.try_lease(
                session,
                site.connection_id,
                owner=owner,
                now=site.clock.time,
                lease_s=60,
                makes_way=True,
            )
        site.clock.advance(60)
    assert (site.connection().failures, site.connection().problem) == (1, "run-crashed")
    sending = site.read(outbox.connections_with_messages, now=site.clock.time)
    assert sending == []  # its next poll sends it, should that be let
    site.clock.advance(HOUR)
    assert await run_due(site) == 0  # lost twice: it rests
    assert site.connection().failures == 2
    site.clock.advance(HOUR)
    while await run_due(site):  # what is due is sent first, read next
        pass
    assert [row.state for row in site.ledger()] == ["pushed"]
    assert (site.connection().failures, site.connection().problem) == (0, None)


@pytest.mark.rule("R45")
async def test_a_worker_that_is_stopped_in_good_order_gives_every_account_back(
    site: Site,
) -> None:
    """One whose run had not begun yet, too: its lease is taken before."""
    site.clock.advance(HOUR)
    worker = Worker(site.context)
    assert await worker.tick() == 1
    await worker.close()  # before the loop came to the run
    assert not _leased(site)
    site.fault("slow", by=5, method="PROPFIND")
    assert await worker.tick() == 1
    reading = asyncio.create_task(worker.sync_now(site.connection_id))
    while not site.requests():
        await asyncio.sleep(0.01)
    await worker.close()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not _leased(site)
    assert _claim(site, "the next") == [site.connection_id]
    assert (site.connection().failures, site.connection().problem) == (0, None)


async def test_the_worker_runs_until_told_to_stop(site: Site) -> None:
    site.clock.advance(HOUR)
    stop = asyncio.Event()
    worker = Worker(site.context, tick_s=0.01)
    running = asyncio.create_task(worker.run(stop))
    while site.connection().polled_at != int(site.clock.time):
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert not _leased(site)


async def test_a_slot_that_is_given_back_is_filled_at_once(site: Site, keyring) -> None:
    """With a tick of an hour, nothing but the end of another run can start the next one."""
    connections = await _connect_others(site, 11)
    site.fault("slow", by=0.02)
    site.clock.advance(HOUR)
    few = site.context.settings.model_copy(update={"sync_slots": 3})
    async for context in make_context(few, site.database, keyring, site.clock):
        stop = asyncio.Event()
        running = asyncio.create_task(Worker(context, tick_s=HOUR).run(stop))
        async with asyncio.timeout(30):
            while {site.read(accounts.get_connection, c).polled_at for c in connections} != {
                int(site.clock.time)
            }:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(running, 5)


async def _connect_others(site: Site, count: int) -> list[str]:
    """Connect so many more accounts, none of which uses a calendar; returns all ids."""
    connections = [site.connection_id]
    for number in range(count):
        other = site.server.world.add_account(f"a{number}@icloud.com")
        principal_id = create_principal(site.database)
        made = await connect(site.context, principal_id, other.email, other.issue_app_password())
        connections.append(made.id)
    return connections


async def test_one_accounts_crash_does_not_stop_the_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = site.server.world.add_account("sam@icloud.com")
    principal_id = create_principal(site.database)
    made = await connect(site.context, principal_id, other.email, other.issue_app_password())
    original = account.ask_home

    async def crash(client, home_path, **more):
        if home_path == site.account.home_path:
            raise RuntimeError("a bug")
        return await original(client, home_path, **more)

    monkeypatch.setattr(account, "ask_home", crash)
    site.clock.advance(HOUR)
    assert await run_due(site) == 2
    assert site.read(accounts.get_connection, made.id).synced_at == int(site.clock.time)
    assert due_in(site) > 10
    assert not _leased(site)


async def test_idle_accounts_end_together_each_with_one_request(site: Site) -> None:
    connections = await _connect_others(site, 6)
    for _ in range(2):
        site.clock.advance(HOUR)
        assert await run_due(site) == 7
    mark = site.server.world.journal.last_seq
    site.clock.advance(HOUR)
    assert await run_due(site) == 7
    assert site.server.world.journal.shorts(since=mark) == ["PROPFIND"] * 7
    for connection_id in connections:
        found = site.read(accounts.get_connection, connection_id)
        assert (found.synced_at, found.failures) == (int(site.clock.time), 0)
        assert found.next_sync_at > site.clock.time
    assert site.calendar("home").synced_at == int(site.clock.time)
    assert not _leased(site)


@pytest.mark.rule("R7")
async def test_roles_changed_during_an_idle_poll_are_seen_by_that_very_poll(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.account.put("Family", event("f"))
    for _ in range(2):
        site.clock.advance(HOUR)
        await run_due(site)
    original = account.ask_home

    async def change_meanwhile(*args, **more):
        answer = await original(*args, **more)
        site.roles(linked="home", conflicts=("work", "Family"))
        return answer

    site.clock.advance(HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(account, "ask_home", change_meanwhile)
        await run_due(site)
    assert set(site.mirrored("Family")) == {"f.ics"}


async def test_a_person_who_pauses_during_a_poll_is_not_overruled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        site.clock.advance(HOUR)
        await run_due(site)
    original = account.ask_home

    async def pause_meanwhile(*args, **more):
        await pause(site.context, site.connection_id)
        return await original(*args, **more)

    site.clock.advance(HOUR)
    monkeypatch.setattr(account, "ask_home", pause_meanwhile)
    await run_due(site)
    assert site.connection().state == "paused"
    assert not _leased(site)
