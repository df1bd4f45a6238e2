"""Upstream calendars of a connection: what iCloud lists, what each is used for, how far read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, insert, select, update

from gateway.core.availability.sources import member_problem
from gateway.core.errors import NotFound
from gateway.core.recurrence.model import AllDay
from gateway.store.engine import Session, new_id
from gateway.store.objects.freshness import synced_at
from gateway.store.tables import collections, connections, objects, upstream_calendars

Role = Literal["none", "linked", "conflict", "tracked"]


def member_detail(calendar: "UpstreamCalendar") -> str | None:
    """Say in a sentence what the matter with its unread members is."""
    if calendar.catching_up:
        return (
            f"iCloud lists {calendar.catching_up} objects of this calendar and does not hand them "
            "over yet; they are asked for again."
        )
    if calendar.set_aside:
        return (
            f"iCloud lists {calendar.set_aside} objects of this calendar and does not hand them "
            "over; they are asked for again every day. Open and save them on a device, or delete "
            "them there."
        )
    return None


@dataclass(frozen=True, slots=True)
class CalendarPolicy:
    """What is kept of a calendar's events (R10), and how its all-day events count.

    What was prepared under another policy must not be written.
    """

    detail: Literal["full", "busy"]
    all_day: AllDay


@dataclass(frozen=True, slots=True)
class UpstreamCalendar:
    """A collection of the iCloud account; times are UTC epoch seconds.

    ``state`` is ``never``, ``syncing``, ``ok``, ``failed`` or ``gone``. ``listed_*`` is what the
    last home listing said, ``ctag`` and ``sync_token`` belong to the last complete pull.
    ``catching_up`` and ``set_aside`` count its members that cannot be read (R9), ``retry_at`` is
    when the next of them is asked for again.
    """

    id: str
    connection_id: str
    path: str
    name: str
    color: str | None
    display_order: int | None
    kind: str
    writable: bool
    refusal: str | None
    transparent: bool
    listed_ctag: str | None
    listed_token: str | None
    ctag: str | None
    sync_token: str | None
    role: Role
    blocks: bool
    all_day: AllDay
    detail: Literal["full", "busy"]
    state: str
    problem: str | None
    problem_detail: str | None
    synced_at: int | None
    missing_since: int | None
    progress_done: int
    progress_total: int | None
    reached_from: int | None
    reached_until: int | None
    catching_up: int = 0
    set_aside: int = 0
    retry_at: float | None = None

    @property
    def policy(self) -> CalendarPolicy:
        """How its events are kept and counted."""
        return CalendarPolicy(self.detail, self.all_day)

    @property
    def has_unread_members(self) -> bool:
        """Whether some of its members cannot be read (R9)."""
        return bool(self.catching_up or self.set_aside)

    @property
    def told_problem(self) -> str | None:
        """The code that people are told: its own problem, else that of its members."""
        return self.problem or member_problem(self.catching_up, self.set_aside)

    @property
    def linkable(self) -> bool:
        """Whether appointments may be pushed to it (R6)."""
        return self.writable and self.refusal is None

    @property
    def conflictable(self) -> bool:
        """Whether it may block availability (R6): reading is enough."""
        return self.refusal in (None, "calendar-read-only")


_COLUMNS = tuple(
    synced_at() if name == "synced_at" else upstream_calendars.c[name]
    for name in UpstreamCalendar.__dataclass_fields__
)
_SELECT = select(*_COLUMNS).select_from(upstream_calendars.join(connections))


_LIST = _SELECT.where(upstream_calendars.c.connection_id == bindparam("b_connection")).order_by(
    upstream_calendars.c.display_order.is_(None),
    upstream_calendars.c.display_order,
    upstream_calendars.c.name,
    upstream_calendars.c.id,
)


def list_calendars(session: Session, connection_id: str) -> list[UpstreamCalendar]:
    """List the calendars of a connection in iCloud's order."""
    rows = session.execute(_LIST, {"b_connection": connection_id})
    return [UpstreamCalendar(*row) for row in rows]


def get_calendar(session: Session, calendar_id: str) -> UpstreamCalendar:
    """Return one upstream calendar; raises :class:`NotFound`."""
    row = session.execute(_SELECT.where(upstream_calendars.c.id == calendar_id)).first()
    if row is None:
        raise NotFound("There is no such calendar.")
    return UpstreamCalendar(*row)


def create_calendar(
    session: Session, *, connection_id: str, path: str, values: dict[str, Any]
) -> str:
    """Insert a calendar newly listed by iCloud; return its id."""
    return create_calendars(session, connection_id, [{"path": path, **values}])[0]


