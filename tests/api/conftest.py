"""A running API on a real database, keys of every scope, and people in two subaccounts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from gateway.api.app import build_api
from gateway.settings import Settings, load_settings
from gateway.store.access import keys, principals
from gateway.store.access.principals import Principal
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database

NOW = 1_793_000_000  # 2026-10-26T07:33:20Z, a Monday

AiohttpClient = Callable[..., Awaitable[TestClient[Any, Any]]]


class Clock:
    """The time the API believes it is."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return float(self.now)


@dataclass
class Caller:
    """Sends requests under one key, or under none."""

    client: TestClient[Any, Any]
    secret: str | None

    async def send(self, method: str, path: str, **options: Any) -> ClientResponse:
        """Send one request."""
        headers = dict(options.pop("headers", {}))
        if self.secret is not None:
            headers.setdefault("Authorization", f"Bearer {self.secret}")
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        """GET and return (status, JSON)."""
        answer = await self.send("GET", path, params=params)
        return answer.status, await answer.json(content_type=None)

    async def call(
        self, method: str, path: str, json: Any = None, **options: Any
    ) -> tuple[int, Any]:
        """Send JSON and return (status, JSON or None)."""
        answer = await self.send(method, path, json=json, **options)
        text = await answer.text()
        return answer.status, (await answer.json(content_type=None) if text else None)

    async def post(self, path: str, json: Any = None, **options: Any) -> tuple[int, Any]:
        """POST and return (status, JSON)."""
        return await self.call("POST", path, json, **options)


@dataclass
class Place:
    """An API with two subaccounts and a person in each."""

    database: Database
    keyring: Keyring
    settings: Settings
    clock: Clock
    client: TestClient[Any, Any]
    ann: Principal
    bob: Principal
    secrets: dict[str, str] = field(default_factory=dict)

    def caller(self, name: str) -> Caller:
        """Return the caller with the named key."""
        return Caller(self.client, self.secrets[name])

    @property
    def admin(self) -> Caller:
        """A caller that may do everything everywhere."""
        return self.caller("admin")

    @property
    def platform(self) -> Caller:
        """The platform of Ann's subaccount."""
        return self.caller("platform")

    @property
    def reader(self) -> Caller:
        """A free/busy reader of Ann's subaccount."""
        return self.caller("reader")

    @property
    def stranger(self) -> Caller:
        """The platform of Bob's subaccount."""
        return self.caller("stranger")

    @property
    def nobody(self) -> Caller:
        """A caller without a key."""
        return Caller(self.client, None)


def fill(database: Database) -> tuple[Principal, Principal, dict[str, str]]:
    """Create Ann at Acme and Bob at Bolt, with a key of each kind."""
    with database.write() as session:
        acme = principals.create_subaccount(session, name="Acme", now=NOW)
        bolt = principals.create_subaccount(session, name="Bolt", now=NOW)
        ann = principals.create_principal(
            session, subaccount_id=acme.id, name="Ann", time_zone="Europe/Berlin", now=NOW
        )
        bob = principals.create_principal(
            session, subaccount_id=bolt.id, name="Bob", time_zone="America/New_York", now=NOW
        )
        wanted: dict[str, tuple[str, str | None]] = {
            "admin": ("admin", None),
            "acme-admin": ("admin", acme.id),
            "platform": ("platform", acme.id),
            "reader": ("freebusy:read", acme.id),
            "stranger": ("platform", bolt.id),
        }
        secrets = {
            name: keys.create_key(
                session, name=name, scopes=frozenset({scope}), subaccount_id=bound, now=NOW
            )[1]
            for name, (scope, bound) in wanted.items()
        }
    return ann, bob, secrets


async def start(
    database: Database, keyring: Keyring, aiohttp_client: AiohttpClient, sync: Any = None
) -> Place:
    """Start the API on a database."""
    clock = Clock()
    settings = load_settings(upstream_allow_loopback=True)
    ann, bob, secrets = fill(database)
    app = build_api(settings, database, keyring, sync=sync, clock=clock)
    client = await aiohttp_client(app)
    return Place(database, keyring, settings, clock, client, ann, bob, secrets)


@pytest.fixture
async def place(
    sqlite_database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> Place:
    """The API on SQLite, without an upstream."""
    return await start(sqlite_database, keyring, aiohttp_client)


@pytest.fixture
async def both(database: Database, keyring: Keyring, aiohttp_client: AiohttpClient) -> Place:
    """The API on SQLite and on PostgreSQL, without an upstream."""
    return await start(database, keyring, aiohttp_client)
