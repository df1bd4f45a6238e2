"""How time counts that is not simply busy or free: one value for every question (R25)."""

from dataclasses import dataclass
from typing import Literal

OnUnknown = Literal["block", "tentative", "ignore", "fail"]
"""What unknown time counts as; ``fail`` refuses an answer that is not complete."""

OnTentative = Literal["block", "free"]
"""What tentative time counts as."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a question makes of unknown and tentative time, and how old fresh data may be.

    ``fresh_for_s`` is in seconds after the last good sync of a source; it decides what the source
    is called (``fresh`` or ``stale``), never what is busy.
    """

    on_unknown: OnUnknown = "block"
    on_tentative: OnTentative = "block"
    fresh_for_s: int = 900

    @property
    def is_plain(self) -> bool:
        """Whether unknown and tentative time block, as they do when nothing is said."""
        return (self.on_unknown, self.on_tentative) == ("block", "block")
