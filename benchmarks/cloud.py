"""The look-alike with one big calendar: ``python -m benchmarks.cloud COUNT``.

Prints ``{"url", "email", "app_password"}`` when ready.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime

from benchmarks.events import OWNER, Made, Mix, make_events
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world import World


def first_sync_events(count: int) -> list[Made]:
    """The objects of the account: the shares of a usual account, however many there are."""
    open_ended = 116 * count // 2000
    return make_events(Mix(count=count, open_ended=open_ended), today=datetime.now(UTC).date())


async def main(count: int) -> None:
    """Serve until terminated."""
    world = World()
    account = world.add_account(OWNER)
    for made in first_sync_events(count):
        account.put("home", made.body, made.name)
    async with Lookalike(world=world) as server:
        password = account.issue_app_password()
        ready = {"url": server.url, "email": OWNER, "app_password": password}
        print(json.dumps(ready), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
