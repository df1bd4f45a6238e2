"""Free/busy shaped by hand, for holding the bytes of every way against: dictionaries, no parts."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from gateway.core.availability.timeline import FreeBusy


def shaped(found: FreeBusy, zone_name: str = "UTC", *, by_day: bool = False) -> dict[str, Any]:
    """Shape one answer as the documentation shows it."""
    zone = ZoneInfo(zone_name)
    answer: dict[str, Any] = {
        "start": _text(found.start, zone),
        "end": _text(found.end, zone),
        "time_zone": zone_name,
        "revision": found.revision,
        "complete": found.complete,
        "policy": {
            "on_unknown": found.policy.on_unknown,
            "on_tentative": found.policy.on_tentative,
        },
        "busy": _periods(found.busy, zone),
        "sources": [
            {
                "calendar": one.calendar,
                "role": one.role,
                "state": one.state,
                "synced_at": None if one.synced_at is None else _text(one.synced_at, zone),
                "age_s": one.age_s,
                "problem": one.problem,
            }
            for one in found.sources
        ],
    }
    if by_day:
        answer["days"] = list(_days(found, zone))
    return answer


def etag(found: FreeBusy, zone_name: str = "UTC", group_by: str | None = None) -> str:
    """Digest all an answer depends on but its ages; the window is legible."""
    policy = found.policy
    asked = (zone_name, found.revision, policy.on_unknown, policy.on_tentative, group_by)
    states = [(s.calendar, s.role, s.state, s.problem, s.unknown) for s in found.sources]
    digest = _digest(orjson.dumps(asked) + orjson.dumps(states), 12)
    held = _digest(orjson.dumps(found.holds), 6) if found.holds else ""
    mark = "" if found.complete else "u"
    return f'W/"{digest}.{found.start:x}.{found.end:x}{mark}{held}"'


def _digest(text: bytes, size: int) -> str:
    return hashlib.blake2b(text, digest_size=size).hexdigest()


def _text(instant: int, zone: ZoneInfo) -> str:
    if zone.key == "UTC":
        return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return datetime.fromtimestamp(instant, zone).isoformat()


def _periods(rows: Iterable[tuple[int, int, str]], zone: ZoneInfo) -> list[dict[str, str]]:
    return [
        {"start": _text(start, zone), "end": _text(end, zone), "status": status}
        for start, end, status in rows
    ]


def _days(found: FreeBusy, zone: ZoneInfo) -> Iterator[dict[str, Any]]:
    day = datetime.fromtimestamp(found.start, zone).replace(hour=0, minute=0, second=0)
    while day.timestamp() < found.end:
        following = day + timedelta(days=1)
        low = max(int(day.timestamp()), found.start)
        high = min(int(following.timestamp()), found.end)
        rows = [
            (max(start, low), min(end, high), status)
            for start, end, status in found.busy
            if start < high and end > low
        ]
        yield {
            "date": day.date().isoformat(),
            "start": _text(low, zone),
            "end": _text(high, zone),
            "busy": _periods(rows, zone),
        }
        day = following
