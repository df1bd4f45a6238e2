"""A foreign client in a process of its own, driven by lines of JSON on its standard streams."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

LONGEST_LINE = 2**24


class ClientError(Exception):
    """The client raised; the text is what it said."""


class Driver:
    """A running client; every call is one of the functions that its script offers."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def call(self, function: str, /, **arguments: Any) -> Any:
        """Call a function and return its result; raises :class:`ClientError`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wish = json.dumps({"call": function, "with": arguments})
        self._process.stdin.write(wish.encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line, "the client has ended"
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["result"]


@asynccontextmanager
async def run_driver(
    *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Driver]:
    """Run the client until the end of the block; its exit code must be 0."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, env=environment, limit=LONGEST_LINE
    )
    yield Driver(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 20) == 0
