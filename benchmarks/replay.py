"""Many idle accounts for the price of one: ``python -m benchmarks.replay``.

Answers each kind of PROPFIND once from a look-alike with one account, and from then on with those
very bytes, the account number replaced by the one in the path. ``GET /last`` returns the body of
the last question, ``GET /count`` how many were asked.
"""

import asyncio
import json
import re
from datetime import UTC, datetime

import aiohttp
from aiohttp import web

from benchmarks.events import OWNER, Mix, make_events
from benchmarks.load import basic
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.world import World

_NUMBER = re.compile(r"/(\d{8,})/")


class Replay:
    """Recorded answers of one account."""

    def __init__(self, upstream: str, number: str, login: tuple[str, str]) -> None:
        self.upstream = upstream
        self.number = number
        self.headers = {**basic(login), "Content-Type": "application/xml"}
        self.known: dict[tuple[str, str, bytes], tuple[int, bytes]] = {}
        self.last = b""
        self.count = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a PROPFIND from the record, asking for it once."""
        if request.method == "GET":
            told = self.last if request.path == "/last" else str(self.count).encode()
            return web.Response(body=told)
        found = _NUMBER.search(request.path)
        asked = found[1] if found else self.number
        path = request.path.replace(asked, self.number)
        depth = request.headers.get("Depth", "0")
        self.last = await request.read()
        self.count += 1
        key = (path, depth, self.last)
        if key not in self.known:
            self.known[key] = await self._record(request.method, *key)
        status, answer = self.known[key]
        body = answer.replace(self.number.encode(), asked.encode())
        return web.Response(status=status, body=body, content_type="text/xml", charset="utf-8")

    async def _record(self, method: str, path: str, depth: str, body: bytes) -> tuple[int, bytes]:
        url = self.upstream.rstrip("/") + path
        async with (
            aiohttp.ClientSession(headers={**self.headers, "Depth": depth}) as session,
            session.request(method, url, data=body) as answer,
        ):
            return answer.status, await answer.read()


async def main() -> None:
    """Serve until terminated."""
    world = World()
    account = world.add_account(OWNER)
    for made in make_events(Mix(count=50, open_ended=3), today=datetime.now(UTC).date()):
        account.put("home", made.body, made.name)
    password = account.issue_app_password()
    async with Lookalike(world=world) as cloud:
        replay = Replay(cloud.partition_url, account.dsid, (OWNER, password))
        runner = web.ServerRunner(web.Server(replay.handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        ready = {
            "url": f"http://{host}:{port}/",
            "cloud": cloud.url,
            "number": account.dsid,
            "email": OWNER,
            "app_password": password,
        }
        print(json.dumps(ready), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
