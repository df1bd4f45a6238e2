"""The measures of the house: sizes, rooms, circles, words that mean several things.

``python -m tests.house --measure [FOLDER]`` prints them as one table, of this checkout or of
another one, so that two commits can be laid side by side. Nothing is imported, all is parsed.
"""

import ast
import io
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

PACKAGES = ("gateway", "storage_plugin")
WORDS = (
    "Answer",
    "WorkBudget",
    "Component",
    "Listed",
    "OnTentative",
    "OnUnknown",
    "PreparedMember",
    "Scope",
)
"""Words that once had several meanings; each is to be defined once at most."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """One parsed file: what it imports at run time, and for types alone."""

    name: str
    tree: ast.Module
    text: str
    imports: set[str] = field(default_factory=set)
    typed_imports: set[str] = field(default_factory=set)

    @property
    def package(self) -> str:
        """The room it stands in."""
        return self.name.rpartition(".")[0]


def modules(root: Path) -> dict[str, Module]:
    """Return every module of the packages by its dotted name; migrations and rooms left out."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            if "migrations" in path.parts or path.name == "__init__.py":
                continue
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            text = path.read_text(encoding="utf-8")
            found[name] = Module(name, ast.parse(text), text)
    for module in found.values():
        _note_imports(module, found)
    return found


def _note_imports(module: Module, known: Mapping[str, Module]) -> None:
    for_types = {
        id(inner)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        into = module.typed_imports if id(node) in for_types else module.imports
        into |= names & known.keys()


def functions(found: Mapping[str, Module]) -> list[_Function]:
    """Return every function and method."""
    return [
        node
        for module in found.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, however long the way round."""
    reach = {name: _reachable(name, edges) for name in edges}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in edges
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += edges.get(name, ())
    return seen


def definitions(found: Mapping[str, Module], word: str) -> int:
    """Count the classes and aliases of that name, at the top of a module."""
    count = 0
    for module in found.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                count += node.name == word
            elif isinstance(node, ast.Assign):
                count += any(isinstance(t, ast.Name) and t.id == word for t in node.targets)
    return count


def nested_units(found: Mapping[str, Module]) -> int:
    """Count functions inside functions of the API that take a session: hidden use cases."""
    return sum(
        isinstance(inner, ast.FunctionDef) and any(a.arg == "session" for a in inner.args.args)
        for module in found.values()
        if module.name.startswith("gateway.api")
        for outer in ast.walk(module.tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
        if inner is not outer
    )


def _comment_share(found: Mapping[str, Module]) -> float:
    lines = comments = 0
    for module in found.values():
        lines += module.text.count("\n")
        tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)
    return comments / lines


def _share(values: Sequence[int], part: float) -> int:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def measures(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (what is measured, figure) for a checkout."""
    found = modules(root)
    lengths = [(f.end_lineno or 0) - f.lineno + 1 for f in functions(found)]
    parameters = [
        one
        for f in functions(found)
        for one in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)
        if one.arg not in ("self", "cls")
    ]
    rooms = Counter(module.package for module in found.values())
    sizes = [module.text.count("\n") for module in found.values()]
    fan_in: Counter[str] = Counter()
    for module in found.values():
        fan_in.update(module.imports)
    run_time = {name: module.imports for name, module in found.items()}
    for_types = {name: module.imports | module.typed_imports for name, module in found.items()}
    typed = sum(one.annotation is not None for one in parameters) / len(parameters)
    yield "modules, lines", f"{len(found)}, {sum(sizes)}"
    yield "module lines, median / p90 / max", _three(sizes)
    yield "function lines, median / p90 / max", _three(lengths)
    yield "typed parameters", f"{typed:.0%}"
    yield "comments, share of lines", f"{_comment_share(found):.1%}"
    yield (
        "packages; modules in one, median (max)",
        (f"{len(rooms)}; {median(rooms.values()):g} ({max(rooms.values())})"),
    )
    yield (
        "fan-out, fan-in of a module, max",
        (f"{max(len(m.imports) for m in found.values())}, {max(fan_in.values())}"),
    )
    yield (
        "import circles, at run time, with TYPE_CHECKING",
        (f"{len(circles(run_time))}, {len(circles(for_types))}"),
    )
    yield "functions of a session hidden in API handlers", str(nested_units(found))
    counts = {word: definitions(found, word) for word in WORDS}
    yield (
        "definitions of one word",
        ", ".join(f"{w} {n}" for w, n in counts.items() if n > 1) or "1",
    )
    by_layer: dict[str, int] = defaultdict(int)
    for module in found.values():
        by_layer[".".join(module.name.split(".")[:2][: 1 + (module.name[0] == "g")])] += (
            module.text.count("\n")
        )
    yield "lines by layer", ", ".join(f"{n} {c}" for n, c in sorted(by_layer.items()) if c > 300)


def _three(values: Sequence[int]) -> str:
    return f"{median(values):g} / {_share(values, 0.9)} / {max(values)}"
