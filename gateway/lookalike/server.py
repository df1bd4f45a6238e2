"""The running look-alike: HTTP listeners in front of `dispatch`, the log, the control API."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from gateway.lookalike.control import actions, edits
from gateway.lookalike.control.control import CONTROL_PREFIX, answer_control
from gateway.lookalike.dav.answers import add_common_headers
from gateway.lookalike.dav.call import Answer, Call
from gateway.lookalike.dav.dispatch import answer_call
from gateway.lookalike.seed import seed_demo
from gateway.lookalike.world.journal import Entry
from gateway.lookalike.world.world import World

_ACTION_MODULES = (actions, edits)
"""Imported for what they register with `control`."""
_WRITES = {"PUT", "DELETE", "PROPPATCH", "MKCALENDAR", "MKCOL", "MOVE", "COPY", "POST"}


class Lookalike:
    """An imitation of iCloud's CalDAV service on the loopback interface.

    ``port`` and ``partition_port`` may be 0 (any free one). ``now`` gives UTC seconds (a virtual
    clock for tests), ``sleep`` is what slow answers wait on, ``keepalive`` the seconds after
    which idle connections are closed. With ``seed`` the demo accounts are there from the start.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        partition_port: int = 0,
        partition_host: str = "localhost",
        now: Callable[[], float] = time.time,
        seed: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        keepalive: float = 30.0,
        world: World | None = None,
    ) -> None:
        self.world = world or World(now)
        self.url = ""
        self.partition_url = ""
        self._host = host
        self._partition_host = partition_host
        self._ports = {"entry": port, "p01": partition_port, "p02": 0}
        self._sleep = sleep
        self._keepalive = keepalive
        self._runners: dict[str, web.ServerRunner] = {}
        if seed:
            seed_demo(self.world)

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the entry and both partition listeners; after `stop`, on the same ports again."""
        for listener in self._ports:
            await self._open(listener)
        self.url = f"http://{self._host}:{self._ports['entry']}/"
        for partition in self.world.partitions:
            port = self._ports[partition]
            self.world.partitions[partition] = f"http://{self._partition_host}:{port}/"
        self.partition_url = self.world.partitions["p01"]

    async def stop(self) -> None:
        """Close all listeners and connections; the world stays."""
        for runner in self._runners.values():
            await runner.cleanup()
        self._runners.clear()

    async def __aenter__(self) -> "Lookalike":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _open(self, listener: str) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._handle(request, listener)

        server = web.Server(handle, keepalive_timeout=self._keepalive)
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._ports[listener])
        await site.start()
        self._runners[listener] = runner
        self._ports[listener] = int(runner.addresses[0][1])

    # -- requests ------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest, listener: str) -> web.StreamResponse:
        body = await request.content.read()
        path = request.raw_path
        if listener == "entry" and path.startswith(CONTROL_PREFIX):
            return await answer_control(self.world, request, body)
        call = Call(self.world, request.method, path, request.headers, body, listener)
        entry = self._open_entry(call)
        answer = answer_call(call)
        self._close_entry(entry, call, answer)
        if answer.delay:
            await self._sleep(answer.delay)
        if answer.abort:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        add_common_headers(call, answer, entry.seq)
        if answer.break_at is not None:
            return await _send_broken(request, answer)
        return _to_response(answer)

    def _open_entry(self, call: Call) -> Entry:
        return self.world.journal.open(
            time=self.world.now(),
            account=None,
            listener=call.listener,
            method=call.method,
            path=call.raw_path,
            depth=call.depth,
            body_size=len(call.body),
            if_match=call.headers.get("If-Match"),
            if_none_match=call.headers.get("If-None-Match"),
        )

    def _close_entry(self, entry: Entry, call: Call, answer: Answer) -> None:
        entry.account = call.account_email
        entry.status = 0 if answer.abort else answer.status
        entry.report = call.report
        entry.calendar = call.calendar_id
        entry.answer_size = len(answer.body)
        entry.quirks = call.quirks
        if call.method in _WRITES and call.body:
            entry.body_sha256 = hashlib.sha256(call.body).hexdigest()


async def _send_broken(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Announce the whole body, send a part of it, and drop the connection."""
    response = web.StreamResponse(status=answer.status)
    response.content_length = len(answer.body)
    with suppress(ConnectionResetError):  # the client may have left by itself
        await response.prepare(request)
        await response.write(answer.body[: answer.break_at])
    if request.transport is not None:
        request.transport.close()
    return response


def _to_response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body)
    if answer.content_type:
        response.headers["Content-Type"] = answer.content_type
    for name, value in answer.headers:
        response.headers.add(name, value)
    return response
