"""The walks of ``docs/architecture.md``, held against what runs: every file they name takes part.

:class:`Footprints` notes which files of the packages run, in all threads that begin after it.
"""

import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
_NAMED = re.compile(r"`((?:gateway|storage_plugin)/[\w/]+\.py)`")


class Footprints:
    """The files that ran, as paths from the root; :meth:`stop` it in the same thread."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._seen: set[str] = set()
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name not in self._seen:
            self._seen.add(name)
            path = Path(name)
            if path.is_relative_to(ROOT):
                self.files.add(str(path.relative_to(ROOT)))

    def begin(self) -> None:
        """Forget what ran so far."""
        self.files, self._seen = set(), set()

    def stop(self) -> None:
        """Note nothing more."""
        threading.setprofile(None)  # type: ignore[arg-type]
        sys.setprofile(None)


def named_in(heading: str) -> set[str]:
    """Return the files that a section of the page names, without its subsections."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}.*?\n(.*?)(?=^#)", page, re.MULTILINE | re.DOTALL)
    assert found, f"architecture.md has no section {heading}"
    return set(_NAMED.findall(found[1]))
