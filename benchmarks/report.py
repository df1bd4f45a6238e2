"""The table: printed for people, as Markdown for the README, or as JSON."""

import json
from collections.abc import Sequence

from benchmarks.measure import Ratio

_HEAD = ("part", "case", "against", "ratio", "target", "", "ours", "theirs")


def render(rows: Sequence[Ratio], *, style: str) -> str:
    """Return all rows in one of the styles ``text``, ``markdown``, ``json``."""
    if style == "json":
        return "\n".join(json.dumps(row.as_json()) for row in rows)
    cells = [_HEAD, *(_cells(row) for row in rows)]
    if style == "markdown":
        lines = [f"| {' | '.join(row)} |" for row in cells]
        return "\n".join([lines[0], "|" + "---|" * len(_HEAD), *lines[1:]])
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _cells(row: Ratio) -> tuple[str, ...]:
    sign = "≥" if row.at_least else "≤"
    return (
        row.part,
        row.case,
        row.against if row.unit == "CPU" else f"{row.against}, {row.unit}",
        _number(row.value),
        "" if row.target is None else f"{sign} {_number(row.target)}",
        row.verdict,
        "" if row.ours is None else f"{_number(row.ours)} ms",
        "" if row.theirs is None else f"{_number(row.theirs)} ms",
    )


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.2f}"
