"""Random edits, faults and crashes end with both sides equal, and no edit is lost (R17)."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.machine import Scene, TwoSides

EXAMPLES = int(os.environ.get("GATEWAY_TEST_EXAMPLES", "40"))
"""How many random lives are led; ``make soak`` leads many more, with other seeds each time."""

SHRINK = "GATEWAY_TEST_SHRINK" in os.environ
"""Look for the shortest life that fails: takes minutes."""


@pytest.mark.soak
@pytest.mark.rule("R9", "R11", "R13", "R14", "R16", "R17")
def test_whatever_happens_both_sides_end_equal(scene: Scene) -> None:
    run_state_machine_as_test(
        lambda: TwoSides(scene),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=6,
            deadline=None,
            database=None,
            derandomize="GATEWAY_TEST_EXAMPLES" not in os.environ,
            phases=[Phase.generate, *([Phase.shrink] if SHRINK else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )
