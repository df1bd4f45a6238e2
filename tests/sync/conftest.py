"""A gateway's store and sync engine in front of a look-alike, on one virtual clock."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import pytest

from gateway.cli.doctor.writes import find_unallowed
from gateway.core.ical.objects import parse_calendar_object
from gateway.core.recurrence.expand import BusyRules, default_window, expand
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.journal import Entry
from gateway.lookalike.world.world import Account
from gateway.services.accounts.roles import set_calendar_roles
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Keyring
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.booking import bookings
from gateway.store.booking.loading import load_member
from gateway.store.engine import Database, lock_principal
from gateway.store.objects import collections, objects
from gateway.store.objects.objects import PreparedObject, StoredObject
from gateway.store.outbox import outbox
from gateway.store.threads import StoreThreads
from gateway.sync.connect import connect
from gateway.sync.context import SyncContext
from gateway.sync.report import SyncReport
from gateway.sync.scheduler import sync_account

NOW = 1_790_000_000
EMAIL = "robin@icloud.com"
ZONE = "Europe/Berlin"


def event(uid, start="20261001T090000", end="20261001T100000", *more, summary="Dentist"):
    """An acceptable event in UTC with CRLF line ends."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//EN",
        "BEGIN:VEVENT",
        f"UID:{uid}",
        "DTSTAMP:20260901T000000Z",
        f"DTSTART:{start}Z",
        f"DTEND:{end}Z",
        f"SUMMARY:{summary}",
        *more,
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(lines).encode()


class Clock:
    """Seconds that pass only when told to; the look-alike and the gateway share them."""

    def __init__(self, now: float = NOW) -> None:
        self.time = float(now)

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Site:
    """One principal with a connected account, and what tests want to see of both sides."""

    server: Lookalike
    account: Account
    password: str
    context: SyncContext
    database: Database
    clock: Clock
    principal_id: str
    connection_id: str = ""
    mark: int = 0
    pushed: list[str] = field(default_factory=list)

    # --- the upstream side ---

    def requests(self) -> list[str]:
        """The requests of the account since the last look, in short form."""
        found = self.server.world.journal.shorts(self.account.email, self.mark)
        self.mark = self.server.world.journal.last_seq
        return found

    def log(self, **where) -> list[Entry]:
        return self.server.world.journal.select(account=self.account.email, **where)

    def fault(self, name: str, **more) -> int:
        return self.server.world.faults.set(name, self.account.email, **more)

    def upstream_names(self, calendar: str) -> set[str]:
        return set(self.account.calendar(calendar).resources)

    # --- the gateway's side ---

    async def connect(self) -> None:
        connection = await connect(
            self.context, self.principal_id, self.account.email, self.password
        )
        self.connection_id = connection.id

    def roles(self, linked: str | None = "home", conflicts: tuple[str, ...] = ("work",)) -> None:
        with self.database.write() as session:
            set_calendar_roles(
                session,
                self.principal_id,
                linked=self.calendar(linked).id if linked else None,
                conflicts=[self.calendar(name).id for name in conflicts],
                now=int(self.clock.time),
            )

    async def sync(self) -> SyncReport:
        return await sync_account(self.context, self.connection_id)

    def read(self, function: Callable, *args, **kwargs):
        with self.database.read() as session:
            return function(session, *args, **kwargs)

    def calendar(self, upstream_id: str) -> UpstreamCalendar:
        """The stored calendar with this last path segment or name."""
        for calendar in self.read(calendars.list_calendars, self.connection_id):
            if upstream_id in (calendar.path.rstrip("/").rpartition("/")[2], calendar.name):
                return calendar
        raise KeyError(upstream_id)

    def connection(self) -> accounts.Connection:
        return self.read(accounts.get_connection, self.connection_id)

    def mirrored(self, upstream_id: str) -> dict[str, StoredObject]:
        """All members of a mirror by upstream name, served or not."""
        mirror = self.read(collections.find_mirror, self.calendar(upstream_id).id)
        with self.database.read() as session:
            found = [
                objects.find_object(session, mirror.id, name)
                for name in objects.list_names(session, mirror.id)
            ]
        return {item.upstream_name: item for item in found}

    def assert_mirror_equals(self, upstream_id: str) -> None:
        """The mirror holds exactly iCloud's versions, by name and ETag, our own left out."""
        own = {row.upstream_uid for row in self.read(outbox.list_ledger, self.principal_id)}
        there = {
            name: resource.etag
            for name, resource in self.account.calendar(upstream_id).resources.items()
            if resource.uid not in own
        }
        here = {name: item.upstream_etag for name, item in self.mirrored(upstream_id).items()}
        assert here == there

    # --- appointments ---

    def book(self, uid="local-1", body: bytes | None = None, *, push: bool = True) -> StoredObject:
        """Write an appointment as the booking service does, with its message."""
        body = body or event(uid)
        now = int(self.clock.time)
        parsed = parse_calendar_object(body)
        rules = BusyRules(ZoneInfo(ZONE), always_busy=True)
        expansion = expand(body, default_window(now), rules)
        with self.database.write() as session:
            lock_principal(session, self.principal_id)
            platform = collections.find_collection(session, self.principal_id, "platform")
            known = objects.find_object(session, platform.id, f"{uid}.ics")
            stored = objects.save_object(
                session,
                platform,
                PreparedObject(
                    name=f"{uid}.ics",
                    uid=parsed.uid,
                    kind="appointment",
                    component="VEVENT",
                    etag=parsed.etag,
                    body=parsed.body,
                    expansion=expansion,
                ),
                now=now,
            )
            if known is None:
                bookings.create_appointment(
                    session,
                    principal_id=self.principal_id,
                    object_id=stored.id,
                    title="Dentist",
                    span=expansion.first_span,
                    status="confirmed",
                    now=now,
                )
            target = load_member(session, self.principal_id, "platform", "", now=0).push_target
            ledger = outbox.find_ledger_by_object(session, stored.id)
            if ledger is None and push:
                ledger = outbox.create_ledger_row(
                    session,
                    principal_id=self.principal_id,
                    object_id=stored.id,
                    account_index=target.account_index,
                    upstream_calendar_id=target.calendar_id,
                    upstream_path=target.calendar_path,
                    upstream_uid=f"4F2C1B6E-0000-4000-8000-{abs(hash(uid)) % 10**12:012d}",
                    now=now,
                )
            if ledger is not None and push:
                outbox.enqueue(
                    session,
                    ledger_id=ledger.id,
                    connection_id=self.connection_id,
                    action="put",
                    now=now,
                )
        return stored

    def cancel(self, uid="local-1") -> None:
        """Delete an appointment as the booking service does, with its message."""
        now = int(self.clock.time)
        with self.database.write() as session:
            lock_principal(session, self.principal_id)
            platform = collections.find_collection(session, self.principal_id, "platform")
            stored = objects.find_object(session, platform.id, f"{uid}.ics")
            ledger = outbox.find_ledger_by_object(session, stored.id)
            objects.delete_objects(session, platform, [stored.name], now=now)
            outbox.update_ledger(session, ledger.id, now=now, object_id=None)
            outbox.enqueue(
                session,
                ledger_id=ledger.id,
                connection_id=self.connection_id,
                action="delete",
                now=now,
            )

    def platform_object(self, uid="local-1") -> StoredObject | None:
        platform = self.read(collections.find_collection, self.principal_id, "platform")
        return self.read(objects.find_object, platform.id, f"{uid}.ics")

    def ledger(self) -> list[outbox.LedgerRow]:
        return self.read(outbox.list_ledger, self.principal_id)

    def messages(self) -> list[outbox.OutboxMessage]:
        return [message for message, _ in self.read(outbox.list_messages, self.principal_id)]

    def appointments(self) -> list[bookings.Appointment]:
        return self.read(bookings.list_appointments, [self.principal_id])


