"""Questions beyond what is expanded: asked of the worker through the database, and waited for.

The worker is another process. Whoever asks waits a second at most; what is not known then counts
as unknown, and the worker goes on for those who ask later.
"""

import time
from collections.abc import Sequence
from typing import Any

from gateway.core.intervals import Interval
from gateway.store.objects.expansions import short_of
from gateway.store.objects.horizons import FARTHEST_S, ask_horizon, is_beyond, with_margin
from storage_plugin.http.state import Gateway, current_state
from storage_plugin.reports.filters import read_time_range

WAIT_S = 1.0
LOOK_EVERY_S = 0.03
_C = "{urn:ietf:params:xml:ns:caldav}"
_SPANS = (f"{_C}time-range", f"{_C}expand")


def wait_for(gateway: Gateway, principal_ids: Sequence[str], window: Interval, *, now: int) -> bool:
    """Wait at most a second until these people are expanded over a window; tell whether they are.

    What lies more than five years away is never waited for. Call it outside of any write unit;
    the request's read unit ends, for it would not see what comes.
    Within the rolling window this returns at once, without a question to the database.
    """
    if not principal_ids or not is_beyond(window, now):
        return True
    current_state().end_reading()
    asked = max(window[0], now - FARTHEST_S), min(window[1], now + FARTHEST_S)
    if asked[0] >= asked[1] or _is_known(gateway, principal_ids, asked):
        return True
    with gateway.database.write(repeatable=True) as session:
        ask_horizon(session, principal_ids, with_margin(asked, now), now=now)
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with current_state().effort.waiting():
            time.sleep(LOOK_EVERY_S)
        if _is_known(gateway, principal_ids, asked):
            return True
    return False


def _is_known(gateway: Gateway, principal_ids: Sequence[str], asked: Interval) -> bool:
    with gateway.database.read() as session:
        return not short_of(session, principal_ids, asked, subaccount_id=None)


def window_of_report(root: Any) -> Interval | None:
    """Return what the time ranges of a report span together, None without a closed one."""
    spans = [read_time_range(element) for element in root.iter() if element.tag in _SPANS]
    starts = [start for start, _ in spans if start is not None]
    ends = [end for _, end in spans if end is not None]
    if not starts or not ends or min(starts) >= max(ends):
        return None
    return min(starts), max(ends)
