"""Collections: what native clients see as calendars, their properties and their revision.

Every change of a member takes the next revision of its collection with one
``UPDATE … RETURNING``: the row stays locked to the end of the unit, so commit order is revision
order, and "changes since" (RFC 6578) can never skip one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, bindparam, insert, literal_column, select, update

from gateway.core.errors import NotFound
from gateway.store.engine import Session, new_id
from gateway.store.stored_json import read_properties
from gateway.store.tables import collections, revisions, upstream_calendars

CollectionKind = Literal["platform", "mirror", "local"]
PLATFORM_NAME = "platform"
ERASED = "erased"
"""The kind of a collection that is hidden and erased in pieces (``store.erasing``)."""

GOING = select(collections.c.id).where(
    collections.c.kind == literal_column(f"'{ERASED}'")  # as the index over them says it
)
"""The ids of these collections: nothing counts their members any more."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A calendar collection; ``etag`` and sync tokens derive from incarnation and revision."""

    id: str
    principal_id: str
    name: str
    kind: CollectionKind
    upstream_calendar_id: str | None
    display_name: str
    properties: Mapping[str, str]
    components: tuple[str, ...]
    transparent: bool
    incarnation: str
    revision: int
    valid_from_revision: int
    updated_at: int


COLUMNS = (
    collections.c.id,
    collections.c.principal_id,
    collections.c.name,
    collections.c.kind,
    collections.c.upstream_calendar_id,
    collections.c.display_name,
    collections.c.properties,
    collections.c.components,
    collections.c.transparent,
    collections.c.incarnation,
    collections.c.revision,
    collections.c.valid_from_revision,
    collections.c.updated_at,
)


_PROPERTIES, _COMPONENTS = 6, 7


def read_collection(row: Sequence[Any]) -> Collection:
    """Make a collection of the values of :data:`COLUMNS`."""
    values = list(row)
    values[_PROPERTIES] = read_properties(row[_PROPERTIES], column="properties", row=row[0])
    values[_COMPONENTS] = tuple(row[_COMPONENTS].split(","))
    return Collection(*values)


def ensure_platform_collection(session: Session, principal_id: str, *, now: int) -> None:
    """Make the principal's writable collection; a new principal has none yet."""
    create_collection(
        session,
        principal_id=principal_id,
        name=PLATFORM_NAME,
        kind="platform",
        display_name="Appointments",
        now=now,
    )


def create_collection(
    session: Session,
    *,
    principal_id: str,
    name: str,
    kind: CollectionKind,
    display_name: str,
    now: int,
    upstream_calendar_id: str | None = None,
    properties: Mapping[str, str] | None = None,
    components: tuple[str, ...] = ("VEVENT",),
    transparent: bool = False,
) -> str:
    """Insert a collection and return its id; the name must be free."""
    collection_id = new_id("col")
    session.execute(
        insert(collections).values(
            id=collection_id,
            principal_id=principal_id,
            name=name,
            kind=kind,
            upstream_calendar_id=upstream_calendar_id,
            display_name=display_name,
            properties=json.dumps(dict(properties or {})),
            components=",".join(components),
            transparent=transparent,
            incarnation=new_id("i"),
            created_at=now,
            updated_at=now,
        )
    )
    return collection_id


def list_collections(session: Session, principal_id: str) -> list[Collection]:
    """List a principal's collections: ``platform`` first, then by creation."""
    query = (
        select(*COLUMNS)
        .where(collections.c.principal_id == principal_id, collections.c.kind != ERASED)
        .order_by(collections.c.kind != "platform", collections.c.created_at, collections.c.id)
    )
    return [read_collection(row) for row in session.execute(query)]


# Every CalDAV request asks this one: built once, it costs a third.
_BY_NAME = select(*COLUMNS).where(
    collections.c.principal_id == bindparam("owner"),
    collections.c.name == bindparam("called"),
    collections.c.kind != ERASED,
)


def find_collection(session: Session, principal_id: str, name: str) -> Collection | None:
    """Return the collection with this path segment, or None."""
    row = session.execute(_BY_NAME, {"owner": principal_id, "called": name}).first()
    return read_collection(row) if row is not None else None


def mirror_orders(session: Session, principal_id: str) -> dict[str, int]:
    """Return {collection id: place} of the mirrors to which iCloud gives a place in its list."""
    query = (
        select(collections.c.id, upstream_calendars.c.display_order)
        .join(upstream_calendars, upstream_calendars.c.id == collections.c.upstream_calendar_id)
        .where(
            collections.c.principal_id == principal_id,
            upstream_calendars.c.display_order.is_not(None),
        )
    )
    return {row[0]: row[1] for row in session.execute(query)}


def find_mirror(session: Session, upstream_calendar_id: str) -> Collection | None:
    """Return the mirror of an upstream calendar, or None when it is not mirrored."""
    row = session.execute(
        select(*COLUMNS).where(collections.c.upstream_calendar_id == upstream_calendar_id)
    ).first()
    return read_collection(row) if row is not None else None


def _by_id(collection_id: str) -> Select[Any]:
    return select(*COLUMNS).where(collections.c.id == collection_id, collections.c.kind != ERASED)


def get_collection(session: Session, collection_id: str) -> Collection:
    """Return one collection; raises :class:`NotFound`."""
    row = session.execute(_by_id(collection_id)).first()
    if row is None:
        raise NotFound("There is no such collection.")
    return read_collection(row)


def lock_collection(session: Session, collection_id: str) -> Collection:
    """Lock the collection's row (after the principal's) and return it as it is now."""
    row = session.execute(_by_id(collection_id).with_for_update()).first()
    if row is None:
        raise NotFound("There is no such collection.")
    return read_collection(row)


def next_revision(session: Session, collection_id: str, *, now: int) -> int:
    """Take the next revision of the collection; its row stays locked until the unit ends."""
    row = session.execute(
        update(collections)
        .where(collections.c.id == collection_id)
        .values(revision=collections.c.revision + 1, updated_at=now)
        .returning(collections.c.revision)
    ).first()
    if row is None:
        raise NotFound("There is no such collection.")
    return int(row[0])


def update_collection(
    session: Session,
    collection_id: str,
    *,
    display_name: str,
    properties: Mapping[str, str],
    transparent: bool,
    now: int,
) -> None:
    """Replace name, dead properties and transparency; the revision rises, so the ctag does."""
    next_revision(session, collection_id, now=now)
    session.execute(
        update(collections)
        .where(collections.c.id == collection_id)
        .values(
            display_name=display_name,
            properties=json.dumps(dict(properties)),
            transparent=transparent,
        )
    )


def numbered_changes(
    session: Session, collection_id: str, revision: int, *, limit: int | None = None
) -> list[tuple[str, int]]:
    """Return (name, revision) of each member changed after ``revision``, in that order.

    A page of changes may end only between two revisions: a batch is written under one. With
    ``limit`` no more rows than that are read, whatever the length of the history.
    """
    query = (
        select(revisions.c.name, revisions.c.revision)
        .where(revisions.c.collection_id == collection_id, revisions.c.revision > revision)
        .order_by(revisions.c.revision, revisions.c.name)
        .limit(limit)
    )
    return [(row.name, row.revision) for row in session.execute(query)]
