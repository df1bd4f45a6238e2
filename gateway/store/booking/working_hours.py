"""People's own working hours, written by the API or over CalDAV (RFC 7953).

They change nobody's busy time, only what schedules offer that ask for them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select

from gateway.core.availability.hours import Week
from gateway.core.availability.slots import Hours
from gateway.core.errors import NotFound
from gateway.store.booking_tables import working_hours
from gateway.store.engine import Session, chunks, upsert


@dataclass(frozen=True, slots=True)
class StoredWeek:
    """Somebody's hours; ``text`` is what a CalDAV client wrote, None when the API did."""

    principal_id: str
    week: Week
    text: str | None
    updated_at: int


def put_week(
    session: Session, principal_id: str, week: Week, *, text: str | None = None, now: int
) -> StoredWeek:
    """Insert or replace somebody's hours."""
    row = {
        "principal_id": principal_id,
        "time_zone": week.zone.key,
        "weekdays": json.dumps(week.weekdays),
        "overrides": json.dumps({day.isoformat(): hours for day, hours in week.overrides}),
        "text": text,
        "updated_at": now,
    }
    upsert(session, working_hours, [row], keys=["principal_id"])
    return StoredWeek(principal_id, week, text, now)


def find_weeks(session: Session, principal_ids: Sequence[str]) -> dict[str, StoredWeek]:
    """Return the hours of those who have some, by principal."""
    found = {}
    for ids in chunks(principal_ids):
        query = select(working_hours).where(working_hours.c.principal_id.in_(ids))
        for row in session.execute(query):
            found[row.principal_id] = _stored(row)
    return found


def find_week(session: Session, principal_id: str) -> StoredWeek | None:
    """Return somebody's hours, None where there are none."""
    return find_weeks(session, [principal_id]).get(principal_id)


def delete_week(session: Session, principal_id: str) -> None:
    """Remove somebody's hours; raises :class:`NotFound`."""
    statement = delete(working_hours).where(working_hours.c.principal_id == principal_id)
    if not session.execute(statement).rowcount:
        raise NotFound("This person has no working hours of their own.")


def _stored(row: Any) -> StoredWeek:
    week = Week(
        zone=ZoneInfo(row.time_zone),
        weekdays=tuple(_hours(day) for day in json.loads(row.weekdays)),
        overrides=tuple(
            (date.fromisoformat(day), _hours(spans))
            for day, spans in json.loads(row.overrides).items()
        ),
    )
    return StoredWeek(row.principal_id, week, row.text, row.updated_at)


def _hours(spans: Sequence[Sequence[int]]) -> Hours:
    return tuple((start, end) for start, end in spans)
