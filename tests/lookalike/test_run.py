"""Running the look-alike alone."""

import asyncio

from gateway.lookalike.client import LookalikeControl
from gateway.lookalike.run import run_lookalike


async def test_run_seeds_tells_its_addresses_and_stops():
    ready, stop = asyncio.Queue(), asyncio.Event()
    task = asyncio.create_task(run_lookalike(on_ready=ready.put_nowait, stop=stop))
    server = await asyncio.wait_for(ready.get(), 5)
    async with LookalikeControl(server.url) as control:
        emails = [one["email"] for one in await control.accounts()]
    assert emails == ["robin@example.com", "sam@example.com"]
    assert server.url != server.partition_url
    stop.set()
    await asyncio.wait_for(task, 5)
