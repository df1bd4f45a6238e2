"""Members that iCloud lists and does not hand over (R9).

Each has a row of its own, so that its calendar's token can move on: *catching up* at first, asked
for again soon; *set aside* when it is still unread after a quarter of an hour, asked for daily.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from sqlalchemy import case, delete, func, select

from gateway.core.availability.sources import CATCHING_UP, SET_ASIDE
from gateway.store.accounts.calendars import update_calendar
from gateway.store.engine import Session, chunks, upsert
from gateway.store.objects.objects import bump_generation
from gateway.store.tables import connections, unread_members, upstream_calendars

State = Literal["catching-up", "set-aside"]

NOT_STORABLE = "not-storable"
"""The reason of a member that was handed over and that this gateway failed to store."""

CATCHING: State = "catching-up"

RETRY_DELAYS_S = (5, 15, 60, 120, 240, 480)
"""Seconds between two attempts to read a member that is catching up."""

SET_ASIDE_AFTER_S = 900
SET_ASIDE_RETRY_S = 86_400

MOST_SET_ASIDE = 20
"""So many members of a calendar may be set aside whatever else can be read of it; of more, at
least as many must have been read: a calendar of which nothing can be read is no calendar with a
few bad members."""


@dataclass(frozen=True, slots=True)
class UnreadMember:
    """A member that could not be read; ``listed`` tells whether iCloud says that it is there.

    ``reason`` is a stable code: ``not-found``, ``no-answer``, ``older-version``, ``too-large``,
    ``not-storable`` or ``refused-`` and the status. Times are UTC epoch seconds.
    """

    upstream_calendar_id: str
    name: str
    etag: str | None
    listed: bool
    state: State
    reason: str
    attempts: int
    first_seen_at: int
    due_at: float

    @property
    def problem(self) -> str:
        """The code that people are told."""
        return SET_ASIDE if self.state == "set-aside" else CATCHING_UP

    @property
    def detail(self) -> str:
        """What is the matter with it, in a sentence."""
        if self.reason == NOT_STORABLE:
            return (
                "This gateway failed to store this object; its log says where. It is tried again."
            )
        if self.state == CATCHING:
            return f"iCloud lists this object and does not hand it over yet ({self.reason})."
        return (
            f"iCloud lists this object and does not hand it over ({self.reason}). It is asked for "
            "again every day; open and save it on a device, or delete it there."
        )


@dataclass(frozen=True, slots=True)
class Unread:
    """What one attempt found out: the version listed, if any, and why it could not be read."""

    etag: str | None
    listed: bool
    reason: str


_COLUMNS = tuple(unread_members.c[name] for name in UnreadMember.__dataclass_fields__)


def name_key(name: str) -> bytes:
    """Return the key of a name: an index row has a limit, a name upstream has none."""
    return sha256(name.encode()).digest()


def list_unread(session: Session, upstream_calendar_id: str) -> dict[str, UnreadMember]:
    """Return the unread members of a calendar by name, the next due first."""
    query = (
        select(*_COLUMNS)
        .where(unread_members.c.upstream_calendar_id == upstream_calendar_id)
        .order_by(unread_members.c.due_at, unread_members.c.name_key)
    )
    return {row.name: UnreadMember(*row) for row in session.execute(query)}


def unread_of_account(session: Session, connection_id: str) -> list[UnreadMember]:
    """List the unread members of all calendars of an account, oldest first."""
    query = (
        select(*_COLUMNS)
        .join(upstream_calendars, upstream_calendars.c.id == unread_members.c.upstream_calendar_id)
        .where(upstream_calendars.c.connection_id == connection_id)
        .order_by(unread_members.c.first_seen_at, unread_members.c.name_key)
    )
    return [UnreadMember(*row) for row in session.execute(query)]


def settle_members(
    session: Session,
    upstream_calendar_id: str,
    *,
    read: Iterable[str] = (),
    unread: Mapping[str, Unread],
    held: int,
    now: int,
) -> list[UnreadMember]:
    """Note what one pull found out: members that were read, or are proved gone, and unread ones.

    ``held`` is how many members of the calendar are here. The principal is locked; its generation
    is raised when the counts changed. Returns those that were set aside just now.
    """
    before = list_unread(session, upstream_calendar_id)
    done = [name for name in read if name in before and name not in unread]
    for part in chunks(done):
        session.execute(
            delete(unread_members).where(
                unread_members.c.upstream_calendar_id == upstream_calendar_id,
                unread_members.c.name_key.in_([name_key(name) for name in part]),
            )
        )
    young = len(before.keys() | unread.keys()) - len(done)
    may_set_aside = young <= max(MOST_SET_ASIDE, held)
    after = {
        name: _next(upstream_calendar_id, name, found, before.get(name), may_set_aside, now=now)
        for name, found in unread.items()
    }
    _store(session, after.values())
    if done or after:
        _recount(session, upstream_calendar_id)
    return [
        row
        for name, row in after.items()
        if row.state == "set-aside" and (name not in before or before[name].state != row.state)
    ]


def _next(
    calendar_id: str,
    name: str,
    found: Unread,
    known: UnreadMember | None,
    may_set_aside: bool,
    *,
    now: int,
) -> UnreadMember:
    """Return the row after one more vain attempt; another version begins anew."""
    if known is not None and found.etag not in (None, known.etag):
        known = None
    first_seen_at = known.first_seen_at if known else now
    attempts = known.attempts + 1 if known else 1
    overdue = now - first_seen_at >= SET_ASIDE_AFTER_S and may_set_aside
    state: State = "set-aside" if overdue or (known and known.state == "set-aside") else CATCHING
    delay = RETRY_DELAYS_S[min(attempts, len(RETRY_DELAYS_S)) - 1]
    due_at = now + (SET_ASIDE_RETRY_S if state == "set-aside" else delay)
    if state == CATCHING and now < first_seen_at + SET_ASIDE_AFTER_S:
        due_at = min(due_at, first_seen_at + SET_ASIDE_AFTER_S)
    return UnreadMember(
        upstream_calendar_id=calendar_id,
        name=name,
        etag=found.etag or (known.etag if known else None),
        listed=found.listed,
        state=state,
        reason=found.reason,
        attempts=attempts,
        first_seen_at=first_seen_at,
        due_at=due_at,
    )


def _store(session: Session, rows: Iterable[UnreadMember]) -> None:
    values = [
        {
            **{field: getattr(row, field) for field in UnreadMember.__dataclass_fields__},
            "name_key": name_key(row.name),
        }
        for row in rows
    ]
    if values:
        upsert(session, unread_members, values, keys=("upstream_calendar_id", "name_key"))


def _recount(session: Session, upstream_calendar_id: str) -> None:
    """Keep the counts on the calendar: the read path looks at nothing else."""
    mine = unread_members.c.upstream_calendar_id == upstream_calendar_id
    is_young = unread_members.c.state == CATCHING
    total, young, retry_at = session.execute(
        select(
            func.count(),
            func.count(case((is_young, 1))),
            func.min(unread_members.c.due_at),
        ).where(mine)
    ).one()
    before = session.execute(
        select(
            upstream_calendars.c.catching_up,
            upstream_calendars.c.set_aside,
            connections.c.principal_id,
        )
        .join(connections, connections.c.id == upstream_calendars.c.connection_id)
        .where(upstream_calendars.c.id == upstream_calendar_id)
    ).one()
    update_calendar(
        session,
        upstream_calendar_id,
        catching_up=young,
        set_aside=total - young,
        retry_at=retry_at,
    )
    if (before.catching_up, before.set_aside) != (young, total - young):
        bump_generation(session, before.principal_id)


def forget_members(session: Session, upstream_calendar_id: str) -> None:
    """Forget all unread members of a calendar: it is gone, or read anew from the start."""
    session.execute(
        delete(unread_members).where(unread_members.c.upstream_calendar_id == upstream_calendar_id)
    )
    _recount(session, upstream_calendar_id)
