"""The house rules no linter knows: sizes, rooms that say what they are, no hosts, current pages."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests import rules
from tests.measure import measures

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_MODULES = 13
FULL_INIT = {"storage_plugin/__init__.py"}


def tracked_files() -> list[Path]:
    """Return the files under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def size_problems(path: Path) -> Iterator[str]:
    """Yield the files and functions of the packages that outgrew the budget."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    if text.count("\n") > MAX_FILE_LINES:
        yield f"{name}: more than {MAX_FILE_LINES} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{name}:{node.lineno} {node.name}: {length} lines"
            if not node.name.startswith("_") and _is_top(node) and not ast.get_docstring(node):
                yield f"{name}:{node.lineno} {node.name}: no docstring"
    if not ast.get_docstring(ast.parse(text)):
        yield f"{name}: no module docstring"


def room_problems(init: Path) -> Iterator[str]:
    """Yield what is wrong with a package: more than its docstring in ``__init__``, or too much."""
    if init.name != "__init__.py":
        return
    name = init.relative_to(ROOT)
    if str(name) not in FULL_INIT and len(ast.parse(init.read_text(encoding="utf-8")).body) > 1:
        yield f"{name}: nothing but a docstring"
    modules = [path for path in init.parent.glob("*.py") if path != init]
    if len(modules) > MAX_MODULES:
        yield f"{name}: {len(modules)} modules, more than {MAX_MODULES}"


def _is_top(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.col_offset == 0


def mutant_problems() -> Iterator[str]:
    """Yield the patches of ``tests/mutants`` whose text to replace is not there exactly once."""
    for path in sorted((ROOT / "tests" / "mutants").glob("*.toml")):
        patch = tomllib.loads(path.read_text(encoding="utf-8"))
        target = ROOT / patch["file"]
        found = target.read_text(encoding="utf-8").count(patch["old"]) if target.is_file() else 0
        if found != 1:
            yield f"tests/mutants/{path.name}: its text occurs {found} times in {patch['file']}"


def problems() -> list[str]:
    """Return everything that breaks the house rules."""
    found: list[str] = []
    for path in tracked_files():
        name = str(path.relative_to(ROOT))
        in_package = name.startswith(("gateway/", "storage_plugin/"))
        if in_package and path.suffix == ".py" and "/migrations/" not in name:
            found += size_problems(path)
            found += room_problems(path)
        if path.name == "utils.py":
            found.append(f"{name}: a helper lives beside its caller")
        if path.parent.name == "requirements" and re.search(r"https?://", path.read_text()):
            found.append(f"{name}: names a host")
    return [*found, *mutant_problems(), *rules.problems()]


def main() -> int:
    """Print the problems; the exit code says whether there are any.

    With ``--measure [FOLDER]`` print the measures of a checkout instead.
    """
    if "--measure" in sys.argv:
        root = Path(sys.argv[-1]) if sys.argv[-1] != "--measure" else ROOT
        for what, figure in measures(root):
            print(f"| {what} | {figure} |")
        return 0
    found = problems()
    print("\n".join(found) or "house: in order")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
