"""Calendar objects: row, etag, revision, instances and generation are written together.

What arrives here is a :class:`PreparedObject`, and the principal is locked by then.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, insert, select, update

from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import ENGINE_VERSION, Expansion, Instance
from gateway.store.engine import Session, chunks, new_id, notify_generation, upsert
from gateway.store.objects.collections import GOING, Collection, next_revision
from gateway.store.tables import generations, instances, objects, revisions

ObjectKind = Literal["appointment", "blocked-slot", "mirrored"]
PIECE_S = 7 * 86_400
"""Longest span of one instance row; range reads look back this far and no further."""
MAX_UID = 1000
"""Longest UID stored as it is, in bytes: an index entry of PostgreSQL ends at about 2,700."""
MAX_NAME = 1000
"""Longest upstream name that is indexed as it is, in bytes, for the same reason."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_COUNTED = select(generations).where(generations.c.principal_id == bindparam("b_principal"))


@dataclass(frozen=True, slots=True)
class PreparedObject:
    """An object ready to be written: parsed, normalised and expanded before any lock."""

    name: str
    uid: str
    kind: ObjectKind
    component: str
    etag: str
    body: bytes
    expansion: Expansion
    served: bool = True
    upstream_name: str | None = None
    upstream_etag: str | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as stored; ``body`` is empty when a listing left it out."""

    id: str
    principal_id: str
    collection_id: str
    name: str
    uid: str
    kind: ObjectKind
    component: str
    etag: str
    size: int
    revision: int
    served: bool
    upstream_name: str | None
    upstream_etag: str | None
    problem: str | None
    problem_detail: str | None
    first_start: int | None
    last_end: int | None
    created_at: int
    updated_at: int
    body: bytes = b""


_UPSTREAM_NAME = func.coalesce(objects.c.upstream_long_name, objects.c.upstream_name)
LISTED = tuple(
    _UPSTREAM_NAME.label(name) if name == "upstream_name" else objects.c[name]
    for name in StoredObject.__dataclass_fields__
    if name != "body"
)
WHOLE = (*LISTED, objects.c.body)
"""The columns of a :class:`StoredObject`, without and with its body, in its fields' order."""


def save_object(
    session: Session, collection: Collection, prepared: PreparedObject, *, now: int
) -> StoredObject:
    """Insert or replace one object and return it as stored."""
    known = find_object(session, collection.id, prepared.name)
    return write_object(session, collection, prepared, known, now=now)


def write_object(
    session: Session,
    collection: Collection,
    prepared: PreparedObject,
    known: StoredObject | None,
    *,
    now: int,
) -> StoredObject:
    """Insert an object, or replace ``known``, which was read under the lock; return it as stored.

    The kind of an existing object never changes (R19).
    """
    revision = next_revision(session, collection.id, now=now)
    row = _row(collection, prepared, revision, known.id if known else None, now)
    if known is not None:
        row |= {"kind": known.kind, "created_at": known.created_at}
        _delete_instances(session, [known.id])
    _write_rows(session, [row], set() if known is None else {known.id})
    made = [(collection.id, row["id"], prepared.expansion)]
    insert_instances(session, collection.principal_id, made)
    _note_revisions(session, collection.id, [prepared.name], revision, False, now)
    _count_change(session, collection.principal_id, [prepared])
    row["upstream_name"] = prepared.upstream_name
    return StoredObject(*[row[name] for name in StoredObject.__dataclass_fields__])


def save_objects(
    session: Session, collection: Collection, prepared: Sequence[PreparedObject], *, now: int
) -> int:
    """Insert or replace objects of one collection under one new revision; return it.

    The names must differ. The kind of an existing object never changes (R19).
    """
    if not prepared:
        return collection.revision
    revision = next_revision(session, collection.id, now=now)
    known = _ids_by_name(session, collection.id, [item.name for item in prepared])
    rows = [_row(collection, item, revision, known.get(item.name), now) for item in prepared]
    _write_rows(session, rows, set(known.values()))
    if known:
        _delete_instances(session, list(known.values()))
    expanded = (
        (collection.id, row["id"], item.expansion) for row, item in zip(rows, prepared, strict=True)
    )
    insert_instances(session, collection.principal_id, expanded)
    _note_revisions(session, collection.id, [p.name for p in prepared], revision, False, now)
    _count_change(session, collection.principal_id, prepared)
    return revision


