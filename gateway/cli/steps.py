"""What a command tried from outside, step by step, and how it says it."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.markup import escape

from gateway.cli.output import stdout


@dataclass(frozen=True)
class Step:
    """One checked step: what was tried, whether it held, what was seen."""

    what: str
    ok: bool
    seen: str


def print_steps(steps: Iterable[Step]) -> None:
    """Print a line per step, with a tick or a cross before it."""
    for step in steps:
        mark = "[green]✓[/green]" if step.ok else "[red]✗[/red]"
        stdout.print(f"{mark} {escape(step.what)}: {escape(step.seen)}")
