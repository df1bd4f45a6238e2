"""How everything is measured: CPU time of the measured process, ratios within one run.

``clock_gettime`` on the CPU clock of another process counts user and system time of all its
threads, ended ones included, in nanoseconds (Linux only). Candidates are measured in turns, round
after round, and the median round counts, so that what else runs on the machine cancels out.
"""

import gc
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used so far (see clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and of all living ones it started."""
    total = cpu_s(pid)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            children = (task / "children").read_text().split()
            total += sum(tree_cpu_s(int(child)) for child in children)
    return total


@dataclass(frozen=True, slots=True)
class Ratio:
    """One line of the table: ``value`` is what ``unit`` says, of ours against ``against``.

    ``ours`` and ``theirs`` are milliseconds per ``per``; ``target`` is an upper bound, or a lower
    one when ``at_least`` is set.
    """

    part: str
    case: str
    against: str
    value: float
    ours: float | None = None
    theirs: float | None = None
    per: str = "request"
    target: float | None = None
    at_least: bool = False
    unit: str = "CPU"

    @property
    def verdict(self) -> str:
        """Say whether the target is met; empty without one."""
        if self.target is None:
            return ""
        met = self.value >= self.target if self.at_least else self.value <= self.target
        return "met" if met else "missed"

    def as_json(self) -> dict[str, object]:
        """Return plain values."""
        return {**asdict(self), "verdict": self.verdict}


def in_turns(
    work: Mapping[str, Callable[[], float]], *, rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Run every candidate once per round; return what each said in each round."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(-warm_up, rounds):
        order = list(work)[:: 1 if turn % 2 else -1]
        for name in order:
            cost = work[name]()
            if turn >= 0:
                found[name].append(cost)
    return found


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median over the rounds of ours / theirs."""
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))


def own_cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds that ``work`` takes in this process, without garbage collection."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()
