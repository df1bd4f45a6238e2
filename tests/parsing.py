"""A probe that notices iCalendar being read: by our reader, our engine, or a library."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

OWN = {
    ("gateway/core/ical/lines.py", "unfold"): "unfold",
    ("gateway/core/ical/reader.py", "read_calendar"): "read",
    ("gateway/core/ical/document.py", "parse"): "tree",
    ("gateway/core/ical/document.py", "read_text"): "tree",
    ("gateway/core/ical/document.py", "outline"): "tree",
    ("gateway/core/recurrence/expand.py", "expand_components"): "expand",
}
LIBRARIES = ("icalendar", "vobject", "recurring_ical_events", "dateutil")


@contextmanager
def parsing() -> Iterator[Counter[str]]:
    """Count what reads or expands iCalendar, in this thread and in those started meanwhile.

    Every such code of ours begins with ``unfold``; of the libraries any call at all counts, under
    the library's name. It looks at the code that runs, so no import can hide from it.
    """
    seen: Counter[str] = Counter()
    known: dict[CodeType, str | None] = {}

    def notice(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code not in known:
            known[code] = name_of(code)
        name = known[code]
        if name is not None:
            seen[name] += 1

    before = sys.getprofile()
    threading.setprofile(notice)
    sys.setprofile(notice)
    try:
        yield seen
    finally:
        sys.setprofile(before)
        threading.setprofile(before)


def name_of(code: CodeType) -> str | None:
    """Return what a function counts as, None for harmless ones."""
    path = code.co_filename.replace("\\", "/")
    for (file, function), name in OWN.items():
        if path.endswith(file) and code.co_name == function:
            return name
    for library in LIBRARIES:
        if f"/site-packages/{library}/" in path and code.co_name != "<module>":
            return library
    return None
