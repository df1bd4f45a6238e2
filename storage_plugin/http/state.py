"""What one request knows: who logged in, and the open unit of work.

Radicale hands the user to few of its calls, and the login to none. Both travel in a context
variable that lives exactly as long as the request.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.settings import Settings
from gateway.store.access.principals import Login
from gateway.store.engine import Database, Session
from storage_plugin.http.effort import Effort


@dataclass(frozen=True)
class Gateway:
    """What all requests share; never the keyring."""

    settings: Settings
    database: Database


@dataclass
class RequestState:
    """The login and the units of work of the request that this thread works on.

    All that a request reads, its login included, it reads in one unit, opened at the first
    question and closed before anything is written or waited for.
    """

    login: Login | None = None
    user_agent: str = ""
    effort: Effort = field(default_factory=Effort)
    _reading: ExitStack = field(default_factory=ExitStack)
    _session: Session | None = None

    @property
    def show_mirrors(self) -> bool:
        """Whether this login sees the mirrors (R18)."""
        return self.login is None or self.login.show_mirrors

    def read(self, database: Database) -> Session:
        """Return the session of the read unit."""
        if self._session is None:
            self._session = self._reading.enter_context(database.read())
        return self._session

    def end_reading(self) -> None:
        """Close the read unit; the next question opens another one, which sees what is new."""
        self._session = None
        self._reading.close()


_state: ContextVar[RequestState | None] = ContextVar("caldav request", default=None)


def current_state() -> RequestState:
    """Return the state of this request, making one where no application of ours runs."""
    state = _state.get()
    if state is None:
        state = RequestState()
        _state.set(state)
    return state


@contextmanager
def fresh_state(effort: Effort | None = None) -> Iterator[RequestState]:
    """Begin a request: nothing of the one before is left; ``effort`` bounds what it may cost."""
    state = RequestState(effort=effort or Effort())
    token = _state.set(state)
    try:
        yield state
    finally:
        _state.reset(token)
        state.end_reading()
