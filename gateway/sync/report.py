"""What a sync tells while it runs and when it has ended."""

from dataclasses import dataclass, field


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
    calendars: list[CalendarReport] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether account and all pulled calendars are current now."""
        return self.problem is None and all(c.problem is None for c in self.calendars)
