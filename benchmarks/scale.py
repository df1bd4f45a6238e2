"""What grows with the number of accounts, and must not: one of each at 100 and at 10,000.

A case measures what *one* costs (one poll, one refusal, one edit) in an installation of a given
size. Flat is a ratio of about one; what is linear as a whole is flat for one, too. Cases live in
the modules named here, each with a tuple ``CASES``.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.measure import Ratio
from gateway.observe import set_up_logging

MODULES = ("scale_sync", "scale_store")
FEW, MANY, QUICK = 100, 10_000, 2_000


@dataclass(frozen=True, slots=True)
class Case:
    """``measure`` takes the size and returns what one ``per`` costs: seconds, or ``unit``."""

    name: str
    per: str
    measure: Callable[[int], float]
    target: float = 1.5
    unit: str = "seconds"


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure each case at 100 and at 10,000, at 2,000 with ``quick``."""
    set_up_logging(level="ERROR", style="console")
    many = QUICK if quick else MANY
    for module in MODULES:
        cases: tuple[Case, ...] = importlib.import_module(f"benchmarks.{module}").CASES
        for case in cases:
            yield _row(case, many)


def _row(case: Case, many: int) -> Ratio:
    small, large = case.measure(FEW), case.measure(many)
    is_time = case.unit == "seconds"
    return Ratio(
        part="scale",
        case=f"{case.name}, {many:,}" + ("" if is_time else f": {large:,.0f} {case.unit}"),
        against=f"itself at {FEW}",
        value=large / small,
        ours=large * 1000 if is_time else None,
        theirs=small * 1000 if is_time else None,
        per=case.per,
        target=case.target,
        unit="wall" if is_time else case.unit,
    )
