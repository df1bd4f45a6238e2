"""``docs/busy-time.md`` names every reason and every problem code there is, and no other."""

import re
from pathlib import Path

from gateway.core.recurrence.expand import expand
from tests.core.test_golden import CASES

PAGE = (Path(__file__).parents[2] / "docs" / "busy-time.md").read_text(encoding="utf-8")
WORD = re.compile(r"`([a-z]+(?:-[a-z]+)*)`")


def words_of(section: str, column: int) -> set[str]:
    """The quoted words in one column of the tables of a section."""
    text = PAGE.partition(f"## {section}")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in text.split("\n") if line.startswith("|")]
    return {word for row in rows for word in WORD.findall(row[column])}


def test_every_reason_and_code_is_on_the_page_and_has_a_golden_case():
    reasons: set[str] = set()
    codes: set[str] = set()
    for case in CASES:
        expansion = expand(case.body, case.span, case.rules)
        codes |= {problem.code for problem in expansion.problems}
        reasons |= {row.reason for row in expansion.instances if row.fbtype != "UNKNOWN"}
    assert reasons == words_of("How an event counts", 3)
    # the first needs an object too big for a golden file, the second a fault nobody knows yet
    beyond_files = {"too-many-instances", "not-understood"}
    assert codes == words_of("What could not be understood", 1) - beyond_files
