"""The API behind its own door, as the command serves it, and raw bytes to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.api.app import build_api
from gateway.api.http.listener import ApiRunner
from gateway.settings import load_settings
from tests.api.conftest import Place


@dataclass(frozen=True)
class Answer:
    """One answer as it came; ``problem`` is its JSON, if it has any."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        return orjson.loads(self.body) if self.body else None


@asynccontextmanager
async def served(place: Place, **settings: Any) -> AsyncIterator[int]:
    """Serve the place's API with these settings; yields the port."""
    app = build_api(
        load_settings(**settings),
        place.database,
        place.keyring,
        sync=None,  # type: ignore[arg-type]
        clock=place.clock,
    )
    runner = ApiRunner(app)
    await runner.setup()
    await runner.listen("127.0.0.1", 0)
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Line:
    """One connection; ``source`` is the client's address."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, source: str = "127.0.0.1") -> "Line":
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))

    async def ask(self, sent: bytes) -> Answer:
        """Send bytes and read one answer."""
        self.writer.write(sent)
        return await self.answer()

    async def answer(self) -> Answer:
        """Read one answer."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("transfer-encoding") == "chunked":
                body = await self._chunks()
            else:
                body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split(" ")[1]), headers, body)

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self.reader.readline(), 16):
            parts.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readline()
        return b"".join(parts)

    async def ended(self) -> bytes:
        """Wait until the server closes; returns what came before."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        self.writer.close()


async def ask(port: int, sent: bytes) -> Answer:
    """Send bytes over a connection of their own and read one answer."""
    line = await Line.open(port)
    try:
        return await line.ask(sent)
    finally:
        line.close()


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a request; ``_`` in the name of a header stands for ``-``."""
    lines = [f"{method} {target} HTTP/1.1", "Host: a"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
