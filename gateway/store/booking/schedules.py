"""Schedules (what is on offer to whom) and the public tokens of the Freebusy Read URL.

Reading a schedule takes no lock: it changes nobody's busy time.
"""

import json
import secrets as random_source
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import delete, insert, select, tuple_, update

from gateway.core.availability.policy import OnTentative, OnUnknown
from gateway.core.availability.slots import Hours, SlotRules
from gateway.core.errors import NotFound, ScheduleUnreadable
from gateway.core.intervals import Interval
from gateway.observe import logger
from gateway.store.access.principals import Cursor, hash_secret
from gateway.store.booking_tables import (
    appointments,
    freebusy_tokens,
    holds,
    schedule_members,
    schedules,
)
from gateway.store.engine import Session, chunks, new_id

TokenDetail = Literal["exact", "coarse"]
_log = logger("store")


@dataclass(frozen=True, slots=True)
class Offer:
    """The part of a schedule that its owner writes; ``at_least`` None means all its people.

    With ``personal_hours`` each person's own working hours stand in for those of the rules.
    """

    name: str
    principal_ids: tuple[str, ...]
    at_least: int | None
    on_unknown: OnUnknown
    on_tentative: OnTentative
    rules: SlotRules
    personal_hours: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """A stored schedule; times are UTC epoch seconds."""

    id: str
    subaccount_id: str
    offer: Offer
    created_at: int
    updated_at: int


# --- schedules ---


def create_schedule(session: Session, subaccount_id: str, offer: Offer, *, now: int) -> Schedule:
    """Insert a schedule; whoever calls has checked that its people are of the subaccount."""
    created = Schedule(new_id("sched"), subaccount_id, offer, now, now)
    session.execute(
        insert(schedules).values(
            id=created.id,
            subaccount_id=subaccount_id,
            created_at=now,
            updated_at=now,
            **_columns(offer),
        )
    )
    _write_members(session, created.id, offer.principal_ids)
    return created


def replace_schedule(session: Session, schedule_id: str, offer: Offer, *, now: int) -> None:
    """Put another offer in the place of a schedule's; raises :class:`NotFound`."""
    statement = update(schedules).where(schedules.c.id == schedule_id)
    if not session.execute(statement.values(updated_at=now, **_columns(offer))).rowcount:
        raise _missing()
    session.execute(delete(schedule_members).where(schedule_members.c.schedule_id == schedule_id))
    _write_members(session, schedule_id, offer.principal_ids)


def find_owner(session: Session, schedule_id: str, *, subaccount_id: str | None) -> str:
    """Return the subaccount of a schedule, readable or not; raises :class:`NotFound`."""
    query = select(schedules.c.subaccount_id).where(schedules.c.id == schedule_id)
    if subaccount_id is not None:
        query = query.where(schedules.c.subaccount_id == subaccount_id)
    owner: str | None = session.execute(query).scalar()
    if owner is None:
        raise _missing()
    return owner


def get_schedule(
    session: Session, schedule_id: str, *, subaccount_id: str | None = None
) -> Schedule:
    """Return one schedule; one of a foreign subaccount is not found either.

    Raises :class:`ScheduleUnreadable` for a damaged row.
    """
    query = select(schedules).where(schedules.c.id == schedule_id)
    if subaccount_id is not None:
        query = query.where(schedules.c.subaccount_id == subaccount_id)
    row = session.execute(query).first()
    if row is None:
        raise _missing()
    return _schedule(row, _members(session, [row.id])[row.id])


