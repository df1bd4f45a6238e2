"""Running the look-alike alone, for demos and for people who develop against iCloud."""

import asyncio
from collections.abc import Callable

from gateway.lookalike.server import Lookalike


async def run_lookalike(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    partition_port: int = 0,
    seed: bool = True,
    on_ready: Callable[[Lookalike], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until cancelled, or until ``stop`` is set; ``on_ready`` is told the running server."""
    async with Lookalike(host=host, port=port, partition_port=partition_port, seed=seed) as server:
        if on_ready is not None:
            on_ready(server)
        await (stop or asyncio.Event()).wait()