def remove_object(
    session: Session, collection: Collection, known: StoredObject, *, now: int
) -> None:
    """Delete a member that was read under the lock, leaving a tombstone."""
    revision = next_revision(session, collection.id, now=now)
    session.execute(delete(objects).where(objects.c.id == known.id))
    _note_revisions(session, collection.id, [known.name], revision, True, now)
    bump_generation(session, collection.principal_id)


def delete_objects(
    session: Session, collection: Collection, names: Sequence[str], *, now: int
) -> int:
    """Delete the members named, leaving tombstones; returns how many there were."""
    known = _ids_by_name(session, collection.id, names)
    if not known:
        return 0
    revision = next_revision(session, collection.id, now=now)
    for part in chunks(known.values()):
        session.execute(delete(objects).where(objects.c.id.in_(part)))
    _note_revisions(session, collection.id, list(known), revision, True, now)
    bump_generation(session, collection.principal_id)
    return len(known)


def rename_object(
    session: Session, collection: Collection, name: str, new_name: str, *, now: int
) -> None:
    """Give a member another name, which must be free; its id and all that hangs on it stay."""
    revision = next_revision(session, collection.id, now=now)
    session.execute(
        update(objects)
        .where(objects.c.collection_id == collection.id, objects.c.name == name)
        .values(name=new_name, revision=revision, updated_at=now)
    )
    _note_revisions(session, collection.id, [name], revision, True, now)
    _note_revisions(session, collection.id, [new_name], revision, False, now)


_BY_NAME = select(*WHOLE).where(
    objects.c.collection_id == bindparam("within"), objects.c.name == bindparam("called")
)


def find_object(session: Session, collection_id: str, name: str) -> StoredObject | None:
    """Return one member with its body, or None."""
    row = session.execute(_BY_NAME, {"within": collection_id, "called": name}).first()
    return StoredObject(*row) if row is not None else None


def find_object_by_id(session: Session, object_id: str) -> StoredObject | None:
    """Return one object with its body by id, or None."""
    row = session.execute(select(*WHOLE).where(objects.c.id == object_id)).first()
    return StoredObject(*row) if row is not None else None


def find_objects(
    session: Session, collection_id: str, names: Iterable[str], *, with_bodies: bool = True
) -> dict[str, StoredObject]:
    """Return the members named that exist and are served, by name."""
    found: dict[str, StoredObject] = {}
    for part in chunks(names):
        query = select(*(WHOLE if with_bodies else LISTED)).where(
            objects.c.collection_id == collection_id, objects.c.name.in_(part), objects.c.served
        )
        found.update((row.name, StoredObject(*row)) for row in session.execute(query))
    return found


def list_objects(
    session: Session, collection_id: str, *, with_bodies: bool = False
) -> list[StoredObject]:
    """List the served members by name; bodies only when asked for."""
    query = (
        select(*(WHOLE if with_bodies else LISTED))
        .where(objects.c.collection_id == collection_id, objects.c.served)
        .order_by(objects.c.name)
    )
    return [StoredObject(*row) for row in session.execute(query)]


def list_names(session: Session, collection_id: str) -> list[str]:
    """List the names of all members, served or not."""
    query = select(objects.c.name).where(objects.c.collection_id == collection_id)
    return list(session.scalars(query))


def uid_key(uid: str) -> str:
    """Return what stands in the UID column: the UID, or a digest of one that cannot stand there."""
    return _key(uid, MAX_UID)


def name_key(name: str) -> str:
    """Return what stands for an upstream name where it is indexed: itself, or a digest of it."""
    return _key(name, MAX_NAME)


def _key(text: str, most: int) -> str:
    """Digest what is too long for an index, or no text to PostgreSQL: NUL, lone surrogates."""
    raw = text.encode("utf-8", "surrogatepass")
    is_plain = len(raw) <= most and b"\0" not in raw and not _SURROGATE.search(text)
    return text if is_plain else f"sha256:{hashlib.sha256(raw).hexdigest()}"


def find_by_uid(session: Session, collection_id: str, uid: str) -> StoredObject | None:
    """Return the served member with this UID, without its body, or None."""
    row = session.execute(_BY_UID, {"within": collection_id, "known_as": uid_key(uid)}).first()
    return StoredObject(*row) if row is not None else None


_BY_UID = select(*LISTED).where(
    objects.c.collection_id == bindparam("within"), objects.c.uid == bindparam("known_as")
)


