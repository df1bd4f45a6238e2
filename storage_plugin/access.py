"""Who may come in: a login belongs to one principal, whose id is the user of the request."""

import time
from contextlib import suppress

from gateway.core.errors import StoreError
from gateway.observe import logger
from gateway.store.access.failure_counter import WAIT_MS
from gateway.store.access.principals import Login, is_seen_stale, note_login_seen, verify_login
from storage_plugin.http.state import Gateway, current_state
from storage_plugin.http.throttle import LoginThrottle

_log = logger("caldav")


class Doorkeeper:
    """Checks device and platform logins against the store, without any cache: a revoked login
    is refused by every process at once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._throttle = LoginThrottle(gateway.database)

    def admit(self, login: str, password: str, address: str) -> str:
        """Return the principal's id of a login, empty for a wrong one; raises 429."""
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