def list_schedules(
    session: Session,
    *,
    subaccount_id: str | None = None,
    principal_id: str | None = None,
    after: Cursor | None = None,
    limit: int | None = None,
) -> list[Schedule]:
    """List schedules, oldest first, of one subaccount or of all, of one person or of all.

    A damaged row is left out and logged: the others are listed, and a page is as full as it can be.
    """
    query = select(schedules)
    if subaccount_id is not None:
        query = query.where(schedules.c.subaccount_id == subaccount_id)
    if principal_id is not None:
        mine = select(schedule_members.c.schedule_id).where(
            schedule_members.c.principal_id == principal_id
        )
        query = query.where(schedules.c.id.in_(mine))
    query = query.order_by(schedules.c.created_at, schedules.c.id).limit(limit)
    found: list[Schedule] = []
    while True:
        page = query
        if after is not None:
            page = query.where(tuple_(schedules.c.created_at, schedules.c.id) > tuple_(*after))
        rows = session.execute(page).all()
        found += _readable(session, rows)
        if limit is None or len(rows) < limit or len(found) >= limit:
            return found[:limit]
        after = (rows[-1].created_at, rows[-1].id)


def _readable(session: Session, rows: Sequence[Any]) -> Iterator[Schedule]:
    members = _members(session, [row.id for row in rows])
    for row in rows:
        try:
            yield _schedule(row, members[row.id])
        except ScheduleUnreadable as error:
            _log.error("a schedule is left out of a list", schedule=row.id, detail=error.detail)


def delete_schedule(session: Session, schedule_id: str) -> None:
    """Remove a schedule; raises :class:`NotFound`. What was booked through it stays."""
    if not session.execute(delete(schedules).where(schedules.c.id == schedule_id)).rowcount:
        raise _missing()


def booked_starts(
    session: Session, principal_ids: Sequence[str], window: Interval, *, now: int
) -> dict[str, list[int]]:
    """Return when confirmed appointments and living holds start in ``window``, by principal."""
    found: dict[str, list[int]] = {principal_id: [] for principal_id in principal_ids}
    for ids in chunks(principal_ids):
        for table, counts in (
            (appointments, appointments.c.status == "confirmed"),
            (holds, holds.c.expires_at > now),
        ):
            query = select(table.c.principal_id, table.c.start).where(
                table.c.principal_id.in_(ids),
                table.c.start >= window[0],
                table.c.start < window[1],
                counts,
            )
            for principal_id, start in session.execute(query):
                found[principal_id].append(start)
    return found


def _columns(offer: Offer) -> dict[str, Any]:
    return {
        "name": offer.name,
        "time_zone": offer.rules.zone.key,
        "at_least": offer.at_least,
        "on_unknown": offer.on_unknown,
        "on_tentative": offer.on_tentative,
        "rules": json.dumps(_write_rules(offer)),
    }


def _write_members(session: Session, schedule_id: str, principal_ids: Sequence[str]) -> None:
    rows = [
        {"schedule_id": schedule_id, "principal_id": principal_id, "position": position}
        for position, principal_id in enumerate(principal_ids)
    ]
    session.execute(insert(schedule_members), rows)


