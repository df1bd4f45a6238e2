"""Golden cases: a calendar file, the RFC section it is about, and the instances it has.

An expected row reads ``start/end FBTYPE reason``, times in UTC, the year 2026 left out; where the
busy span is wider than the real one, `` busy start/end`` follows.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.core.recurrence.model import AllDay, BusyRules, Expansion

CALENDARS = Path(__file__).parents[1] / "calendars"
OWNER = frozenset({"me@example.com", "me@work.example"})


@dataclass(frozen=True)
class Case:
    """One golden file with what must come out of it."""

    file: str
    section: str
    says: str
    rows: list[str]
    problems: list[str] = field(default_factory=list)
    zone: str = "Europe/Berlin"
    window: str = "2026-01-01/2027-01-01"
    all_day: AllDay = "as-marked"
    always_busy: bool = False
    zone_dependent: bool | None = None
    open_ended: bool | None = None

    @property
    def body(self) -> bytes:
        return (CALENDARS / f"{self.file}.ics").read_bytes()

    @property
    def span(self) -> tuple[int, int]:
        start, end = (
            datetime.fromisoformat(f"{day}T00:00+00:00") for day in self.window.split("/")
        )
        return int(start.timestamp()), int(end.timestamp())

    @property
    def rules(self) -> BusyRules:
        return BusyRules(
            ZoneInfo(self.zone),
            OWNER,
            all_day=self.all_day,
            always_busy=self.always_busy,
        )


def shown(expansion: Expansion) -> list[str]:
    """The instances of an expansion as the tables write them."""
    rows = []
    for row in expansion.instances:
        text = f"{_time(row.start)}/{_time(row.end)} {row.fbtype} {row.reason}"
        if (row.busy_start, row.busy_end) != (row.start, row.end):
            text += f" busy {_time(row.busy_start)}/{_time(row.busy_end)}"
        rows.append(text)
    return rows


def _time(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%dT%H:%M}".removeprefix("2026-")
