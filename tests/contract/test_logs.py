"""A traceback in the log never shows local variables, whether logging was set up or not."""

import subprocess
import sys

import pytest

SCRIPT = """
from gateway.observe import logger, set_up_logging
{setup}
def fail():
    app_password = "abcd-efgh-ijkl-mnop"
    raise RuntimeError("broken")
try:
    fail()
except RuntimeError:
    logger("test").exception("it failed")
"""


@pytest.mark.parametrize(
    "setup", ["", "set_up_logging()", "set_up_logging(style='json')"], ids=["bare", "text", "json"]
)
def test_tracebacks_show_no_local_variables(setup: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(setup=setup)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "RuntimeError: broken" in done.stdout + done.stderr
    assert "abcd-efgh" not in done.stdout + done.stderr
