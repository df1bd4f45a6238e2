"""Which functions of the store write, lock or count a generation, read off its source.

A function *writes* when it builds an INSERT, UPDATE or DELETE, runs such a statement that its
module built, or calls a function that does; it *guards* when it locks a person or a collection, or
counts a person's generation, itself or by another. ``tests/contract/test_use_cases.py`` holds this
against what the database is sent.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATEMENTS = frozenset({"insert", "update", "delete"})
GUARDS = frozenset(
    {
        "gateway.store.engine.lock_principal",
        "gateway.store.objects.collections.lock_collection",
        "gateway.store.objects.objects.bump_generation",
    }
)
_SQL = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b")


def module_of(path: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST) -> dict[str, str]:
    """Return local name → dotted name of everything a module imports, also inside functions."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                names[one.asname or one.name] = f"{node.module}.{one.name}"
        elif isinstance(node, ast.Import):
            for one in node.names:
                if one.asname:
                    names[one.asname] = one.name
    return names


def mentioned(node: ast.AST, names: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Yield the dotted name and line of everything imported that is called or handed on."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            if part.value.id in names:
                yield f"{names[part.value.id]}.{part.attr}", part.lineno
        elif isinstance(part, ast.Name) and part.id in names:
            yield names[part.id], part.lineno


@cache
def _store() -> dict[str, frozenset[str]]:
    """Return each function of the store with what it mentions: functions, and ``WRITE``."""
    found: dict[str, frozenset[str]] = {}
    for path in sorted((ROOT / "gateway" / "store").rglob("*.py")):
        if "migrations" in path.parts:
            continue
        module, tree = module_of(path), ast.parse(path.read_text(encoding="utf-8"))
        own = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        names = imported(tree) | {one.name: f"{module}.{one.name}" for one in own}
        built = {
            target.id: f"{module}.{target.id}"
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in tree.body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found[f"{module}.{target.id}"] = _does(node.value, names | built)
        for node in own:
            found[f"{module}.{node.name}"] = _does(node, names | built)
    return found


def _does(node: ast.AST, names: dict[str, str]) -> frozenset[str]:
    does = {name for name, _ in mentioned(node, names)}
    texts = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
    if any(isinstance(text, str) and _SQL.match(text) for text in texts):
        does.add("WRITE")
    if any(name.startswith("sqlalchemy.") and _last(name) in STATEMENTS for name in does):
        does.add("WRITE")
    return frozenset(does)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


@cache
def _reaching(goals: frozenset[str]) -> frozenset[str]:
    reach = set(goals)
    while True:
        more = {name for name, does in _store().items() if does & reach} - reach
        if not more:
            return frozenset(reach)
        reach |= more


def writers() -> frozenset[str]:
    """Return the functions of the store that write, by dotted name."""
    return _reaching(frozenset({"WRITE"})) - {"WRITE"}


def guards() -> frozenset[str]:
    """Return the functions that lock or count a generation, themselves or by another."""
    return _reaching(GUARDS)
