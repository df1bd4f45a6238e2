"""Fetching the members of a collection in batches, and how far their answers can be trusted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from gateway.core.errors import UpstreamUnreachable
from gateway.sync.plan import Held, Plan
from gateway.sync.prepare import RawObject
from gateway.upstream.client import UpstreamClient
from gateway.upstream.quirks import MULTIGET_BATCH
from gateway.upstream.reports import Fetched

_SINGLE_GETS = 10


@dataclass(slots=True)
class Batch:
    """Members as fetched: with bodies, proved gone, not answered for, not readable yet."""

    size: int = 0
    found: list[RawObject] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every member was read as it was listed."""
        return not self.silent and not self.unread

    def distrust(self, plan: Plan, held: Held) -> None:
        """Sort out what contradicts the listing: reads were seen to lag behind it.

        A member listed a moment ago that is 404 now, or comes in another version, was not read
        as listed: the old token stays and the next run asks again. The version we hold already
        is not written once more.
        """
        for name in [name for name in self.gone if name in plan.versions]:
            self.gone.remove(name)
            self.unread.append(name)
        for raw in list(self.found):
            listed = plan.versions.get(raw.name)
            if listed is not None and raw.etag is not None and raw.etag != listed:
                self.unread.append(raw.name)
                if held.is_current(raw.name, raw.etag):
                    self.found.remove(raw)


async def fetch_all(
    client: UpstreamClient, path: str, names: Sequence[str]
) -> AsyncIterator[Batch]:
    """Fetch in batches; the next one travels while the one before is prepared and written."""
    parts = [names[i : i + MULTIGET_BATCH] for i in range(0, len(names), MULTIGET_BATCH)]
    ahead: asyncio.Task[Batch] | None = None
    try:
        for index, part in enumerate(parts):
            batch = await (ahead or fetch_members(client, path, part))
            ahead = None
            if index + 1 < len(parts):
                ahead = asyncio.ensure_future(fetch_members(client, path, parts[index + 1]))
            yield batch
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


async def fetch_members(client: UpstreamClient, path: str, names: Sequence[str]) -> Batch:
    """Fetch members of a collection; multiget may leave some out, those are asked for again."""
    answered: dict[str, Fetched] = {}
    silent = list(names)
    while silent:
        got = await _multiget(client, path, silent)
        answered.update((name, got[name]) for name in silent if name in got)
        left = [name for name in silent if name not in got]
        stuck = len(left) == len(silent)
        silent = left
        if stuck:
            break
    for name in silent[:_SINGLE_GETS]:
        answered[name] = await client.get(path + name)
    return _sorted_out(names, answered)


async def _multiget(client: UpstreamClient, path: str, names: Sequence[str]) -> dict[str, Fetched]:
    """Multiget; an answer that cannot be read is asked for in halves, at last one by one.

    One object beyond the XML parser's limits (10 MB) must not hide the forty-nine beside it.
    """
    try:
        return await client.multiget(path, list(names))
    except UpstreamUnreachable as error:
        if error.status != 207:
            raise
    if len(names) == 1:
        return {names[0]: await client.get(path + names[0])}
    middle = len(names) // 2
    first = await _multiget(client, path, names[:middle])
    return first | await _multiget(client, path, names[middle:])


def _sorted_out(names: Sequence[str], answered: dict[str, Fetched]) -> Batch:
    batch = Batch(size=len(names))
    for name in names:
        fetched = answered.get(name)
        if fetched is not None and fetched.body is not None:
            batch.found.append(RawObject(name, fetched.etag, fetched.body))
        elif fetched is not None and fetched.status in (404, 410):
            batch.gone.append(name)
        else:
            batch.silent.append(name)
    return batch
