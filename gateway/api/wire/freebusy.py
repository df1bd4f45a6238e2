"""The one renderer of free/busy: its JSON in parts, and its ETag.

An answer is :func:`open_answer`, the JSON list of its periods, :func:`close_answer` and a brace.
The long way writes the parts as it computes them; the fast path keeps them and joins them
again; so both send the same bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from gateway.api.wire.times import render_instant, render_known
from gateway.core.availability.merge import BusyRow
from gateway.core.availability.policy import Policy
from gateway.core.availability.sources import SourceState
from gateway.core.availability.timeline import FreeBusy
from gateway.core.intervals import Interval

END = b"}"


def open_answer(
    window: Interval, zone: ZoneInfo, revision: int, policy: Policy, *, complete: bool
) -> bytes:
    """Return an answer up to its list of periods; every time carries the offset of ``zone``."""
    start, end = render_instant(window[0], zone), render_instant(window[1], zone)
    return (
        f'{{"start":"{start}","end":"{end}","time_zone":"{zone.key}","revision":{revision},'
        f'"complete":{"true" if complete else "false"},"policy":{{"on_unknown":'
        f'"{policy.on_unknown}","on_tentative":"{policy.on_tentative}"}},"busy":'
    ).encode()


def render_period(start: int, end: int, status: str, zone: ZoneInfo | None) -> bytes:
    """Return one period; in UTC without a zone."""
    first, last = render_instant(start, zone), render_instant(end, zone)
    return f'{{"start":"{first}","end":"{last}","status":"{status}"}}'.encode()


def close_answer(sources: bytes) -> bytes:
    """Return what follows the periods: the sources, without the last brace."""
    return b',"sources":' + sources


def render_source(source: SourceState, zone: ZoneInfo) -> dict[str, Any]:
    """Shape one source of an answer."""
    return {
        "calendar": source.calendar,
        "role": source.role,
        "state": source.state,
        "synced_at": render_known(source.synced_at, zone),
        "age_s": source.age_s,
        "problem": source.problem,
    }


def render_sources(sources: Iterable[SourceState], zone: ZoneInfo) -> bytes:
    """Return the list of sources."""
    return orjson.dumps([render_source(source, zone) for source in sources])


def render_days(found: FreeBusy, zone: ZoneInfo) -> Iterator[bytes]:
    """Cut an answer at the midnights of ``zone``; a day may have 23 or 25 hours."""
    day = datetime.fromtimestamp(found.start, zone).date()
    first = 0
    while True:
        begin, until = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
        if begin >= found.end:
            return
        low, high = max(begin, found.start), min(until, found.end)
        while first < len(found.busy) and found.busy[first][1] <= low:
            first += 1
        periods = []
        for start, end, status in _until(found.busy, first, high):
            periods.append(render_period(max(start, low), min(end, high), status, zone))
        shown = {
            "date": day.isoformat(),
            "start": render_instant(low, zone),
            "end": render_instant(high, zone),
            "busy": orjson.Fragment(b"[" + b",".join(periods) + b"]"),
        }
        yield orjson.dumps(shown)
        day += timedelta(days=1)


def _until(rows: Sequence[BusyRow], first: int, end: int) -> Iterator[BusyRow]:
    for at in range(first, len(rows)):
        if rows[at][0] >= end:
            return
        yield rows[at]


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


# --- ETags ---


def digest_question(
    time_zone: str,
    revision: int,
    policy: Policy,
    group_by: str | None,
    sources: Iterable[SourceState],
) -> str:
    """Digest all an answer depends on beside its window, for :func:`make_etag`.

    Ages are left out, so time alone changes nothing.
    """
    asked = (time_zone, revision, policy.on_unknown, policy.on_tentative, group_by)
    states = [(s.calendar, s.role, s.state, s.problem, s.unknown) for s in sources]
    told = orjson.dumps(asked) + orjson.dumps(states)
    return hashlib.blake2b(told, digest_size=12).hexdigest()


def make_etag(window: Interval, digest: str, *, complete: bool, holds: Sequence[str]) -> str:
    """Return a weak ETag (RFC 9110 8.8.1): the window as it is, the rest as a digest.

    ``holds`` are the ids of the living holds in the window.
    """
    held = hashlib.blake2b(orjson.dumps(holds), digest_size=6).hexdigest() if holds else ""
    return f'W/"{digest}.{window[0]:x}.{window[1]:x}{"" if complete else "u"}{held}"'


def etag_of(found: FreeBusy, zone: ZoneInfo, group_by: str | None) -> str:
    """Return the weak ETag of an answer."""
    digest = digest_question(zone.key, found.revision, found.policy, group_by, found.sources)
    window = (found.start, found.end)
    return make_etag(window, digest, complete=found.complete, holds=found.holds)
