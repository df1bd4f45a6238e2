"""Whatever is sent, right or wrong: a documented status, the documented shape, never a crash.

``GATEWAY_TEST_EXAMPLES`` says how many requests each operation gets; more than the default are new
ones at each run.
"""

import asyncio
import http.client
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode

from gateway.api.app import build_api
from gateway.api.description.openapi import build_document
from gateway.api.http.listener import ApiRunner
from gateway.api.routes.table import ROUTES
from gateway.core.errors import UpstreamUnreachable
from gateway.settings import load_settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import migrate
from tests.api.conftest import Clock, fill

DOCUMENT: dict[str, Any] = orjson.loads(orjson.dumps(build_document(ROUTES, version="1")))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    f"{operation.method.upper()} {operation.path}": operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
}
USUAL_EXAMPLES = 6
EXAMPLES = int(os.environ.get("GATEWAY_TEST_EXAMPLES", USUAL_EXAMPLES))


class NoUpstream:
    """An iCloud that cannot be reached: each call of the sync service says so."""

    def __getattr__(self, name: str) -> Any:
        async def unreachable(*_: object, **__: object) -> None:
            raise UpstreamUnreachable("iCloud did not answer.")

        return unreachable


@dataclass(frozen=True)
class Server:
    """An API in a thread of its own."""

    port: int
    secret: str
    known: Mapping[str, str]
    """Ids that exist, by the name of the path parameter."""

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create something and return it."""
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        made: dict[str, Any] = json.loads(answer.read())
        connection.close()
        assert answer.status == 201, made
        return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the API from another thread: generated requests are sent from this one."""
    folder = tmp_path_factory.mktemp("fuzz")
    database = Database(f"sqlite:///{folder / 'gateway.sqlite3'}")
    migrate(database)
    ann, _, secrets = fill(database)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(database, folder), loop).result(30)
    yield furnished(Server(runner.addresses[0][1], secrets["admin"], {}), ann.id)
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()
    database.close()


def furnished(server: Server, ann: str) -> Server:
    """Create one of each thing that a path can name."""
    span = {"start": "2026-11-02T09:00:00Z", "end": "2026-11-02T10:00:00Z"}
    later = {"start": "2026-11-03T09:00:00Z", "end": "2026-11-03T10:00:00Z"}
    token = server.make(f"/v1/principals/{ann}/freebusy-tokens", {})
    offer = {"name": "x", "principal": ann, "duration_minutes": 30}
    known = {
        "principal": ann,
        "token": token["token"],
        "freebusy_token": token["id"],
        "login": server.make(f"/v1/principals/{ann}/logins", {"kind": "device"})["id"],
        "schedule": server.make("/v1/schedules", offer)["id"],
        "slot": server.make("/v1/blocked-slots", {"principal": ann, **span})["id"],
        "hold": server.make("/v1/holds", {"principal": ann, **later})["id"],
        "appointment": server.make(
            "/v1/appointments", {"principal": ann, "title": "x", "allow_overlap": True, **span}
        )["id"],
    }
    return Server(server.port, server.secret, known)


def erases(name: str) -> bool:
    """Whether an operation may take something away that the others name: they come first."""
    return name.startswith("DELETE") or name.endswith("/rotate")


async def _serve(database: Database, folder: Path) -> web.AppRunner:
    keyring = Keyring.create(folder / "keyring.json")
    settings = load_settings(requests_per_minute=0)
    app = build_api(settings, database, keyring, sync=NoUpstream(), clock=Clock())
    runner = ApiRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


@pytest.mark.parametrize("name", sorted(OPERATIONS, key=lambda name: (erases(name), name)))
def test_an_operation_keeps_its_promise(server: Server, name: str) -> None:
    operation = OPERATIONS[name]

    @settings(
        max_examples=EXAMPLES,
        derandomize=EXAMPLES == USUAL_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of(
            operation.as_strategy(),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        ),
        known=st.booleans(),
    )
    def check(case: Any, known: bool) -> None:
        status, kind, body = send(server, case, known)
        promised = DOCUMENT["paths"][operation.path][operation.method]["responses"]
        assert status < 500 or (status == 502 and "502" in promised), body
        if status in (404, 405) and kind == "application/problem+json":
            return  # a path that was bent out of shape is another address
        assert str(status) in promised, body
        check_shape(promised[str(status)], kind, body)

    check()


def send(server: Server, case: Any, known: bool) -> tuple[int, str, bytes]:
    """Send a generated case; half of them name things that exist."""
    values = dict(case.path_parameters or {})
    if known:
        values |= {name: server.known[name] for name in values if name in server.known}
    path = case.operation.path
    for parameter, value in values.items():
        path = path.replace(f"{{{parameter}}}", quote(str(value), safe="") or "-")
    query = urlencode(dict(case.query or {}), doseq=True, errors="replace")
    headers = {"Authorization": f"Bearer {server.secret}"}
    body = case.body if isinstance(case.body, dict | list | str | int | float | None) else None
    data = None
    if case.operation.body:
        data = json.dumps(body, default=str).encode()
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        target = f"{path}?{query}" if query else path
        connection.request(case.operation.method.upper(), target, data, headers)
        answer = connection.getresponse()
        kind = (answer.getheader("Content-Type") or "").partition(";")[0]
        return answer.status, kind, answer.read()
    finally:
        connection.close()


def check_shape(promise: dict[str, Any], kind: str, body: bytes) -> None:
    """Compare an answer with what the document says of it."""
    content = promise.get("content")
    if content is None:
        return
    assert kind in content, (kind, body)
    if kind.endswith("json"):
        schema = {**content[kind]["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(schema).validate(orjson.loads(body))
