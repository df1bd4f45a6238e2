"""A short day, so that the long one (``make soak``) keeps working; no form of iCloud left out."""

from pathlib import Path

import pytest

from gateway.lookalike.world.quirks import QUIRKS
from gateway.store.engine import Database
from tests.soak.surprises import ALWAYS, FAULTS, VARIANTS
from tests.soak.world import one_day

SEED = 4


def test_a_day_knows_every_fault_and_every_variant() -> None:
    assert {fault.quirk for fault in FAULTS} - {"drop-tokens"} == {
        quirk.name for quirk in QUIRKS if quirk.kind == "fault"
    }
    assert {name for name, _ in [*ALWAYS, *VARIANTS]} == {
        quirk.name for quirk in QUIRKS if quirk.kind == "variant"
    }


@pytest.mark.rule("R9", "R11", "R13", "R16", "R17")
async def test_after_some_hours_both_sides_are_equal(database: Database, tmp_path: Path) -> None:
    async with one_day(database, tmp_path, SEED) as day:
        await day.begin(3)
        await day.live(4)
        assert await day.settle() == []
        assert day.happened["faults"] > 3