def upstream_etags(
    session: Session, collection_id: str, names: Iterable[str] | None = None
) -> dict[str, tuple[str, str | None]]:
    """Return {upstream name: (name here, upstream etag)} of a mirror, served or not.

    Of all members, or of those with these upstream ``names``.
    """
    query = select(_UPSTREAM_NAME, objects.c.name, objects.c.upstream_etag).where(
        objects.c.collection_id == collection_id, objects.c.upstream_name.is_not(None)
    )
    if names is None:
        return {row[0]: (row[1], row[2]) for row in session.execute(query)}
    found: dict[str, tuple[str, str | None]] = {}
    for part in chunks(names):
        named = session.execute(
            query.where(objects.c.upstream_name.in_([name_key(name) for name in part]))
        )
        found.update((row[0], (row[1], row[2])) for row in named)
    return found


def mirrored_since(session: Session, collection_id: str, since: int) -> set[str]:
    """Return the upstream names of members that came into a mirror after ``since``."""
    query = select(_UPSTREAM_NAME).where(
        objects.c.collection_id == collection_id,
        objects.c.created_at > since,
        objects.c.upstream_name.is_not(None),
    )
    return {name for name in session.execute(query).scalars() if name is not None}


def count_mirrored(session: Session, collection_id: str) -> int:
    """Return how many members a mirror has."""
    query = select(func.count()).where(objects.c.collection_id == collection_id)
    return session.scalars(query).one()


def list_problems(session: Session, principal_id: str) -> list[StoredObject]:
    """List the objects that could not be understood, without bodies."""
    query = select(*LISTED).where(
        objects.c.principal_id == principal_id,
        objects.c.problem.is_not(None),
        objects.c.collection_id.not_in(GOING),
    )
    return [StoredObject(*row) for row in session.execute(query.order_by(objects.c.name))]


def changes_since(session: Session, collection_id: str, revision: int) -> list[tuple[str, bool]]:
    """Return (name, deleted) of each member changed after ``revision``, each once (RFC 6578)."""
    query = (
        select(revisions.c.name, revisions.c.deleted)
        .where(revisions.c.collection_id == collection_id, revisions.c.revision > revision)
        .order_by(revisions.c.revision, revisions.c.name)
    )
    return [(row.name, row.deleted) for row in session.execute(query)]


def bump_generation(session: Session, principal_id: str) -> None:
    """Count one more change of the principal's busy time and tell other processes."""
    _bump(session, principal_id)


_BUMP = (
    update(generations)
    .where(generations.c.principal_id == bindparam("b_principal"))
    .values(generation=generations.c.generation + 1)
    .returning(generations.c.covered_from, generations.c.covered_until)
)


def _bump(session: Session, principal_id: str) -> Interval | None:
    """Bump the generation; return the span over which everything is expanded, None if empty."""
    row = session.execute(_BUMP, {"b_principal": principal_id}).first()
    notify_generation(session, principal_id)
    return None if row is None or row[0] is None else (row[0], row[1])


def get_coverage(session: Session, principal_id: str) -> Interval | None:
    """Return the span over which all of the principal's objects are expanded, None if empty."""
    return get_extent(session, principal_id)[1]


Extent = tuple[int, Interval | None]
"""A person's generation, and the span over which all objects are expanded; None without any."""


def get_extent(session: Session, principal_id: str) -> Extent:
    """Return how often the busy time changed so far, and what :func:`get_coverage` says."""
    row = session.execute(_COUNTED, {"b_principal": principal_id}).first()
    if row is None or row.covered_from is None:
        return (0 if row is None else row.generation), None
    return row.generation, (row.covered_from, row.covered_until)


def set_coverage(session: Session, principal_id: str, window: Interval) -> None:
    """Say that every object of the principal is now expanded over ``window``."""
    session.execute(
        update(generations)
        .where(generations.c.principal_id == principal_id)
        .values(covered_from=window[0], covered_until=window[1])
    )


def _count_change(session: Session, owner_id: str, made: Sequence[PreparedObject]) -> None:
    """Bump the generation, and cover no more than what was written is expanded over.

    What has nothing beyond its own expansion is known everywhere, so it takes nothing back.
    """
    known = _bump(session, owner_id)
    windows = [item.expansion.window for item in made]
    if known is None:
        start, end = max(low for low, _ in windows), min(high for _, high in windows)
        set_coverage(session, owner_id, (start, end))
        return
    narrowed = (
        max([known[0], *(item.expansion.window[0] for item in made if _reaches_back(item))]),
        min([known[1], *(item.expansion.window[1] for item in made if _reaches_ahead(item))]),
    )
    if narrowed != known:
        set_coverage(session, owner_id, narrowed)


