"""One request as the methods see it: where it points, what it brings, its units of work."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway.store.access.principals import LoginKind
from gateway.store.engine import Session
from storage_plugin.http import bodies
from storage_plugin.http.handlers import Address
from storage_plugin.http.state import Gateway, RequestState


@dataclass(frozen=True)
class Request:
    """A request of ``user``, a principal's id; ``path`` is sanitised and without the prefix."""

    gateway: Gateway
    state: RequestState
    environ: Mapping[str, Any]
    base_prefix: str
    path: str
    user: str

    @cached_property
    def address(self) -> Address:
        """What the path names; raises :class:`DavError` for what can be nothing here."""
        return Address.parse(self.path)

    @property
    def full_path(self) -> str:
        """The path as the client names it."""
        return self.base_prefix + self.path

    @property
    def login_kind(self) -> LoginKind:
        """The kind of login; without one, the weaker: a device."""
        return self.state.login.kind if self.state.login is not None else "device"

    def header(self, name: str) -> str:
        """Return a header by its CGI name (``HTTP_DEPTH``), empty when there is none."""
        return str(self.environ.get(name, ""))

    def body(self) -> bytes:
        """Return the body; raises 400 when it is shorter than announced."""
        return bodies.read_body(self.environ)

    def now(self) -> int:
        """Return the time in UTC epoch seconds."""
        return int(time.time())

    def reading(self) -> Session:
        """Return the session of the request's one read unit."""
        return self.state.read(self.gateway.database)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a write unit, after the read unit ended; what passes as an exception undoes it."""
        self.state.end_reading()
        with self.gateway.database.write() as session:
            yield session
