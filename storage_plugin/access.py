"""Who may come in, and what each path allows.

A login belongs to one principal; Radicale's user is the principal's id. Rights are answered from
the path alone, without a query: ``mirror-…`` is readable, the rest of the own home is writable,
everything else does not exist.
"""

import time
from contextlib import suppress

from radicale.auth import AuthContext, BaseAuth
from radicale.config import Configuration
from radicale.pathutils import strip_path
from radicale.rights import BaseRights

from gateway.core.errors import StoreError
from gateway.observe import logger
from gateway.store.access.failure_counter import WAIT_MS
from gateway.store.access.principals import Login, is_seen_stale, note_login_seen, verify_login
from storage_plugin.http.state import Gateway, current_state, default_gateway
from storage_plugin.http.throttle import LoginThrottle

_log = logger("caldav")

MIRROR_PREFIX = "mirror-"
"""Names of mirrors begin so; clients cannot make calendars with such a name."""


class Auth(BaseAuth):
    """Checks device and platform logins against the store, without any cache: a revoked login
    is refused by every process at once."""

    def __init__(self, configuration: Configuration, gateway: Gateway | None = None) -> None:
        super().__init__(configuration)
        self._gateway = gateway or default_gateway()
        self._throttle = LoginThrottle(self._gateway.database)

    def _login_ext(self, login: str, password: str, context: AuthContext) -> str:
        address = context.remote_addr or ""
        self._throttle.check(address, login)
        session = current_state().read(self._gateway.database)
        found = verify_login(session, login, password)
        if found is None:
            # No name: people type passwords where names belong. What fail2ban looks for.
            _log.warning(f"Failed login attempt from {address}")
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
        current_state().end_reading()
        with (
            suppress(StoreError),
            self._gateway.database.write(wait_ms=WAIT_MS, repeatable=True) as session,
        ):
            note_login_seen(session, login.id, user_agent=agent, now=now)

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
