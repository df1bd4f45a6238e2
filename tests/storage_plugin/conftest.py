"""A gateway with one principal, its mirror and its logins, and clients for them.

Two arrangements by default: the application called in this process on SQLite, and four server
processes on PostgreSQL over HTTP. ``GATEWAY_TEST_CALDAV`` names others: a comma-separated list of
``sqlite`` (in this process), ``sqlite:1``, ``sqlite:4``, ``postgresql:1`` and so on.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.core.ical.objects import parse_calendar_object
from gateway.core.recurrence.expand import default_window, expand
from gateway.core.recurrence.model import BusyRules, Expansion
from gateway.settings import Settings
from gateway.store import tables
from gateway.store.access.principals import create_login, create_principal, create_subaccount
from gateway.store.booking.bookings import Appointment, list_appointments
from gateway.store.engine import Database
from gateway.store.objects.collections import create_collection, find_collection, get_collection
from gateway.store.objects.objects import (
    PreparedObject,
    StoredObject,
    delete_objects,
    find_object,
    save_object,
)
from gateway.store.outbox.outbox import LedgerRow, list_ledger, list_messages
from storage_plugin.server import build_application
from tests.conftest import _administer as administer
from tests.conftest import _with_name as with_name
from tests.storage_plugin.dav import Dav
from tests.storage_plugin.served import OverHttp, serving

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
    connection_id: str
    account_index: bytes
    address: str

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
        return Dav(self.application, login.login, secret, address=self.address)

    @property
    def anonymous(self) -> Dav:
        """A client without a login."""
        return Dav(self.application, address=self.address)

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

    def messages(self) -> list[tuple[str, str, str | None]]:
        """(action, state, connection) of everything in the outbox."""
        with self.database.read() as session:
            found = list_messages(session, self.principal_id)
        return [(message.action, message.state, message.connection_id) for message, _row in found]

    def object(self, name: str, collection: str = "platform") -> StoredObject | None:
        with self.database.read() as session:
            row = find_collection(session, self.principal_id, collection)
            return find_object(session, row.id, name)

    def appointments(self) -> list[Appointment]:
        with self.database.read() as session:
            return list_appointments(session, [self.principal_id])

    def change(self, table, **values) -> None:
        """Change every row of a table that belongs to this person."""
        if "principal_id" in table.c:
            mine = table.c.principal_id == self.principal_id
        else:
            mine = table.c.connection_id == self.connection_id
        with self.database.write() as session:
            session.execute(table.update().where(mine).values(**values))

    def mirror_delete(self, name: str) -> None:
        with self.database.write() as session:
            delete_objects(session, get_collection(session, self.mirror_id), [name], now=now())


def now() -> int:
    return int(time.time())


def make_world(database: Database, settings: Settings, application: object = None) -> World:
    """Add a person to a database; ``application`` serves it, else one is built."""
    tag = secrets.token_hex(4)
    connection_id, calendar_id = f"conn_{tag}", f"cal_{tag}"
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
                id=connection_id,
                principal_id=principal.id,
                state="ok",
                account_index=tag.encode(),
                trust_for_s=86_400,
                created_at=now(),
                next_sync_at=0,
            )
        )
        session.execute(
            tables.upstream_calendars.insert().values(
                id=calendar_id,
                connection_id=connection_id,
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
            upstream_calendar_id=calendar_id,
            now=now(),
        )
    application = application or build_application(settings, database)
    world = World(
        database=database,
        settings=settings,
        application=application,
        principal_id=principal.id,
        device=Dav(application),
        platform=Dav(application),
        mirror_id=mirror_id,
        calendar_id=calendar_id,
        connection_id=connection_id,
        account_index=tag.encode(),
        address=f"2001:db8:{tag[:4]}:{tag[4:]}::1",
    )
    world.device, world.platform = world.new_login("device"), world.new_login("platform")
    return world


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Settings of a gateway in an empty folder."""
    return Settings(data_dir=tmp_path)


@dataclass(frozen=True)
class Served:
    """A server that lasts for the whole run: each test brings a person of its own."""

    database: Database
    settings: Settings
    application: object


@pytest.fixture(scope="session")
def _servers(request, tmp_path_factory) -> Iterator[object]:
    """Returns servers by arrangement, started when first asked for."""
    with ExitStack() as stack:
        running: dict[str, Served] = {}

        def get(arrangement: str) -> Served:
            if arrangement not in running:
                kind, _, processes = arrangement.partition(":")
                url = request.getfixturevalue(f"_{kind}_for_servers")
                settings = Settings(
                    data_dir=tmp_path_factory.mktemp("server"),
                    database_url=url,
                    caldav_bind="127.0.0.1:0",
                    trusted_proxies=("127.0.0.1",),
                )
                url, _process = stack.enter_context(serving(settings, int(processes)))
                database = Database(settings.database)
                stack.callback(database.close)
                application = OverHttp(url)
                stack.callback(application.close_all)
                running[arrangement] = Served(database, settings, application)
            return running[arrangement]

        yield get


@pytest.fixture(scope="session")
def _sqlite_for_servers(_sqlite_template, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("served") / "gateway.sqlite3"
    path.write_bytes(_sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def _postgresql_for_servers(postgresql_url, _postgresql_template) -> Iterator[str]:
    name = f"served_{secrets.token_hex(6)}"
    administer(postgresql_url, f'CREATE DATABASE "{name}" TEMPLATE "{_postgresql_template}"')
    yield with_name(postgresql_url, name)
    administer(postgresql_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def _local(_sqlite_for_servers, tmp_path_factory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("local"), database_url=_sqlite_for_servers)
    database = Database(settings.database)
    yield Served(database, settings, build_application(settings, database))
    database.close()


@pytest.fixture
def local_world(_local) -> World:
    """A gateway on SQLite inside this process, for tests that reach into it."""
    return make_world(_local.database, _local.settings, _local.application)


USUAL = "sqlite,postgresql:4"
EVERY_SERVER = "sqlite:1,sqlite:4,postgresql:1,postgresql:4"


def _arrangements(usual: str = USUAL, *, served_only: bool = False) -> list[object]:
    named = os.environ.get("GATEWAY_TEST_CALDAV", usual).split(",")
    # One worker of a parallel run has each server, so there is one of it.
    return [
        pytest.param(name, marks=[pytest.mark.xdist_group(name)] if ":" in name else [])
        for name in named
        if ":" in name or not served_only
    ]


@pytest.fixture(params=_arrangements())
def world(request) -> World:
    """A gateway with one person: the test runs once in each arrangement."""
    return _served(request) if ":" in request.param else request.getfixturevalue("local_world")


@pytest.fixture(params=_arrangements(served_only=True))
def served_world(request) -> World:
    """A gateway in processes of its own, once in each arrangement that has them."""
    return _served(request)


@pytest.fixture(params=_arrangements(EVERY_SERVER, served_only=True))
def every_served_world(request) -> World:
    """The same in all four arrangements of one and four processes on both databases."""
    return _served(request)


def _served(request) -> World:
    served = request.getfixturevalue("_servers")(request.param)
    return make_world(served.database, served.settings, served.application)