def _reaches_back(item: PreparedObject) -> bool:
    first = item.expansion.first_start
    return first is None or first < item.expansion.window[0]


def _reaches_ahead(item: PreparedObject) -> bool:
    last = item.expansion.last_end
    return item.expansion.open_ended or last is None or last > item.expansion.window[1]


def _ids_by_name(session: Session, collection_id: str, names: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in chunks(names):
        query = select(objects.c.name, objects.c.id).where(
            objects.c.collection_id == collection_id, objects.c.name.in_(part)
        )
        found.update((row.name, row.id) for row in session.execute(query))
    return found


def _row(
    collection: Collection, item: PreparedObject, revision: int, known_id: str | None, now: int
) -> dict[str, Any]:
    expansion = item.expansion
    problem = expansion.gravest
    key = name_key(item.upstream_name) if item.upstream_name is not None else None
    return {
        "id": known_id or new_id("obj"),
        "principal_id": collection.principal_id,
        "collection_id": collection.id,
        "name": item.name,
        "uid": uid_key(item.uid),
        "kind": item.kind,
        "component": item.component,
        "etag": item.etag,
        "body": item.body,
        "size": len(item.body),
        "revision": revision,
        "served": item.served,
        "upstream_name": key,
        "upstream_long_name": item.upstream_name if key != item.upstream_name else None,
        "upstream_etag": item.upstream_etag,
        "problem": problem.code if problem else None,
        "problem_detail": problem.detail.replace("\0", "") if problem else None,
        "recurring": expansion.recurring,
        "open_ended": expansion.open_ended,
        "zone_dependent": expansion.zone_dependent,
        "expanded_from": expansion.window[0],
        "expanded_until": expansion.window[1],
        "expanded_by": ENGINE_VERSION,
        "first_start": expansion.first_start,
        "last_end": expansion.last_end,
        "created_at": now,
        "updated_at": now,
    }


_KEPT = ("id", "principal_id", "collection_id", "name", "kind", "created_at")
_CHANGED = tuple(column.name for column in objects.c if column.name not in _KEPT)
_REPLACE = (
    update(objects)
    .where(objects.c.id == bindparam("b_id"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED})
)


def _write_rows(session: Session, rows: list[dict[str, Any]], known: set[str]) -> None:
    new = [row for row in rows if row["id"] not in known]
    old = [row for row in rows if row["id"] in known]
    if new:
        session.execute(insert(objects), new)
    if old:
        values = [{"b_id": row["id"], **{f"new_{n}": row[n] for n in _CHANGED}} for row in old]
        session.execute(_REPLACE, values)


def _delete_instances(session: Session, object_ids: Sequence[str]) -> None:
    for part in chunks(object_ids):
        session.execute(delete(instances).where(instances.c.object_id.in_(part)))


def insert_instances(
    session: Session, principal_id: str, expanded: Iterable[tuple[str, str, Expansion]]
) -> None:
    """Insert the instance rows of (collection id, object id, expansion)."""
    values = [
        {
            "principal_id": principal_id,
            "collection_id": collection_id,
            "object_id": object_id,
            "start": start,
            "end": end,
            "fbtype": str(instance.fbtype),
            "busy_start": busy_start,
            "busy_end": busy_end,
            "reason": instance.reason,
        }
        for collection_id, object_id, expansion in expanded
        for instance in expansion.instances
        for start, end, busy_start, busy_end in _pieces(instance)
    ]
    if values:
        session.execute(insert(instances), values)


def _pieces(instance: Instance) -> Iterator[tuple[int, int, int, int]]:
    """Cut an instance into rows whose widened span is at most ``PIECE_S`` long."""
    low, high = instance.busy_start, instance.busy_end
    if high - low <= PIECE_S:
        yield instance.start, instance.end, low, high
        return
    for cut in range(low, high, PIECE_S):
        until = min(cut + PIECE_S, high)
        start, end = max(instance.start, cut), min(instance.end, until)
        yield min(start, end), end, cut, until


def _note_revisions(
    session: Session, collection_id: str, names: Sequence[str], revision: int, gone: bool, now: int
) -> None:
    same = {"collection_id": collection_id, "revision": revision, "deleted": gone}
    rows = [{**same, "name": name, "changed_at": now} for name in names]
    upsert(session, revisions, rows, keys=("collection_id", "name"))
