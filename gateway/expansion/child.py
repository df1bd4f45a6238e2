"""The worker process's side of :mod:`gateway.expansion.worker`: reads a job, answers item by item.

Loads the engine and nothing else: no event loop, no database, no HTTP, and never the key.
"""

import os
import pickle
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

LENGTH = struct.Struct("!I")
"""Stands before every frame: how many bytes follow."""

Job = tuple[Callable[..., object], Sequence[object], Sequence[object]]
"""A function of a module, the items to call it with one by one, and what follows each item."""

_NICENESS = 5


def main() -> None:
    """Work until standard input ends, that is when nobody wants an answer any more."""
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that prints may get between the answers
    os.nice(_NICENESS)  # a processor both want is the event loop's
    while frame := _read(jobs):
        work, items, shared = pickle.loads(frame)  # noqa: S301 - from our own parent
        for item in items:
            answers.write(framed(_answer(work, item, shared)))
            answers.flush()


def framed(value: object) -> bytes:
    """Return a value as one frame."""
    packed = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(packed)) + packed


def _answer(
    work: Callable[..., object], item: object, shared: Sequence[object]
) -> tuple[bool, Any]:
    """Call and return (True, result), or (False, the exception): the others go on."""
    try:
        return True, work(item, *shared)
    except Exception as error:
        return False, RuntimeError(f"{type(error).__name__} in the worker process")


def _read(stream: BinaryIO) -> bytes:
    head = stream.read(LENGTH.size)
    return stream.read(*LENGTH.unpack(head)) if len(head) == LENGTH.size else b""


if __name__ == "__main__":
    sys.exit("this module is started by gateway.expansion.worker")
