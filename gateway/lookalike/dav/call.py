"""One request on its way through the imitation, and the answer it gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from gateway.lookalike.world.accounts import Account, Calendar
from gateway.lookalike.world.contents import Resource
from gateway.lookalike.world.faults import Switch
from gateway.lookalike.world.quirks import BY_NAME
from gateway.lookalike.world.world import World

XML_TYPE = "text/xml; charset=UTF-8"


@dataclass
class Answer:
    """What goes back. ``delay`` is in seconds; ``abort`` drops the connection without an answer.

    ``break_at`` drops it after so many bytes of the body, the length having promised more.
    """

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    delay: float = 0.0
    abort: bool = False
    break_at: int | None = None

    def add_header(self, name: str, value: str) -> "Answer":
        """Add a header and return the answer."""
        self.headers.append((name, value))
        return self


@dataclass
class Call:
    """A request with everything handlers ask about it.

    ``listener`` is ``entry`` or the name of a partition. ``account``, ``calendar`` and ``name``
    are filled in while the request walks through `dispatch`.
    """

    world: World
    method: str
    raw_path: str
    headers: Mapping[str, str]
    body: bytes
    listener: str = "entry"
    account: Account | None = None
    calendar: Calendar | None = None
    name: str | None = None
    report: str = ""
    claimed: str | None = None
    quirks: list[str] = field(default_factory=list)
    _taken: dict[str, Switch | None] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path without query, percent-decoded."""
        return unquote(self.raw_path.partition("?")[0])

    @property
    def depth(self) -> str | None:
        """The Depth header in lower case, or None."""
        value = self.headers.get("Depth")
        return None if value is None else value.strip().lower()

    @property
    def account_email(self) -> str | None:
        """E-mail of the account, or of the one the request claims to be."""
        return self.account.email if self.account else self.claimed

    @property
    def calendar_id(self) -> str | None:
        """Id of the calendar the path names."""
        return self.calendar.id if self.calendar else None

    @property
    def owner(self) -> Account:
        """The authenticated account; only asked for behind the credentials check."""
        if self.account is None:
            raise LookupError("no account on this request")
        return self.account

    @property
    def resource(self) -> Resource | None:
        """The stored object the path names, if any."""
        if self.calendar is None or self.name is None:
            return None
        return self.calendar.resources.get(self.name)

    def take(self, name: str) -> Switch | None:
        """Return the switch for a quirk that acts on this request; counted once per request."""
        if name not in self._taken:
            switch = self.world.faults.take(name, self)
            self._taken[name] = switch
            if switch is not None:
                self.quirks.append(name)
        return self._taken[name]

    def on(self, name: str) -> bool:
        """Tell whether a quirk acts: a default one unless switched off, others when switched on."""
        switch = self.take(name)
        if switch is None:
            return BY_NAME[name].kind == "default"
        return not switch.params.get("off", False)

    def param(self, name: str, key: str, default: Any = None) -> Any:
        """Return a parameter of a quirk: from its switch, else the default given."""
        switch = self.take(name)
        return default if switch is None else switch.params.get(key, default)