def _members(session: Session, schedule_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = dict.fromkeys(schedule_ids, ())
    for ids in chunks(schedule_ids):
        query = (
            select(schedule_members.c.schedule_id, schedule_members.c.principal_id)
            .where(schedule_members.c.schedule_id.in_(ids))
            .order_by(schedule_members.c.position)
        )
        for schedule_id, principal_id in session.execute(query):
            found[schedule_id] = (*found[schedule_id], principal_id)
    return found


def _schedule(row: Any, principal_ids: tuple[str, ...]) -> Schedule:
    try:
        document = json.loads(row.rules)
        rules, personal_hours = _read_rules(document, row.time_zone), document["personal_hours"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ScheduleUnreadable(
            f"The stored rules of the schedule {row.id} are damaged; PUT it anew or DELETE it."
        ) from error
    offer = Offer(
        name=row.name,
        principal_ids=principal_ids,
        at_least=row.at_least,
        on_unknown=row.on_unknown,
        on_tentative=row.on_tentative,
        rules=rules,
        personal_hours=personal_hours,
    )
    return Schedule(row.id, row.subaccount_id, offer, row.created_at, row.updated_at)


_NUMBERS = (
    "duration_s",
    "interval_s",
    "buffer_before_s",
    "buffer_after_s",
    "minimum_notice_s",
    "horizon_days",
    "limit_per_day",
    "limit_per_week",
)


def _write_rules(offer: Offer) -> dict[str, Any]:
    rules = offer.rules
    return {
        "personal_hours": offer.personal_hours,
        **{name: getattr(rules, name) for name in _NUMBERS},
        "weekdays": rules.weekdays,
        "overrides": {day.isoformat(): hours for day, hours in rules.overrides},
    }


def _read_rules(document: Mapping[str, Any], time_zone: str) -> SlotRules:
    weekdays = document["weekdays"]
    return SlotRules(
        zone=ZoneInfo(time_zone),
        **{name: document[name] for name in _NUMBERS},
        weekdays=None if weekdays is None else tuple(_hours(day) for day in weekdays),
        overrides=tuple(
            (date.fromisoformat(day), _hours(hours)) for day, hours in document["overrides"].items()
        ),
    )


def _hours(spans: Sequence[Sequence[int]]) -> Hours:
    return tuple((start, end) for start, end in spans)


def _missing() -> NotFound:
    return NotFound("There is no such schedule.")


# --- tokens of the Freebusy Read URL ---


@dataclass(frozen=True, slots=True)
class FreeBusyToken:
    """Opens one person's busy time to whoever knows the secret; the secret is not kept."""

    id: str
    principal_id: str
    label: str
    detail: TokenDetail
    created_at: int
    rotated_at: int | None


_TOKEN = tuple(freebusy_tokens.c[name] for name in FreeBusyToken.__dataclass_fields__)


def create_token(
    session: Session, principal_id: str, *, label: str, detail: TokenDetail, now: int
) -> tuple[FreeBusyToken, str]:
    """Insert a token; return it with its secret (192 random bits), shown this once only."""
    secret = _new_secret()
    created = FreeBusyToken(new_id("fbt"), principal_id, label, detail, now, None)
    session.execute(
        insert(freebusy_tokens).values(
            id=created.id,
            principal_id=principal_id,
            secret_hash=hash_secret(secret),
            label=label,
            detail=detail,
            created_at=now,
        )
    )
    return created, secret


def list_tokens(session: Session, principal_id: str) -> list[FreeBusyToken]:
    """List the tokens of a principal, oldest first."""
    query = select(*_TOKEN).where(freebusy_tokens.c.principal_id == principal_id)
    query = query.order_by(freebusy_tokens.c.created_at, freebusy_tokens.c.id)
    return [FreeBusyToken(*row) for row in session.execute(query)]


def rotate_token(
    session: Session, principal_id: str, token_id: str, *, now: int
) -> tuple[FreeBusyToken, str]:
    """Give a token a new secret; the old one ends at once. Raises :class:`NotFound`."""
    secret = _new_secret()
    statement = (
        update(freebusy_tokens)
        .where(freebusy_tokens.c.id == token_id, freebusy_tokens.c.principal_id == principal_id)
        .values(secret_hash=hash_secret(secret), rotated_at=now)
    )
    if not session.execute(statement).rowcount:
        raise NotFound("There is no such token.")
    row = session.execute(select(*_TOKEN).where(freebusy_tokens.c.id == token_id)).one()
    return FreeBusyToken(*row), secret


def delete_token(session: Session, principal_id: str, token_id: str) -> None:
    """Revoke a token at once; raises :class:`NotFound`."""
    statement = delete(freebusy_tokens).where(
        freebusy_tokens.c.id == token_id, freebusy_tokens.c.principal_id == principal_id
    )
    if not session.execute(statement).rowcount:
        raise NotFound("There is no such token.")


def find_token(session: Session, secret: str) -> FreeBusyToken | None:
    """Return the token with this secret, or None; no cache, so a revocation holds at once."""
    query = select(*_TOKEN).where(freebusy_tokens.c.secret_hash == hash_secret(secret))
    row = session.execute(query).first()
    return FreeBusyToken(*row) if row is not None else None


def _new_secret() -> str:
    return random_source.token_urlsafe(24)
