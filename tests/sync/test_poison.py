"""One bad row beside healthy ones: it is told and backs off, everybody else goes on (R45).

Every test runs the real worker on both databases, with rows spoilt in the database itself.
"""

from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
import structlog
from sqlalchemy import update

from gateway.core.recurrence.expand import default_window
from gateway.lookalike.server import Lookalike
from gateway.settings import Settings
from gateway.store.accounts import accounts, members
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.objects import expansions, objects
from gateway.store.tables import (
    connections,
    generations,
    principals,
    push_ledger,
    secrets,
    upstream_calendars,
)
from gateway.store.tables import objects as object_rows
from gateway.sync.connect import replace_credential
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import Worker
from gateway.sync.windows import extend_windows
from tests.sync.conftest import Clock, Site, create_principal, event, make_context

pytestmark = pytest.mark.rule("R45")


LONG = "".join(sha256(b"%d" % number).hexdigest() for number in range(90)) + ".ics"
"""A name that no index entry of PostgreSQL holds, compressed or not."""

REFUSING = {
    "sqlite": "CREATE TRIGGER no_bad BEFORE INSERT ON objects WHEN NEW.upstream_name = 'bad.ics'"
    " BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    "postgresql": "ALTER TABLE objects ADD CONSTRAINT no_bad CHECK (upstream_name <> 'bad.ics')",
}
"""Have a database refuse one member, whatever the reason may be in life."""


class Village:
    """One person whose rows are spoilt, two beside them, and the worker they share."""

    def __init__(self, context: SyncContext, sites: list[Site]) -> None:
        self.context = context
        self.victim, *self.others = sites
        self.sites = sites
        self.worker = Worker(context)

    def spoil(self, statement) -> None:
        with self.victim.database.write() as session:
            assert session.execute(statement).rowcount

    async def poll(self) -> int:
        """One look of the worker, as when everybody is due."""
        started = await self.worker.tick()
        await self.worker.idle()
        return started

    async def edit_everywhere(self, uid: str) -> None:
        for site in self.sites:
            site.account.put("work", event(uid, summary=str(site.clock.time)), f"{uid}.ics")

    def assert_others_have(self, uid: str) -> None:
        for site in self.others:
            assert f"{uid}.ics" in site.mirrored("work")
            assert (site.connection().state, site.connection().problem) == ("ok", None)


@pytest.fixture
async def poison_context(
    settings: Settings, database: Database, keyring: Keyring, clock: Clock
) -> AsyncIterator[SyncContext]:
    async for made in make_context(settings, database, keyring, clock):
        yield made


@pytest.fixture
async def village(
    server: Lookalike, poison_context: SyncContext, database: Database, clock: Clock
) -> Village:
    sites = []
    for name in ("robin", "kim", "sam"):
        account = server.world.add_account(f"{name}@icloud.com")
        site = Site(
            server=server,
            account=account,
            password=account.issue_app_password(),
            context=poison_context,
            database=database,
            clock=clock,
            principal_id=create_principal(database, name=name),
        )
        await site.connect()
        site.roles()
        assert (await site.sync()).ok
        sites.append(site)
    clock.advance(400)
    return Village(poison_context, sites)


def flipped(site: Site, field: str) -> bytes:
    with site.database.read() as session:
        row = session.execute(
            secrets.select().where(
                secrets.c.owner_id == site.connection_id, secrets.c.field == field
            )
        ).one()
    text = bytearray(row.ciphertext)
    text[-3] ^= 1
    return bytes(text)


def of(site: Site, field: str):
    return update(secrets).where(secrets.c.owner_id == site.connection_id, secrets.c.field == field)


SECRETS = {
    "a flipped byte": lambda site: of(site, "app_password").values(
        ciphertext=flipped(site, "app_password")
    ),
    "a flipped byte of the e-mail": lambda site: of(site, "email").values(
        ciphertext=flipped(site, "email")
    ),
    "another key": lambda site: of(site, "app_password").values(key_id="k9"),
    "nothing at all": lambda site: of(site, "app_password").values(ciphertext=b""),
    "a row that is gone": lambda site: secrets.delete().where(
        secrets.c.owner_id == site.connection_id, secrets.c.field == "app_password"
    ),
}


