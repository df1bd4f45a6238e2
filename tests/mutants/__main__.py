"""Break one rule at a time and demand that the tests notice.

Each ``*.toml`` beside this file is one small patch: ``rule``, ``why`` say what it breaks, ``file``
is the source, ``old`` the exact text to replace (it must occur once), ``new`` what to put there,
``tests`` the tests of which one must fail: named as narrowly as it goes, so that all patches
together take minutes. The patch is applied to a copy of the tree, never to the tree.

Run ``make mutants``; ``python -m tests.mutants NAME…`` runs some of them.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = ("gateway", "storage_plugin", "tests", "conf", "docker", "docs", "pyproject.toml")
_FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
TESTS_FAILED = 1  # pytest's exit code; anything else but 0 means the run itself went wrong


@dataclass(frozen=True)
class Mutant:
    """One patch; ``tests`` are pytest arguments."""

    name: str
    rule: str
    why: str
    file: str
    old: str
    new: str
    tests: list[str]


def load(path: Path) -> Mutant:
    """Read one patch file."""
    return Mutant(name=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))


def run(mutant: Mutant) -> tuple[bool, str]:
    """Apply a patch to a copy, run its tests; whether it was noticed, and by which or why not."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "node_modules")
                shutil.copytree(source, copy / part, ignore=ignored)
            else:
                shutil.copy(source, copy / part)
        target = copy / mutant.file
        text = target.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            times = text.count(mutant.old)
            return False, f"the text to replace occurs {times} times in {mutant.file}"
        target.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", *mutant.tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == TESTS_FAILED:
        failed = _FAILED.search(done.stdout)
        return True, failed[1] if failed else "an error while setting up"
    if done.returncode == 0:
        return False, "the tests stayed green"
    return False, f"the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def main() -> int:
    """Run all patches, or those named; the exit code says whether one went unnoticed."""
    wanted = set(sys.argv[1:])
    mutants = [load(path) for path in sorted(HERE.glob("*.toml"))]
    chosen = [mutant for mutant in mutants if not wanted or mutant.name in wanted]
    unnoticed = 0
    for mutant in chosen:
        began = time.monotonic()
        noticed, by = run(mutant)
        unnoticed += not noticed
        verdict = "noticed" if noticed else "MISSED "
        print(f"{verdict} {mutant.rule:<9} {mutant.name}: {mutant.why}")
        print(f"        {by} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{len(chosen)} mutants, {unnoticed} unnoticed")
    return bool(unnoticed) or not chosen


if __name__ == "__main__":
    sys.exit(main())
