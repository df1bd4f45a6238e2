"""What is absent is deselected by name, and the run still ends well (runs everywhere)."""

import os
import subprocess
import sys
from pathlib import Path

from tests.system.parts import PARTS

ROOT = Path(__file__).parents[2]


def run_without_parts(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python where no program is found."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"PATH": "/nonexistent/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_with_nothing_here_every_test_is_named_and_the_run_ends_with_0() -> None:
    done = run_without_parts("pytest", "-m", "system", "tests/system")
    assert (done.returncode, done.stderr) == (0, "")
    named = [line for line in done.stdout.splitlines() if line.startswith("DESELECTED ")]
    assert {line.partition(": no ")[2] for line in named} >= {"nginx, openssl here"}
    nginx = {
        line.split("::")[1].split("[")[0].split(":")[0] for line in named if "test_nginx.py" in line
    }
    source = (ROOT / "tests/system/test_nginx.py").read_text(encoding="utf-8")
    assert nginx == {
        line.split("def ")[1].split("(")[0] for line in source.splitlines() if "def test_" in line
    }
    assert " skipped" not in done.stdout


def test_the_list_of_parts_names_the_packages_of_what_is_absent() -> None:
    done = run_without_parts("tests.system.parts", "--packages")
    assert done.stdout.split() == [name for part in PARTS.values() for name in part.packages]
    told = run_without_parts("tests.system.parts").stdout.splitlines()
    assert [line.split()[:2] for line in told] == [[name, "absent;"] for name in PARTS]