@pytest.mark.parametrize("kind", SECRETS)
async def test_an_unreadable_secret_is_that_accounts_problem_alone(
    village: Village, kind: str
) -> None:
    victim = village.victim
    village.spoil(SECRETS[kind](victim))
    await village.edit_everywhere("after")
    with structlog.testing.capture_logs() as lines:
        await village.poll()
        village.assert_others_have("after")
        found = victim.connection()
        assert (found.state, found.problem) == ("secret-unreadable", "secret-unreadable")
        assert found.next_sync_at > village.context.clock() + 10
        synced_at = found.synced_at
        for _ in range(3):
            assert await village.poll() == 0  # it backs off, and is not told each second
    told = [line for line in lines if line.get("connection") == victim.connection_id]
    assert [line["code"] for line in told] == ["secret-unreadable"]
    village.context.clock.advance(400)  # type: ignore[attr-defined]
    await village.poll()
    assert victim.connection().synced_at == synced_at  # its age goes on growing
    await replace_credential(
        village.context, victim.connection_id, victim.password, email=victim.account.email
    )
    assert (await victim.sync()).ok
    assert victim.connection().state == "ok"
    assert "after.ics" in victim.mirrored("work")


CONNECTION_ROWS = {
    "a home that is no URL": {"home_path": "http://[no/calendars/"},
    "addresses that are no JSON": {"addresses": "{robin"},
    "addresses that are no list": {"addresses": "5"},
    "no home": {"home_path": ""},
}


@pytest.mark.parametrize("kind", CONNECTION_ROWS)
async def test_a_spoilt_row_of_an_account_stops_no_other(village: Village, kind: str) -> None:
    row = connections.c.id == village.victim.connection_id
    village.spoil(update(connections).where(row).values(**CONNECTION_ROWS[kind]))
    await village.edit_everywhere("after")
    await village.poll()
    village.assert_others_have("after")
    with village.victim.database.read() as session:
        found = session.execute(connections.select().where(row)).one()
    assert found.problem is not None or found.home_path.startswith("/")  # told, or found anew
    assert await village.poll() == 0


async def test_a_run_that_does_not_end_is_told_as_a_failed_one(village: Village) -> None:
    person = principals.c.id == village.victim.principal_id
    village.spoil(update(principals).where(person).values(time_zone="Mars/Base"))
    before = village.victim.connection()
    await village.edit_everywhere("after")
    await village.poll()
    village.assert_others_have("after")
    found = village.victim.connection()
    assert (found.state, found.problem, found.failures) == ("ok", "run-crashed", 1)
    assert "Mars" not in (found.problem_detail or "")
    assert found.synced_at == before.synced_at
    assert found.next_sync_at > village.context.clock()
    village.spoil(update(principals).where(person).values(time_zone="Europe/Berlin"))
    assert (await village.victim.sync()).ok
    assert village.victim.connection().problem is None


async def test_a_spoilt_calendar_leaves_the_accounts_others_alone(village: Village) -> None:
    victim = village.victim
    village.spoil(
        update(upstream_calendars)
        .where(upstream_calendars.c.id == victim.calendar("work").id)
        .values(sync_token="x", ctag="old", detail="neither")
    )
    victim.account.put("home", event("at-home"), "at-home.ics")
    await village.edit_everywhere("after")
    await village.poll()
    village.assert_others_have("after")
    assert "at-home.ics" in victim.mirrored("home")


@pytest.mark.rule("R9")
@pytest.mark.parametrize(
    "name",
    ["a\0b.ics", LONG, "ü" * 2700 + ".ics", "a/b.ics", "a%2Fb.ics", "%00.ics"],
    ids=["NUL", "long", "long and wide", "slash", "literal %2F", "literal %00"],
)
async def test_an_odd_name_stops_neither_its_account_nor_its_calendar(
    village: Village, name: str
) -> None:
    victim = village.victim
    victim.account.put("work", event("odd"), name)
    for _ in range(2):
        await village.edit_everywhere("after")
        village.context.clock.advance(400)  # type: ignore[attr-defined]
        await village.poll()
    village.assert_others_have("after")
    assert "after.ics" in victim.mirrored("work")  # what came later is seen
    if len(name) > 1000:
        stored = {item.uid: item for item in victim.mirrored("work").values()}
        assert stored["odd"].upstream_name == name
        victim.account.delete("work", name)
        assert (await victim.sync()).ok
        assert "odd" not in {item.uid for item in victim.mirrored("work").values()}
    else:
        uids = {item.uid for item in victim.mirrored("work").values()}
        told = victim.calendar("work").problem is not None or victim.connection().problem
        assert "odd" in uids or told


