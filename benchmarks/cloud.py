"""The look-alike with one big calendar, and small accounts beside: ``python -m benchmarks.cloud``.

Arguments: how many events, how many small accounts (none). Prints ``{"url", "email",
"app_password", "others"}`` when ready; ``others`` is JSON, [[e-mail, password], …].
"""

import asyncio
import json
import sys
from datetime import UTC, date, datetime

from benchmarks.events import OWNER, Made, Mix, make_events
from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.world import World


def first_sync_events(count: int) -> list[Made]:
    """Return the objects of the account: the shares of a usual account, however many there are."""
    open_ended = 116 * count // 2000
    return make_events(Mix(count=count, open_ended=open_ended), today=_today())


async def main(count: int, others: int = 0) -> None:
    """Serve until terminated."""
    world = World()
    account = world.add_account(OWNER)
    for made in first_sync_events(count):
        account.put("home", made.body, made.name)
    small = [(f"small{number}@icloud.com", _small(world, number)) for number in range(others)]
    async with Lookalike(world=world) as server:
        password = account.issue_app_password()
        ready = {
            "url": server.url,
            "email": OWNER,
            "app_password": password,
            "others": json.dumps(small),
        }
        print(json.dumps(ready), flush=True)
        await asyncio.Event().wait()


def _small(world: World, number: int) -> str:
    account = world.add_account(f"small{number}@icloud.com")
    for made in make_events(Mix(count=10, open_ended=1), today=_today(), seed=number):
        account.put("home", made.body, made.name)
    return account.issue_app_password()


def _today() -> date:
    return datetime.now(UTC).date()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
