"""Who may come in, and what each path allows.

A login belongs to one principal; Radicale's user is the principal's id. Rights are answered from
the path alone, without a query: ``mirror-…`` is readable, the rest of the own home is writable,
everything else does not exist.
"""

import ipaddress
import time
from functools import lru_cache
from http import HTTPStatus

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from radicale.auth import AuthContext, BaseAuth
from radicale.config import Configuration
from radicale.pathutils import strip_path
from radicale.rights import BaseRights

from gateway.core.errors import StoreError
from gateway.store.principals import Login, is_seen_stale, note_login_seen, verify_login
from storage_plugin.errors import DavError
from storage_plugin.state import Gateway, current_state, default_gateway

MIRROR_PREFIX = "mirror-"
"""Names of mirrors begin so; clients cannot make calendars with such a name."""

FAILURES_PER_ADDRESS = parse("100 per 5 minutes")
FAILURES_PER_NAME = parse("10 per 5 minutes")
_RETRY_AFTER_S = 300


class LoginThrottle:
    """Counts failed logins by address and by (address, name): never by name alone, for that
    would let anybody lock anybody out."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, address: str, name: str) -> None:
        """Raise :class:`DavError` 429 while this address has failed too often."""
        source = _network(address)
        if not self._limiter.test(FAILURES_PER_NAME, source, name) or not self._limiter.test(
            FAILURES_PER_ADDRESS, source
        ):
            raise DavError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "",
                "Too many failed logins from this address; wait five minutes.",
                headers={"Retry-After": str(_RETRY_AFTER_S)},
            )

    def note_failure(self, address: str, name: str) -> None:
        """Count one failure."""
        source = _network(address)
        self._limiter.hit(FAILURES_PER_NAME, source, name)
        self._limiter.hit(FAILURES_PER_ADDRESS, source)


class Auth(BaseAuth):
    """Checks device and platform logins against the store, without any cache: a revoked login
    is refused by every process at once."""

    def __init__(self, configuration: Configuration, gateway: Gateway | None = None) -> None:
        super().__init__(configuration)
        self._gateway = gateway or default_gateway()
        self._throttle = LoginThrottle()

    def _login_ext(self, login: str, password: str, context: AuthContext) -> str:
        address = context.remote_addr or ""
        self._throttle.check(address, login)
        with self._gateway.database.read() as session:
            found = verify_login(session, login, password)
        if found is None:
            self._throttle.note_failure(address, login)
            return ""
        current_state().login = found
        self._note_seen(found)
        return found.principal_id

    def _note_seen(self, login: Login) -> None:
        """Remember the use for the admin; a busy database is no reason to refuse anybody."""
        agent, now = current_state().user_agent, int(time.time())
        if not is_seen_stale(login, user_agent=agent, now=now):
            return
        try:
            with self._gateway.database.write() as session:
                note_login_seen(session, login.id, user_agent=agent, now=now)
        except StoreError:
            return

    def _sleep_for_constant_exec_time(self, time_ns_begin: int) -> None:
        """Never sleep in a worker thread: failures are throttled by address instead."""


class Rights(BaseRights):
    """Letters by path: ``R`` untagged and readable, ``r``/``w`` a calendar, see Radicale."""

    def __init__(self, configuration: Configuration, gateway: Gateway | None = None) -> None:
        super().__init__(configuration)
        self._gateway = gateway or default_gateway()

    def authorization(self, user: str, user_groups: set[str], path: str) -> str:
        """Return the letters that ``user`` has on ``path``; no query is made."""
        parts = strip_path(path).split("/")
        if not user:
            return ""
        if parts == [""]:
            return "R"
        if parts[0] != user:
            return ""
        if len(parts) == 1:
            return "R"
        if parts[1].startswith(MIRROR_PREFIX):
            return "r" if len(parts) == 2 else ""
        # "D": Radicale asks for it before it deletes a collection; the storage decides.
        return "rwD" if len(parts) == 2 else ""


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """Return the part of an address that one customer has: all of IPv4, /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