@pytest.mark.rule("R9")
async def test_a_member_that_cannot_be_stored_stops_no_other(village: Village) -> None:
    victim = village.victim
    with victim.database.write() as session:
        session.exec_driver_sql(REFUSING[session.dialect.name])
    victim.account.put("work", event("bad"), "bad.ics")
    await village.edit_everywhere("after")
    await village.poll()
    village.assert_others_have("after")
    assert "after.ics" in victim.mirrored("work")
    calendar = victim.calendar("work")
    assert (calendar.catching_up, calendar.told_problem) == (1, "catching-up")  # and incomplete
    with victim.database.read() as session:
        (unread,) = members.list_unread(session, calendar.id).values()
    assert (unread.name, unread.reason) == ("bad.ics", members.NOT_STORABLE)


async def test_a_spoilt_push_stops_no_other_and_ends_with_a_person(village: Village) -> None:
    victim = village.victim
    victim.book("bad")
    victim.book("good")
    rows = {row.object_id: row for row in victim.ledger()}
    bad = rows[victim.platform_object("bad").id]
    row = push_ledger.c.id == bad.id
    village.spoil(update(push_ledger).where(row).values(upstream_name="no-calendar-object"))
    for _ in range(4):
        await village.poll()
        village.context.clock.advance(200)  # type: ignore[attr-defined]
    states = {row.id: (row.state, row.reason) for row in victim.ledger()}
    assert states.pop(bad.id) == ("parked", "push-failed")
    assert set(states.values()) == {("pushed", None)}
    assert [message.reason for message in victim.messages()] == ["push-failed"]
    assert victim.connection().problem is None  # reading goes on


async def test_a_spoilt_object_keeps_nobodys_window_from_moving(village: Village) -> None:
    victim = village.victim
    for site in village.sites:
        series = event("series", "20261001T090000", "20261001T100000", "RRULE:FREQ=WEEKLY")
        site.account.put("work", series, "series.ics")
        assert (await site.sync()).ok
    stored = victim.mirrored("work")["series.ics"]
    village.spoil(
        update(object_rows).where(object_rows.c.id == stored.id).values(body=b"\xff\0BEGIN")
    )
    village.context.clock.advance(2 * 86_400)  # type: ignore[attr-defined]
    until = default_window(village.context.now())[1]
    assert await extend_windows(village.context) == len(village.sites)
    for site in village.sites:
        assert site.read(objects.get_coverage, site.principal_id)[1] == until


async def test_a_person_who_cannot_be_expanded_rests_and_the_others_have_their_turn(
    village: Village,
) -> None:
    victim = village.victim
    person = principals.c.id == victim.principal_id
    village.spoil(update(principals).where(person).values(time_zone="Mars/Base"))
    for site in village.sites:
        mine = generations.c.principal_id == site.principal_id
        village.spoil(update(generations).where(mine).values(covered_from=0, covered_until=1))
    with structlog.testing.capture_logs() as lines:
        for _ in range(8):
            await extend_windows(village.context, limit=1)  # the victim may come first each time
    until = default_window(village.context.now())[1]
    late = village.others[0].read(expansions.outdated_principals, until=until, limit=9)
    assert late == [victim.principal_id]
    assert len([line for line in lines if line.get("item") == victim.principal_id]) == 1


async def test_a_kept_body_that_cannot_be_decrypted_is_fetched_again(village: Village) -> None:
    victim = village.victim
    no_uid = event("x").replace(b"UID:x\r\n", b"")
    victim.account.put("work", no_uid, "odd.ics")
    await victim.sync()
    stored = victim.mirrored("work")["odd.ics"]
    owner = f"{stored.collection_id}/{stored.name}"
    village.spoil(
        update(secrets).where(secrets.c.owner_id == owner).values(ciphertext=b"\1 not sealed text")
    )
    with victim.database.write() as session:
        expansions.forget_expansions(session, victim.principal_id)
    await extend_windows(village.context)
    assert victim.mirrored("work")["odd.ics"].problem == "secret-unreadable"
    await victim.sync()
    assert victim.mirrored("work")["odd.ics"].problem != "secret-unreadable"
    raw = victim.read(accounts.load_secret, village.context.keyring, owner, "raw")
    assert b"SUMMARY:Dentist" in raw
