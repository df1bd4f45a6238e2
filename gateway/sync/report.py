"""What a sync tells while it runs and when it has ended."""

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["read", "unchanged", "catching-up", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the running pull of one calendar is; ``total`` is known once it was listed."""

    calendar_id: str
    name: str
    done: int
    total: int


@dataclass(slots=True)
class CalendarReport:
    """What one pull did to one mirror; ``problem`` is a stable code, None when all went well.

    ``unclear`` of the changed objects could not be understood: they are kept, their time unknown.
    ``catching_up`` and ``set_aside`` count the members that iCloud lists and does not hand over.
    ``crashed``: the pull ended by an error nobody foresaw.
    """

    calendar_id: str
    name: str
    changed: int = 0
    removed: int = 0
    own: int = 0
    repaired: int = 0
    unclear: int = 0
    catching_up: int = 0
    set_aside: int = 0
    problem: str | None = None
    detail: str | None = None
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class CalendarOutcome:
    """What one run found out about one calendar in use, whether it had to be pulled or not.

    ``outcome`` is ``read`` (to its end), ``unchanged`` (found as it was read), ``catching-up``
    (some member could not be read yet), ``failed``, or ``gone``.
    """

    id: str
    name: str
    blocks: bool
    outcome: Outcome
    changed: int
    removed: int
    problem: str | None
    detail: str | None

    @property
    def is_current(self) -> bool:
        """Whether its mirror is what iCloud holds; of one that is gone there is nothing to know."""
        return self.outcome in ("read", "unchanged", "gone")


@dataclass(slots=True)
class SyncReport:
    """One run over one account: its state afterwards, requests sent, what changed."""

    connection_id: str
    state: str = "ok"
    problem: str | None = None
    detail: str | None = None
    requests: int = 0
    pushed: int = 0
    push_crashed: bool = False
    left: bool = False
    """It made way for somebody who waits to read, before it looked."""
    calendars: list[CalendarReport] = field(default_factory=list)
    outcomes: list[CalendarOutcome] = field(default_factory=list)
    """All calendars in use, pulled or not; filled in where somebody asked for the run."""

    @property
    def ok(self) -> bool:
        """Whether the account, all pulled calendars and all calendars in use are current now."""
        if self.problem is not None or any(c.problem is not None for c in self.calendars):
            return False
        return all(outcome.is_current for outcome in self.outcomes)
