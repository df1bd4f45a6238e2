"""Idle runs that end together: nobody is left waiting, whatever becomes of the one who writes."""

import asyncio

from gateway.store.accounts.runs import IdleEnd
from tests.sync.conftest import Site


async def test_nobody_waits_for_a_writer_that_was_stopped(site: Site) -> None:
    runs = site.context.idle_runs
    end = IdleEnd(site.connection(), site.clock.time + 240)
    waiting = [asyncio.ensure_future(runs.note(end, now=1)) for _ in range(2)]
    await asyncio.sleep(0.001)
    assert runs._writer is not None
    runs._writer.cancel()
    heard = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert [type(one) for one in heard] == [asyncio.CancelledError] * 2
    assert await asyncio.wait_for(runs.note(end, now=1), 5) in (True, False)
