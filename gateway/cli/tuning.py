"""How the interpreter is set for a process whose event loop answers people."""

import gc
import sys

SWITCH_S = 0.001
"""How long a thread of the store may hold the interpreter while the event loop waits for it."""


def tune_interpreter() -> None:
    """Keep the loop's waits short: threads let go sooner, and what was loaded is never collected.

    Python's own 5 ms are felt in every answer while a batch is written, and a full collection
    over all imported modules stops everything for tens of milliseconds.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
