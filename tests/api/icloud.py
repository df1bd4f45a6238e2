"""The API together with the sync engine and a look-alike, in one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.api.app import build_api
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.world import Account
from gateway.settings import load_settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.threads import StoreThreads
from gateway.sync.context import SyncContext
from gateway.sync.service import AccountService
from tests.api.conftest import AiohttpClient, Clock, Place, fill


@dataclass
class Live:
    """A place with an upstream: Ann's and Bob's Apple Accounts exist, nobody is connected."""

    place: Place
    upstream: Lookalike
    context: SyncContext
    ann: Account
    bob: Account

    async def connect(self, account: Account, **changes: str) -> tuple[int, Any]:
        """Connect Ann (or whose account it is) through the API."""
        who = self.place.ann if account is self.ann else self.place.bob
        caller = self.place.platform if account is self.ann else self.place.stranger
        body = {"email": account.email, "app_password": account.issue_app_password(), **changes}
        return await caller.post(f"/v1/principals/{who.id}/connection", body)

    async def choose(self, linked: str | None, *conflicts: str) -> dict[str, Any]:
        """Choose Ann's calendars by name; returns them by name."""
        path = f"/v1/principals/{self.place.ann.id}"
        _, listed = await self.place.platform.get(f"{path}/calendars")
        ids = {row["name"]: row["id"] for row in listed["calendars"]}
        status, chosen = await self.place.platform.call(
            "PUT",
            f"{path}/calendar-roles",
            {
                "linked": ids[linked] if linked else None,
                "conflicts": [ids[name] for name in conflicts],
            },
        )
        assert status == 200, chosen
        return {row["name"]: row for row in chosen["calendars"]}


@asynccontextmanager
async def running(
    database: Database, keyring: Keyring, aiohttp_client: AiohttpClient
) -> AsyncIterator[Live]:
    """Start the look-alike, the sync engine and the API."""
    clock = Clock()
    async with Lookalike(now=clock) as upstream:
        settings = load_settings(upstream_url=upstream.url, upstream_allow_loopback=True)
        threads = StoreThreads(database)
        context = SyncContext(settings, threads, keyring, clock=clock)
        ann, bob, secrets = fill(database)
        app = build_api(settings, database, keyring, sync=AccountService(context), clock=clock)
        place = Place(
            database, keyring, settings, clock, await aiohttp_client(app), ann, bob, secrets
        )
        accounts = [upstream.world.add_account(f"{name}@icloud.example") for name in ("ann", "bob")]
        try:
            yield Live(place, upstream, context, *accounts)
        finally:
            await context.close()
            threads.close()