def create_principal(database: Database, now: int = NOW, name: str = "Robin") -> str:
    with database.write() as session:
        subaccount = principals.create_subaccount(session, name="Acme", now=now)
        return principals.create_principal(
            session, subaccount_id=subaccount.id, name=name, time_zone=ZONE, now=now
        ).id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[Lookalike]:
    """A look-alike whose slow answers do not really take time."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.3))

    async with Lookalike(now=clock, sleep=sleep) as running:
        yield running


@pytest.fixture
def settings(server: Lookalike, tmp_path) -> Settings:
    return Settings(
        upstream_url=server.url,
        upstream_allow_loopback=True,
        upstream_requests_per_minute=100_000,
        upstream_timeout_s=5,
        data_dir=tmp_path,
    )


@pytest.fixture
async def context(
    settings: Settings, sqlite_database: Database, keyring: Keyring, clock: Clock
) -> AsyncIterator[SyncContext]:
    async for made in make_context(settings, sqlite_database, keyring, clock):
        yield made


async def make_context(settings, database, keyring, clock) -> AsyncIterator[SyncContext]:
    threads = StoreThreads(database)
    made = SyncContext(settings, threads, keyring, clock=clock)
    yield made
    await made.close()
    threads.close()


@pytest.fixture
async def fresh_site(
    server: Lookalike, context: SyncContext, sqlite_database: Database, clock: Clock
) -> AsyncIterator[Site]:
    """A principal and an account that are not connected yet; every write must be in the ledger."""
    account = server.world.add_account(EMAIL)
    made = Site(
        server=server,
        account=account,
        password=account.issue_app_password(),
        context=context,
        database=sqlite_database,
        clock=clock,
        principal_id=create_principal(sqlite_database),
    )
    yield made
    with sqlite_database.read() as session:
        ledger = [
            row
            for person in principals.list_principals(session)
            for row in outbox.list_ledger(session, person.id)
        ]
    log = [entry.as_json() for entry in server.world.journal.select()]
    assert find_unallowed(ledger, log) == []


@pytest.fixture
async def site(fresh_site: Site) -> Site:
    """A connected account: ``home`` is linked, ``work`` is a conflict calendar, synced once."""
    await fresh_site.connect()
    fresh_site.roles()
    report = await fresh_site.sync()
    assert report.ok, json.dumps(report.problem)
    fresh_site.requests()
    return fresh_site
