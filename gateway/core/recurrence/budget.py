"""A deterministic bound on work, so that no calendar object can hold a processor.

Core reads no clock, so the CPU seconds a caller grants become *steps*: one step is one candidate
day, period or line looked at. The rate below is what the slowest machine we measured does, so the
real time stays under the granted time.
"""

STEPS_PER_SECOND = 250_000


class BudgetExceededError(Exception):
    """The granted work is used up; the caller marks the rest unknown. Never leaves core."""


class TooManyRowsError(BudgetExceededError):
    """An object has more instances than it may have. Never leaves core."""


class WorkBudget:
    """Counts steps down; :meth:`spend` raises :class:`BudgetExceededError` at zero."""

    __slots__ = ("left",)

    def __init__(self, cpu_seconds: float) -> None:
        self.left = int(cpu_seconds * STEPS_PER_SECOND)

    def spend(self, steps: int = 1) -> None:
        """Use ``steps``; raises BudgetExceededError when there are none left."""
        self.left -= steps
        if self.left < 0:
            raise BudgetExceededError
