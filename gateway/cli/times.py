"""Times and zones as a person types them on the command line."""

import os
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.core.errors import InvalidInput
from gateway.core.intervals import Interval


def parse_zone(name: str) -> ZoneInfo:
    """Return the IANA zone; raises :class:`InvalidInput` for any other name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"“{name}” is not an IANA time zone.", code="unknown-time-zone"
        ) from None


def machine_zone() -> str | None:
    """Return the IANA zone this machine is set to, None when it does not say.

    Looked for as the C library does: TZ, then where /etc/localtime points to, then Debian's
    /etc/timezone.
    """
    named = [os.environ.get("TZ", "").removeprefix(":")]
    _, _, linked = os.path.realpath("/etc/localtime").partition("/zoneinfo/")
    named.append(linked.removeprefix("posix/").removeprefix("right/"))
    debian = Path("/etc/timezone")
    named.append(debian.read_text(errors="replace").strip() if debian.is_file() else "")
    for name in filter(None, named):
        try:
            return parse_zone(name).key
        except InvalidInput:
            continue
    return None


def parse_time(text: str, zone: ZoneInfo) -> int:
    """Read a time given by a person as UTC epoch seconds; without offset it is in ``zone``.

    Also takes a plain date (its midnight). Raises :class:`InvalidInput`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"“{text}” is not a time like 2026-11-30T09:00 or a date.", code="invalid-time"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())


def parse_window(start: str | None, end: str | None, days: int, zone: ZoneInfo) -> Interval:
    """Return the window asked for; by default ``days`` days from now on.

    Raises :class:`InvalidInput` when it ends before it starts.
    """
    first = parse_time(start, zone) if start else int(time.time()) // 60 * 60
    last = parse_time(end, zone) if end else first + days * 86_400
    if last <= first:
        raise InvalidInput("The end must lie after the start.", code="window-reversed")
    return first, last
