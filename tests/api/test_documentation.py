"""The page lists the calls there are, and every code a caller can meet is explained."""

import re
from pathlib import Path

from gateway.api.routes.table import ROUTES
from gateway.api.wire.codes import CODES

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| `([A-Z]+ /[^`]*)`: ([^|]*) \| (?:public|`([^`]*)`) \|$", re.MULTILINE)
_CODE = re.compile(r'code="([a-z-]+)"|default_code[^=\n]*= "([a-z-]+)"|CustomError\(\s*"([a-z-]+)"')


def test_the_page_lists_every_call_with_its_scope() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert _ROW.findall(page) == [
        (f"{route.method} {route.path}", route.summary, route.scope or "") for route in ROUTES
    ]


def test_every_code_in_the_code_is_explained() -> None:
    """Codes of the CalDAV face and of what never reaches a caller are not the API's."""
    others = {"calendar-exists", "superseded"}
    raised = set()
    for package in ("api", "services"):
        for path in (ROOT / "gateway" / package).rglob("*.py"):
            for groups in _CODE.findall(path.read_text(encoding="utf-8")):
                raised |= {code for code in groups if code}
    assert sorted(raised - set(CODES) - others) == []


def write_table() -> None:
    """Write the table of calls anew: ``python -m tests.api.test_documentation``."""
    page = ROOT / "docs" / "api.md"
    head, mark, _ = page.read_text(encoding="utf-8").partition("| call | scope |\n|---|---|\n")
    rows = [
        f"| `{route.method} {route.path}`: {route.summary} | "
        f"{f'`{route.scope}`' if route.scope else 'public'} |\n"
        for route in ROUTES
    ]
    page.write_text(head + mark + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    write_table()
