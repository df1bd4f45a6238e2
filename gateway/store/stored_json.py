"""JSON text that the gateway wrote itself, read so that one damaged row stops nothing.

What cannot be read counts as empty and is logged: a list of many goes on without it, and the next
write mends the row. Only for what may be missing without harm: an unknown address of the owner
makes an invitation count as busy, an unknown property is one a device sets again.
"""

import json

from gateway.observe import logger

_log = logger("store")


def read_texts(text: str, *, column: str, row: str) -> tuple[str, ...]:
    """Return a stored list of texts; ``column`` and ``row`` are for the log."""
    found = _read(text)
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return tuple(found)
    _log.error("a stored value cannot be read", column=column, row=row)
    return ()


def read_properties(text: str, *, column: str, row: str) -> dict[str, str]:
    """Return stored texts by name; ``column`` and ``row`` are for the log."""
    found = _read(text)
    if isinstance(found, dict) and all(isinstance(one, str) for one in found.values()):
        return found
    _log.error("a stored value cannot be read", column=column, row=row)
    return {}


def _read(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return found
