"""Fetching the members of a collection in batches, and how far their answers can be trusted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from gateway.core.errors import (
    CredentialRejected,
    UpstreamError,
    UpstreamThrottled,
    UpstreamUnreachable,
)
from gateway.expansion.prepare import RawObject
from gateway.store.accounts.members import Unread
from gateway.sync.pull.plan import Held, Plan
from gateway.upstream.client import UpstreamClient
from gateway.upstream.dav_xml import Fetched
from gateway.upstream.icloud import MULTIGET_BATCH

_SINGLE_GETS = 10
_MOST_REFUSALS = 16
"""Answers to one batch that may be refused before the whole batch is: enough to find two members
that spoil the answer for the forty-eight beside them."""


@dataclass(slots=True)
class Batch:
    """Members as fetched: with bodies, proved gone, refused one by one, not asked for singly.

    ``unread`` says of each that could not be read why (R9); it was asked for by name.
    """

    size: int = 0
    found: list[RawObject] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unread: dict[str, Unread] = field(default_factory=dict)
    unasked: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every member was asked for, and the calendar may move on."""
        return not self.unasked

    def distrust(self, plan: Plan, held: Held) -> None:
        """Sort out what contradicts the listing: reads were seen to lag behind it.

        A member listed a moment ago that is 404 now, or comes in another version, was not read as
        listed: it is asked for again. The version we hold already is not written once more.
        """
        for name in [name for name in self.gone if name in plan.versions]:
            self.gone.remove(name)
            self.unread[name] = Unread(plan.versions[name], True, "not-found")
        for name, unread in self.unread.items():
            if name in plan.versions:
                self.unread[name] = Unread(plan.versions[name], True, unread.reason)
        for raw in list(self.found):
            listed = plan.versions.get(raw.name)
            if listed is not None and raw.etag is not None and raw.etag != listed:
                self.unread[raw.name] = Unread(listed, True, "older-version")
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
    refusals: list[str] = []
    while silent:
        got = await _multiget(client, path, silent, refusals)
        answered.update((name, got[name]) for name in silent if name in got)
        left = [name for name in silent if name not in got]
        stuck = len(left) == len(silent)
        silent = left
        if stuck:
            break
    for name in silent[:_SINGLE_GETS]:
        answered[name] = await _get(client, path, name)
    return _sorted_out(names, answered)


async def _multiget(
    client: UpstreamClient, path: str, names: Sequence[str], refusals: list[str]
) -> dict[str, Fetched]:
    """Multiget; an answer that is refused or cannot be read is asked for in halves, at last singly.

    One object beyond the XML parser's limits (10 MB), or one that the server stumbles over, must
    not hide the forty-nine beside it. ``refusals`` counts: when too much is refused, all is.
    """
    try:
        return await client.multiget(path, list(names))
    except UpstreamError as error:
        if not _is_about_members(error) or len(refusals) == _MOST_REFUSALS:
            raise
        if error.status != 207:
            refusals.append(error.code)
    if len(names) == 1:
        return {names[0]: await _get(client, path, names[0])}
    middle = len(names) // 2
    first = await _multiget(client, path, names[:middle], refusals)
    return first | await _multiget(client, path, names[middle:], refusals)


def _is_about_members(error: UpstreamError) -> bool:
    """Whether a refusal of a multiget may be due to one of its members."""
    if isinstance(error, CredentialRejected | UpstreamThrottled) or error.status is None:
        return False
    return error.status in (207, 403) or error.status >= 500


async def _get(client: UpstreamClient, path: str, name: str) -> Fetched:
    """GET one member; what is refused of it alone is told by its status, 413 when too large."""
    try:
        return await client.get(path + name)
    except UpstreamError as error:
        if isinstance(error, CredentialRejected | UpstreamThrottled) or error.status is None:
            raise
        too_large = isinstance(error, UpstreamUnreachable) and error.status == 207
        return Fetched(name, 413 if too_large else error.status)


def _sorted_out(names: Sequence[str], answered: dict[str, Fetched]) -> Batch:
    batch = Batch(size=len(names))
    for name in names:
        fetched = answered.get(name)
        if fetched is None:
            batch.unasked.append(name)
        elif fetched.body is not None:
            batch.found.append(RawObject(name, fetched.etag, fetched.body))
        elif fetched.status in (404, 410):
            batch.gone.append(name)
        else:
            batch.unread[name] = Unread(None, False, _reason(fetched.status))
    return batch


def _reason(status: int) -> str:
    if status == 413:
        return "too-large"
    return "no-answer" if 200 <= status < 300 else f"refused-{status}"
