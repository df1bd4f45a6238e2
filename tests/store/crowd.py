"""Fills a database with rows of many people, so that its planner plans as in a large one."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import insert

from gateway.store import booking_tables, tables
from gateway.store.engine import Database, chunks
from tests.store.conftest import NOW

PEOPLE = 600
EACH = 12
"""Objects, pushes and appointments of a person."""

Row = dict[str, Any]


def fill(database: Database) -> None:
    """Add people in subaccounts of ten, and have PostgreSQL look at its tables.

    SQLite plans without having looked, like an installation does.
    """
    with database.write() as session:
        for table, rows in _rows().items():
            for part in chunks(rows, 5_000):
                session.execute(insert(table), part)
    if not database.is_sqlite:
        with database.write() as session:
            session.exec_driver_sql("ANALYZE")


def _rows() -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for number in range(PEOPLE):
        subaccount_id = f"sub_{number // 10}"
        if number % 10 == 0:
            row = {"id": subaccount_id, "name": "x", "created_at": NOW - number}
            found.setdefault(tables.subaccounts, []).append(row)
        for table, row in _person(f"{number:05}", number, subaccount_id):
            found.setdefault(table, []).append(row)
    return found


def _person(name: str, number: int, subaccount_id: str) -> Iterator[tuple[Any, Row]]:
    person, at = f"p_{name}", NOW - number
    yield (
        tables.principals,
        {
            "id": person,
            "subaccount_id": subaccount_id,
            "name": name,
            "email": f"{name}@x.example",
            "time_zone": "UTC",
            "created_at": at,
        },
    )
    yield (
        tables.generations,
        {
            "principal_id": person,
            "generation": 1,
            "covered_from": 0,
            "covered_until": NOW + 400 * 86_400,
            "expanded_by": 100,
        },
    )
    connection = f"con_{name}"
    yield (
        tables.connections,
        {
            "id": connection,
            "principal_id": person,
            "state": "ok",
            "email_index": f"e{name}".encode(),
            "account_index": f"a{name}".encode(),
            "addresses": "[]",
            "trust_for_s": 1,
            "created_at": at,
            "next_sync_at": float(NOW + number),
        },
    )
    yield (
        tables.secrets,
        {"owner_id": connection, "field": "email", "key_id": "k1", "ciphertext": b"x"},
    )
    yield from _calendars(name, person, connection, at)
    yield (
        booking_tables.holds,
        {
            "id": f"hold_{name}",
            "principal_id": person,
            "start": at,
            "end": at + 60,
            "expires_at": NOW + number,
            "created_at": at,
        },
    )


def _calendars(name: str, person: str, connection: str, at: int) -> Iterator[tuple[Any, Row]]:
    for calendar in range(3):
        calendar_id, collection = f"cal_{name}_{calendar}", f"col_{name}_{calendar}"
        yield (
            tables.upstream_calendars,
            {
                "id": calendar_id,
                "connection_id": connection,
                "path": f"/{calendar}/",
                "name": "x",
                "kind": "calendar",
                "writable": True,
                "role": "conflict",
                "state": "ok",
                "synced_at": NOW,
            },
        )
        yield (
            tables.collections,
            {
                "id": collection,
                "principal_id": person,
                "name": f"mirror-{calendar}",
                "kind": "mirror",
                "upstream_calendar_id": calendar_id,
                "display_name": "x",
                "incarnation": "i",
                "created_at": at,
                "updated_at": at,
            },
        )
        for member in range(EACH // 3):
            yield from _member(f"{name}_{calendar}_{member}", person, collection, calendar_id, at)


def _member(
    name: str, person: str, collection: str, calendar: str, at: int
) -> Iterator[tuple[Any, Row]]:
    object_id, ledger = f"obj_{name}", f"led_{name}"
    yield (
        tables.objects,
        {
            "id": object_id,
            "principal_id": person,
            "collection_id": collection,
            "name": name,
            "uid": name,
            "kind": "mirrored",
            "component": "VEVENT",
            "etag": "x",
            "body": b"x",
            "size": 1,
            "revision": 1,
            "upstream_name": name,
            "first_start": at,
            "last_end": at + 60,
            "expanded_by": 100,
            "created_at": at,
            "updated_at": at,
        },
    )
    yield (
        tables.revisions,
        {
            "collection_id": collection,
            "name": name,
            "revision": 1,
            "deleted": False,
            "changed_at": at,
        },
    )
    for number in range(3):
        start = at + number * 86_400
        yield (
            tables.instances,
            {
                "principal_id": person,
                "collection_id": collection,
                "object_id": object_id,
                "start": start,
                "end": start + 60,
                "busy_start": start,
                "busy_end": start + 60,
                "fbtype": "BUSY",
                "reason": "opaque",
            },
        )
    yield (
        tables.push_ledger,
        {
            "id": ledger,
            "principal_id": person,
            "object_id": object_id,
            "account_index": person.encode(),
            "upstream_calendar_id": calendar,
            "upstream_path": "/x/",
            "upstream_name": name,
            "upstream_uid": name,
            "state": "pushed",
            "created_at": at,
            "updated_at": at,
        },
    )
    yield (
        tables.outbox,
        {
            "ledger_id": ledger,
            "connection_id": f"con_{name[:5]}",
            "action": "put",
            "state": "pending",
            "due_at": float(NOW + at % 1_000),
            "created_at": at,
        },
    )
    yield (
        booking_tables.appointments,
        {
            "id": f"appt_{name}",
            "principal_id": person,
            "object_id": object_id,
            "title": "x",
            "start": at,
            "end": at + 60,
            "status": "confirmed",
            "created_at": at,
            "updated_at": at,
        },
    )