def create_calendars(
    session: Session, connection_id: str, listed: Sequence[dict[str, Any]]
) -> list[str]:
    """Insert calendars newly listed by iCloud, each by its columns; return their ids.

    The rows name the same columns, ``path`` among them: they go in with one statement.
    """
    rows = [
        {
            "id": new_id("cal"),
            "connection_id": connection_id,
            "role": "none",
            "state": "never",
            **values,
        }
        for values in listed
    ]
    if rows:
        session.execute(insert(upstream_calendars), rows)
    return [row["id"] for row in rows]


def update_calendar(session: Session, calendar_id: str, /, **changes: Any) -> None:
    """Change columns of an upstream calendar; raises :class:`NotFound`."""
    statement = (
        update(upstream_calendars).where(upstream_calendars.c.id == calendar_id).values(**changes)
    )
    if not session.execute(statement).rowcount:
        raise NotFound("There is no such calendar.")


def update_calendars(session: Session, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Change columns of many upstream calendars, by id; those gone meanwhile are passed over.

    One statement for all that change the same columns: building one costs more than running it.
    """
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for calendar_id, values in changes.items():
        row = {"row_id": calendar_id, **{f"new_{name}": v for name, v in values.items()}}
        alike.setdefault(tuple(sorted(values)), []).append(row)
    for names, rows in alike.items():
        session.execute(
            update(upstream_calendars)
            .where(upstream_calendars.c.id == bindparam("row_id"))
            .values({name: bindparam(f"new_{name}") for name in names}),
            rows,
        )


def has_unread(session: Session, connection_id: str) -> bool:
    """Tell whether a calendar was given a use and no pull has looked at it yet."""
    query = select(upstream_calendars.c.id).where(
        upstream_calendars.c.connection_id == connection_id,
        upstream_calendars.c.role.in_(("linked", "conflict", "tracked")),
        upstream_calendars.c.kind == "calendar",
        upstream_calendars.c.state == "never",
        upstream_calendars.c.problem.is_(None),
        upstream_calendars.c.missing_since.is_(None),
    )
    return session.execute(query.limit(1)).first() is not None


def next_retry(session: Session, connection_id: str) -> float | None:
    """Return when the next member of a calendar in use that could not be read is due again."""
    query = select(func.min(upstream_calendars.c.retry_at)).where(
        upstream_calendars.c.connection_id == connection_id,
        upstream_calendars.c.role.in_(("linked", "conflict", "tracked")),
        upstream_calendars.c.kind == "calendar",
        upstream_calendars.c.state == "ok",
        upstream_calendars.c.missing_since.is_(None),
    )
    return session.execute(query).scalar()


def delete_calendars(session: Session, connection_id: str) -> None:
    """Erase the calendars of a connection with their mirrors and all mirrored objects."""
    session.execute(
        delete(upstream_calendars).where(upstream_calendars.c.connection_id == connection_id)
    )


def add_progress(session: Session, calendar_id: str, done: int) -> None:
    """Count objects read by the running first sync."""
    session.execute(
        update(upstream_calendars)
        .where(upstream_calendars.c.id == calendar_id)
        .values(progress_done=upstream_calendars.c.progress_done + done)
    )


def calendars_by_id(session: Session, ids: Sequence[str]) -> dict[str, UpstreamCalendar]:
    """Return the calendars with these ids that exist."""
    query = _SELECT.where(upstream_calendars.c.id.in_(ids))
    return {row.id: UpstreamCalendar(*row) for row in session.execute(query)}


def relist_calendar(session: Session, calendar_id: str) -> None:
    """Have a calendar listed in full by its next pull: what is to be mirrored of it changed."""
    session.execute(
        update(upstream_calendars)
        .where(upstream_calendars.c.id == calendar_id)
        .values(ctag=None, sync_token=None)
    )


def refetch_object(session: Session, object_id: str) -> None:
    """Have one mirrored object fetched again: what is kept of it cannot be read."""
    session.execute(update(objects).where(objects.c.id == object_id).values(upstream_etag=None))
    calendar = (
        select(collections.c.upstream_calendar_id)
        .join(objects, objects.c.collection_id == collections.c.id)
        .where(objects.c.id == object_id)
    )
    session.execute(
        update(upstream_calendars)
        .where(upstream_calendars.c.id == calendar.scalar_subquery())
        .values(ctag=None, sync_token=None)
    )


def reread_calendar(session: Session, calendar_id: str) -> None:
    """Have every object of a calendar fetched again: what is kept of them is to change.

    What is mirrored stands until then.
    """
    relist_calendar(session, calendar_id)
    mirror = select(collections.c.id).where(collections.c.upstream_calendar_id == calendar_id)
    session.execute(
        update(objects).where(objects.c.collection_id.in_(mirror)).values(upstream_etag=None)
    )
