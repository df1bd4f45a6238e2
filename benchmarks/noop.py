"""No-op handlers that send given bytes: bare, and behind the API's own middleware.

``python -m benchmarks.noop FOLDER FILE…`` serves the n-th file as ``/bare/<n>`` of a plain aiohttp
application and as ``/v1/noop<n>`` of the API built on the installation in FOLDER, which checks the
key, counts, and gives request ids as for any other call.
"""

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

from gateway.api.app import build_api
from gateway.api.http.routing import Call, Result, Route, mount
from gateway.api.wire.shapes import NoQuery
from gateway.observe import set_up_logging
from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database


def bare_app(payloads: list[bytes]) -> web.Application:
    """Return an application of no-ops and nothing else."""
    app = web.Application()
    for number, payload in enumerate(payloads):

        async def handler(_request: web.Request, body: bytes = payload) -> web.Response:
            return web.Response(body=body, content_type="application/json")

        app.router.add_get(f"/bare/{number}", handler)
    return app


def guarded_app(folder: Path, payloads: list[bytes]) -> web.Application:
    """Return the API with no-ops added to its routes."""
    settings = Settings(data_dir=folder, requests_per_minute=1_000_000_000)  # counted as ever
    set_up_logging(level="WARNING", style="console")
    database, keyring = Database(settings.database), Keyring.load(settings.keyring)
    app = build_api(settings, database, keyring, sync=None)  # type: ignore[arg-type]
    routes = []
    for number, payload in enumerate(payloads):

        async def handler(_call: Call[NoQuery, None], body: bytes = payload) -> Result:
            return web.Response(body=body, content_type="application/json")

        path = f"/v1/noop{number}"
        routes.append(Route("GET", path, handler, "no-op", "bench", scope="freebusy:read"))
    mount(app, routes)
    return app


async def main(folder: Path, payloads: list[bytes]) -> None:
    """Serve both on free ports until terminated."""
    ready = {}
    for name, app in (("bare", bare_app(payloads)), ("guarded", guarded_app(folder, payloads))):
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        ready[name] = f"http://{host}:{port}/"
    print(json.dumps(ready), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), [Path(name).read_bytes() for name in sys.argv[2:]]))
