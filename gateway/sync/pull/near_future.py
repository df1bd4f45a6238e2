"""The near future first: what a long first sync reads before the rest (R9, R25).

Whoever connects a calendar of ten thousand events wants next week's slots now, not when all is
read. A calendar-query by time range tells which members lie there; should the server refuse or
find nothing, the order stays as it was and nothing is promised.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.core.errors import CredentialRejected, UpstreamError, UpstreamThrottled
from gateway.core.intervals import Interval
from gateway.upstream.client import UpstreamClient
from gateway.upstream.icloud import MULTIGET_BATCH

NEAR_FROM = 2 * MULTIGET_BATCH
"""A first sync of up to this many objects is over before order matters."""

DAYS_AHEAD = 92
_DAY = 86_400
_MARGIN_S = 2 * _DAY
"""Asked for beyond the span that is promised: floating and all-day times shift by zones."""


@dataclass(frozen=True, slots=True)
class Near:
    """Names still to fetch of what lies in ``span`` (UTC epoch seconds); None: no promise."""

    names: Collection[str] = frozenset()
    span: Interval | None = None

    def first(self, wanted: Sequence[str]) -> list[str]:
        """Return the names in the order of fetching."""
        return sorted(wanted, key=lambda name: name not in self.names)

    def is_reached(self, done: int) -> bool:
        """Whether the batch that made it ``done`` objects was the last one with near names."""
        near = len(self.names)
        return self.span is not None and done - MULTIGET_BATCH < near <= done


async def find_near(client: UpstreamClient, path: str, now: int, wanted: Collection[str]) -> Near:
    """Ask which of the wanted members have an instance in the coming months.

    Raises only what stops the whole account: a rejected credential, throttling, no connection.
    """
    today = now - now % _DAY
    span = (today, today + DAYS_AHEAD * _DAY)
    try:
        listed = await client.members_between(
            path, _utc(span[0] - _MARGIN_S), _utc(span[1] + _MARGIN_S)
        )
    except UpstreamError as error:
        if isinstance(error, CredentialRejected | UpstreamThrottled) or error.status is None:
            raise
        return Near()
    return Near(frozenset(name for name in wanted if name in listed), span) if listed else Near()


def _utc(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%dT%H%M%SZ")
