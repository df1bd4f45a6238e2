"""Switches: which quirk is on, off or changed, for whom, how often and for how long.

A quirk has one of three kinds (`quirks.QUIRKS`). A *default* is on unless a switch says
``off``; a *fault* or *variant* is off unless a switch names it. A switch may be bound to an
account, a calendar id, a method or a part of the path, to a number of requests (after skipping
some), and to a time of the world's clock.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.lookalike.world.quirks import BY_NAME

Params = Mapping[str, Any]


class Target(Protocol):
    """What a switch is matched against: one request."""

    @property
    def account_email(self) -> str | None: ...
    @property
    def calendar_id(self) -> str | None: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...


@dataclass
class Switch:
    """One setting of one quirk; ``state`` is scratch space of the quirk itself."""

    id: int
    name: str
    params: dict[str, Any]
    account: str | None = None
    calendar: str | None = None
    method: str | None = None
    path: str | None = None
    times: int | None = None
    skip: int = 0
    until: float | None = None
    state: dict[str, Any] = field(default_factory=dict)

    def matches(self, target: Target) -> bool:
        """Tell whether the switch speaks about this request."""
        return (
            (self.account is None or self.account == (target.account_email or "").casefold())
            and (self.calendar is None or self.calendar == target.calendar_id)
            and (self.method is None or self.method == target.method)
            and (self.path is None or self.path in target.path)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the switch as plain values."""
        keys = ("id", "name", "params", "account", "calendar", "method", "path", "times", "skip")
        return {key: getattr(self, key) for key in keys} | {"until": self.until}


class FaultBook:
    """All switches of a world. ``now`` gives UTC seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ids = itertools.count(1)
        self._by_name: dict[str, list[Switch]] = {}

    def set(
        self,
        name: str,
        account: str | None = None,
        *,
        calendar: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
        skip: int = 0,
        seconds: float | None = None,
        **params: Any,
    ) -> int:
        """Set a quirk; the newest matching switch wins. Returns an id for `clear`.

        ``times`` counts affected requests, ``skip`` lets so many matching ones pass before,
        ``seconds`` ends it on the world's clock. Raises KeyError for an unknown quirk.
        """
        quirk = BY_NAME[name]
        unknown = set(params) - set(quirk.params) - {"off"}
        if unknown:
            raise KeyError(f"{name} has no parameter {', '.join(sorted(unknown))}")
        switch = Switch(
            id=next(self._ids),
            name=name,
            params=params,
            account=account.casefold() if account else None,
            calendar=calendar,
            method=method,
            path=path,
            times=times,
            skip=skip,
            until=self._now() + seconds if seconds is not None else None,
        )
        self._by_name.setdefault(name, []).insert(0, switch)
        return switch.id

    def clear(
        self,
        name: str | None = None,
        *,
        account: str | None = None,
        id: int | None = None,  # noqa: A002
    ) -> int:
        """Remove switches by name, account or id (all without arguments); return how many."""
        folded = account.casefold() if account else None
        gone = 0
        for key, switches in self._by_name.items():
            keep = [
                switch
                for switch in switches
                if (name is not None and key != name)
                or (folded is not None and switch.account != folded)
                or (id is not None and switch.id != id)
            ]
            gone += len(switches) - len(keep)
            self._by_name[key] = keep
        return gone

    def take(self, name: str, target: Target) -> Switch | None:
        """Return the switch that acts on this request and count it; None when there is none."""
        switches = self._by_name.get(name)
        if not switches:
            return None
        now = self._now()
        for switch in switches:
            if switch.until is not None and now >= switch.until:
                continue
            if switch.times == 0 or not switch.matches(target):
                continue
            if switch.skip > 0:
                switch.skip -= 1
                continue
            if switch.times is not None:
                switch.times -= 1
            return switch
        return None

    def active(self) -> list[Switch]:
        """Return every switch that can still act."""
        now = self._now()
        return [
            switch
            for switches in self._by_name.values()
            for switch in switches
            if switch.times != 0 and (switch.until is None or now < switch.until)
        ]
