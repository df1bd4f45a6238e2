"""One engine of availability: one reading, one policy, one renderer (R23).

What this holds is what a second engine would need: nobody else reads what blocks, makes timelines
or writes answers, and no policy has a second name.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READING = "gateway/services/availability.py"
RENDERER = "gateway/api/wire/freebusy.py"
STORE = "gateway/store/"


@cache
def trees() -> dict[str, ast.Module]:
    """Parse the packages; names are paths from the root."""
    found = {}
    for package in ("gateway", "storage_plugin"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if "/migrations/" not in name:
                found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def defined(tree: ast.Module) -> Iterator[str]:
    """Name what the module defines at its top: classes, functions, values."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def users(name: str) -> set[str]:
    """Return the modules that use a name, beside those that define it."""
    return {
        module
        for module, tree in trees().items()
        if name not in set(defined(tree))
        and any(
            (isinstance(node, ast.Name) and node.id == name)
            or (isinstance(node, ast.Attribute) and node.attr == name)
            or (isinstance(node, ast.alias) and node.name == name)
            for node in ast.walk(tree)
        )
    }


@pytest.mark.rule("R23", "R25")
@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("OnUnknown", "gateway/core/availability/policy.py"),
        ("OnTentative", "gateway/core/availability/policy.py"),
        ("Policy", "gateway/core/availability/policy.py"),
        ("BusyStatus", "gateway/core/availability/merge.py"),
        ("STRENGTH", "gateway/core/availability/merge.py"),
        ("Source", "gateway/core/availability/sources.py"),
        ("SourceState", "gateway/core/availability/sources.py"),
        ("Timeline", "gateway/core/availability/timeline.py"),
        ("FreeBusy", "gateway/core/availability/timeline.py"),
        ("load", READING),
        ("render_period", RENDERER),
        ("render_source", RENDERER),
        ("make_etag", RENDERER),
    ],
)
def test_each_part_of_the_engine_is_defined_once(name: str, home: str) -> None:
    assert {module for module, tree in trees().items() if name in defined(tree)} == {home}


@pytest.mark.rule("R23", "R27")
@pytest.mark.parametrize(
    "name", ["busy_spans", "holds_in", "reasons_in", "get_extent", "build_timeline"]
)
def test_what_blocks_is_read_in_one_place(name: str) -> None:
    others = {module for module in users(name) if not module.startswith((STORE, "gateway/core/"))}
    assert others == {READING}


@pytest.mark.rule("R23")
def test_how_long_sources_are_fresh_is_handed_on_inside_the_policy() -> None:
    takes = {
        (module, node.name)
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(
            argument.arg == "fresh_for_s" for argument in (*node.args.args, *node.args.kwonlyargs)
        )
    }
    assert takes == {("gateway/store/operations/checkup.py", "troubled_calendars")}


@pytest.mark.rule("R23")
def test_the_words_of_an_answer_are_written_in_one_module() -> None:
    """Shapes describe them and tests spell them out; code that sends them is the renderer's."""
    words = {"revision", "policy", "on_unknown", "busy", "sources", "complete", "age_s"}
    writers = set()
    for module, tree in trees().items():
        for node in ast.walk(tree):
            keys = node.keys if isinstance(node, ast.Dict) else []
            said = {key.value for key in keys if isinstance(key, ast.Constant)}
            if len(said & words) >= 3 or {"synced_at", "age_s"} <= said:
                writers.add(module)
    assert writers == {RENDERER}
