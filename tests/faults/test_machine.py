"""Random edits, faults and crashes end with both sides equal, and no edit is lost (R17)."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.life import Scene
from tests.faults.machine import TwoSides

VARIABLE = "GATEWAY_TEST_EXAMPLES"
"""How many random lives are led; without it a few, always the same ones."""

SHRINK = "GATEWAY_TEST_SHRINK" in os.environ
"""Look for the shortest life that fails: takes minutes."""


@pytest.mark.rule("R9", "R11", "R13", "R14", "R16", "R17")
@pytest.mark.parametrize(
    ("scene", "lives"),
    [("sqlite", 16), ("postgresql", 8)],
    indirect=["scene"],
    ids=["sqlite", "postgresql"],
)
def test_whatever_happens_both_sides_end_equal(scene: Scene, lives: int) -> None:
    run_state_machine_as_test(
        lambda: TwoSides(scene),
        settings=settings(
            max_examples=int(os.environ.get(VARIABLE, lives)),
            stateful_step_count=6,
            deadline=None,
            database=None,
            derandomize=VARIABLE not in os.environ,
            phases=[Phase.generate, *([Phase.shrink] if SHRINK else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )
