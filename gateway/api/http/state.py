"""What every handler may reach: typed application and request keys."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.api.process.activity import Activity
from gateway.api.process.beyond_window import BeyondWindow
from gateway.api.process.guesses import Guesses
from gateway.api.process.limits import Limits
from gateway.api.process.once_per_turn import OncePerTurn
from gateway.api.process.ports import SyncService
from gateway.api.process.readiness import Readiness
from gateway.api.process.timelines import TimelineCache
from gateway.settings import Settings
from gateway.store.accounts.accounts import Keyring
from gateway.store.signals import ChangeSignals
from gateway.store.threads import StoreThreads


@dataclass(frozen=True, slots=True)
class ApiState:
    """The parts the sidecar is made of; ``clock`` returns UTC epoch seconds.

    ``refresh`` is that of ``signals``, shared by the requests that arrived together.
    """

    settings: Settings
    threads: StoreThreads
    keyring: Keyring
    sync: SyncService
    clock: Callable[[], float]
    signals: ChangeSignals
    refresh: OncePerTurn
    timelines: TimelineCache
    activity: Activity
    limits: Limits
    public_limits: Limits
    beyond_window: BeyondWindow
    guesses: Guesses
    readiness: Readiness


STATE = web.AppKey("state", ApiState)
REQUEST_ID = web.RequestKey("request_id", str)
RATE_LIMIT = web.RequestKey("rate_limit", tuple[str, str])
"""The fields RateLimit-Policy and RateLimit of the answer."""
