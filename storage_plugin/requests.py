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
from storage_plugin.resources.calendars import refuse_subscriptions
from storage_plugin.resources.find import Resource, find, find_children

_MAKING = ("MKCALENDAR", "MKCOL", "PROPPATCH")


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

    def xml(self) -> Any | None:
        """Return the body as XML, None without one; raises 400, and 403 for a subscription."""
        root = bodies.parse_xml(self.body())
        if root is not None and self.environ["REQUEST_METHOD"].upper() in _MAKING:
            refuse_subscriptions(root)
        return root

    def find(self, address: Address | None = None) -> Resource | None:
        """Return what this login sees at an address, by default its own; None for nothing."""
        return find(self.session(), address or self.address, show_mirrors=self.state.show_mirrors)

    def find_children(self, parent: Resource) -> list[Resource]:
        """Return what this login sees directly inside of something."""
        shown = self.state.show_mirrors
        return find_children(self.session(), parent, self.user, show_mirrors=shown)

    def now(self) -> int:
        """Return the time in UTC epoch seconds."""
        return int(time.time())

    def session(self) -> Session:
        """Return the session of the request's one read unit."""
        return self.state.read(self.gateway.database)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a write unit, after the read unit ended; what passes as an exception undoes it."""
        self.state.end_reading()
        with self.gateway.database.write() as session:
            yield session
