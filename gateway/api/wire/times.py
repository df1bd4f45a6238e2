"""Times on the wire: RFC 3339 with offset in, RFC 3339 with offset out; epoch seconds between.

A naive time is refused (R24): nobody can know which hour it meant.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?P<offset>[Zz]|[+-]\d\d:\d\d)?"
)
_LOST_PLUS = re.compile(r"(?<=:\d\d) (?=\d\d:\d\d$)")
_EARLIEST = int(datetime(1970, 1, 2, tzinfo=UTC).timestamp())
_LATEST = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())
_ZONES = frozenset(available_timezones())


def parse_instant(value: object) -> int:
    """Read an RFC 3339 time as UTC epoch seconds; fractions of a second are cut off.

    A blank where a ``+`` must have been (an offset in a query string that was not
    percent-encoded) is read as the plus it was.
    """
    text = _LOST_PLUS.sub("+", value) if isinstance(value, str) else ""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise PydanticCustomError("time-invalid", "must be a time like 2026-11-30T09:00:00+01:00")
    if found["offset"] is None:
        raise PydanticCustomError(
            "time-naive", "has no offset from UTC; write Z or an offset like +01:00 at its end"
        )
    try:
        epoch = int(datetime.fromisoformat(text.upper()).timestamp())
    except (ValueError, OverflowError):
        raise PydanticCustomError("time-invalid", "is not a time that exists") from None
    if not _EARLIEST <= epoch <= _LATEST:
        raise PydanticCustomError("time-out-of-range", "must lie between 1970 and 2200")
    return epoch


def check_zone(value: object) -> str:
    """Accept an IANA time-zone name."""
    if not isinstance(value, str) or value not in _ZONES:
        raise PydanticCustomError(
            "time-zone-unknown", "must be an IANA time-zone name like Europe/Berlin"
        )
    return value


@lru_cache(maxsize=32_768)
def render_instant(epoch: int, zone: ZoneInfo | None = None) -> str:
    """Write epoch seconds as RFC 3339 with the offset of ``zone``; UTC is written ``Z``."""
    if zone is None or zone.key == "UTC":
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return datetime.fromtimestamp(epoch, zone).isoformat()


def render_known(epoch: int | None, zone: ZoneInfo | None = None) -> str | None:
    """Like :func:`render_instant`, None for what never happened."""
    return None if epoch is None else render_instant(epoch, zone)


def _schema(**words: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **words})


Instant = Annotated[
    int,
    BeforeValidator(parse_instant),
    _schema(format="date-time", examples=["2026-11-30T09:00:00+01:00"]),
]
"""A time in a request; the model holds UTC epoch seconds."""

ZoneName = Annotated[str, BeforeValidator(check_zone), _schema(examples=["Europe/Berlin"])]
"""An IANA time-zone name."""

TimeText = Annotated[str, _schema(format="date-time")]
"""A time in an answer, rendered already."""
