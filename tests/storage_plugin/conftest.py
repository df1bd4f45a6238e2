"""A gateway with one principal, its mirror and its logins, and WSGI clients for them."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.core.instances import default_window, expand
from gateway.core.objects import parse_calendar_object
from gateway.core.rows import BusyRules, Expansion
from gateway.settings import Settings
from gateway.store import tables
from gateway.store.bookings import Appointment, list_appointments
from gateway.store.collections import create_collection, find_collection, get_collection
from gateway.store.engine import Database
from gateway.store.objects import (
    PreparedObject,
    StoredObject,
    delete_objects,
    find_object,
    save_object,
)
from gateway.store.outbox import LedgerRow, list_errands, list_ledger
from gateway.store.principals import create_login, create_principal, create_subaccount
from storage_plugin.server import build_application
from tests.storage_plugin.dav import Dav

DAY0 = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7)


def at(hour: float, *, day: int = 0) -> str:
    """An iCalendar UTC time on the day a week from now."""
    return (DAY0 + timedelta(days=day, hours=hour)).strftime("%Y%m%dT%H%M%SZ")


@dataclass
class World:
    """What a test has at hand."""

    database: Database
    settings: Settings
    application: object
    principal_id: str
    device: Dav
    platform: Dav
    mirror_id: str
    calendar_id: str

    @property
    def home(self) -> str:
        return f"/{self.principal_id}/"

    @property
    def platform_path(self) -> str:
        return f"/{self.principal_id}/platform/"

    @property
    def mirror_path(self) -> str:
        return f"/{self.principal_id}/mirror-work/"

    def new_login(self, kind: str = "device", **kwargs) -> Dav:
        with self.database.write() as session:
            login, secret = create_login(
                session, principal_id=self.principal_id, kind=kind, now=now(), **kwargs
            )
        return Dav(self.application, login.login, secret)

    def mirror_put(self, name: str, body: bytes, expansion: Expansion | None = None) -> None:
        """Let the sync write an object into the mirror."""
        parsed = parse_calendar_object(body)
        expansion = expansion or expand(
            body, default_window(now()), BusyRules(ZoneInfo("Europe/Berlin"))
        )
        with self.database.write() as session:
            save_object(
                session,
                get_collection(session, self.mirror_id),
                PreparedObject(
                    name=name,
                    uid=parsed.uid,
                    kind="mirrored",
                    component=parsed.component,
                    etag=parsed.etag,
                    body=body,
                    expansion=expansion,
                    upstream_name=name,
                ),
                now=now(),
            )

    def ledger(self) -> list[LedgerRow]:
        with self.database.read() as session:
            return list_ledger(session, self.principal_id)

    def errands(self) -> list[tuple[str, str, str | None]]:
        """(action, state, connection) of everything in the outbox."""
        with self.database.read() as session:
            found = list_errands(session, self.principal_id)
        return [(errand.action, errand.state, errand.connection_id) for errand, _row in found]

    def object(self, name: str, collection: str = "platform") -> StoredObject | None:
        with self.database.read() as session:
            row = find_collection(session, self.principal_id, collection)
            return find_object(session, row.id, name)

    def appointments(self) -> list[Appointment]:
        with self.database.read() as session:
            return list_appointments(session, [self.principal_id])

    def change(self, table, **values) -> None:
        """Change every row of a table."""
        with self.database.write() as session:
            session.execute(table.update().values(**values))

    def mirror_delete(self, name: str) -> None:
        with self.database.write() as session:
            delete_objects(session, get_collection(session, self.mirror_id), [name], now=now())


def now() -> int:
    return int(time.time())


def make_world(database: Database, settings: Settings) -> World:
    """Fill an empty database and build the application over it."""
    with database.write() as session:
        subaccount = create_subaccount(session, name="Practice", now=now())
        principal = create_principal(
            session,
            subaccount_id=subaccount.id,
            name="Anna Example",
            email="anna@example.org",
            time_zone="Europe/Berlin",
            now=now(),
        )
        session.execute(
            tables.connections.insert().values(
                id="conn_1",
                principal_id=principal.id,
                state="ok",
                account_index=b"account",
                trust_for_s=86_400,
                created_at=now(),
                next_sync_at=0,
            )
        )
        session.execute(
            tables.upstream_calendars.insert().values(
                id="cal_work",
                connection_id="conn_1",
                path="/1/calendars/work/",
                name="Work",
                kind="calendar",
                writable=True,
                role="linked",
                blocks=True,
                state="ok",
                synced_at=now(),
            )
        )
        mirror_id = create_collection(
            session,
            principal_id=principal.id,
            name="mirror-work",
            kind="mirror",
            display_name="Work",
            upstream_calendar_id="cal_work",
            now=now(),
        )
    application = build_application(settings, database)
    world = World(
        database=database,
        settings=settings,
        application=application,
        principal_id=principal.id,
        device=Dav(application),
        platform=Dav(application),
        mirror_id=mirror_id,
        calendar_id="cal_work",
    )
    world.device, world.platform = world.new_login("device"), world.new_login("platform")
    return world


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Settings of a gateway in an empty folder."""
    return Settings(data_dir=tmp_path)


@pytest.fixture
def world(sqlite_database, settings) -> World:
    """A gateway on SQLite."""
    return make_world(sqlite_database, settings)


@pytest.fixture
def both_world(database, settings) -> World:
    """A gateway on SQLite, then one on PostgreSQL."""
    return make_world(database, settings)
