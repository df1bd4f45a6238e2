"""The same first sync at 50,000 events: its memory must not follow the size of the account."""

from collections.abc import Iterator

from benchmarks.first_sync import of_size
from benchmarks.measure import Ratio


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure one round; two to three minutes, with ``quick`` at half the size."""
    yield from of_size(25_000 if quick else 50_000, rounds=1)
