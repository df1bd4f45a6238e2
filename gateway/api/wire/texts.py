"""Texts that no database takes alike: NUL and halves of surrogate pairs are refused at the door.

PostgreSQL stores no NUL, nothing encodes half a pair, and SQLite takes what it should not. Each is
a 422 that points at the text, in whatever field, before a model looks at it: a field that is added
tomorrow is covered too.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from urllib.parse import parse_qsl

import orjson

from gateway.api.wire.problems import InvalidRequest, MalformedRequest, pointer
from gateway.core.errors import InvalidInput

CODE = "text-invalid"
_ODD = re.compile("[\x00\ud800-\udfff]")
_MOST_NAMED = 20
_DETAIL = "holds a character that is none: NUL, half of a surrogate pair, or broken UTF-8."


def read_json(raw: bytes) -> object:
    """Read a body; raises :class:`MalformedRequest`, or :class:`InvalidRequest` for odd texts."""
    try:
        found: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        _refuse(_read_leniently(raw))
        raise MalformedRequest(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            pointer="",
        ) from None
    if b"\\u0000" in raw:  # JSON has no other way to write it
        _refuse(found)
    return found


def _read_leniently(raw: bytes) -> object:
    """Read a body with halves of surrogate pairs; None when it is no JSON for other reasons."""
    try:
        return json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def _refuse(found: object) -> None:
    places = list(islice(_odd_places(found), _MOST_NAMED))
    if places:
        faults = [{"pointer": place, "code": CODE, "detail": f"It {_DETAIL}"} for place in places]
        raise InvalidRequest(f"{places[0] or 'The body'}: {_DETAIL}", faults, code=CODE)


def _odd_places(found: object) -> Iterator[str]:
    """Yield the JSON pointer of each odd text; the name of an odd member is shown without it."""
    waiting: list[tuple[str, object]] = [("", found)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            if _ODD.search(value):
                yield place
        elif isinstance(value, dict):
            for name, member in value.items():
                inner = place + pointer([_ODD.sub("", name)])
                if _ODD.search(name):
                    yield inner
                waiting.append((inner, member))
        elif isinstance(value, list):
            waiting.extend((f"{place}/{at}", member) for at, member in enumerate(value))


def read_query(raw: str) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a query string; a name is shown without what is odd in it."""
    for name, value in parse_qsl(raw, keep_blank_values=True, errors="surrogateescape"):
        yield _ODD.sub("", name) if _ODD.search(name) else name, value


def check_parameter(name: str, value: str) -> None:
    """Raise :class:`InvalidInput` for an odd value of a parameter."""
    if _ODD.search(value):
        raise InvalidInput(f"The query parameter {name} {_DETAIL}", code=CODE, pointer=f"/{name}")
