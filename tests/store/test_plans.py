"""No statement of the store walks through, or sorts, a table that grows, on either database.

Each statement that the functions of the store send is explained by the database. Only what an
argument excuses may scan.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint

from gateway.store import booking_tables
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Session
from tests.store.conftest import Place
from tests.store.crowd import fill
from tests.store.statements import Statement, functions, record

TABLES = booking_tables.holds.metadata.tables

FEW = {
    # what is being erased, and what could not be understood: partial indexes over exceptions
    "ix_collections_erased",
    "ix_principals_erased",
    "ix_subaccounts_erased",
    "ix_objects_problems",
    # names of ten thousands of rows, not the rows
    "api_keys",
}

_OF_ONE_PERSON = "what one person or one account has, a few rows: nobody has many of these"
_OF_ONE_TENANT = "what one subaccount has: a page of it sorts that much and no other tenant's rows"
_COUNTS = "counts all there is, of rows that are narrow, for one answer an operator asks for"
_DOCTOR = "looks at everybody, a page of five hundred at a time"
_SMALL = "a table that does not grow with people"

EXCUSES = {
    "accounts.list_connections": "every account, once, when `gateway sync` waits for all of them",
    "agenda.appointments_in": _OF_ONE_TENANT,
    "agenda.blocked_slots_in": _OF_ONE_TENANT,
    "agenda.push_states": "the pushes of one page of appointments",
    "bookings.find_by_account_address": _OF_ONE_TENANT,
    "instances.list_sources": _OF_ONE_PERSON,
    "calendars.list_calendars": _OF_ONE_PERSON,
    "checkup.late_pushes": _DOCTOR,
    "checkup.members_set_aside": _DOCTOR,
    "checkup.parked_pushes": _DOCTOR,
    "collections.list_collections": _OF_ONE_PERSON,
    "conflicts.conflicts_in": _OF_ONE_TENANT,
    "erasing.retire_subaccount": "locks everybody in a subaccount in the order of ids, once",
    "heartbeats.beat": _SMALL,
    "heartbeats.last_beat": _SMALL,
    "key_checks.check_keyring": _SMALL,
    "key_checks.replace_unused_keys": _SMALL,
    "keys.list_keys": _SMALL,
    "keys.revoke_key": _SMALL,
    "leases.count_refusals": "every account, at most once in two seconds of a wave of refusals",
    "leases.revive_refused": "every account, once, when a wave turns out to be an outage",
    "login_failures.blocked_keys": "the failures of the last five minutes, asked once a second",
    "members.list_unread": _OF_ONE_PERSON,
    "members.settle_members": _OF_ONE_PERSON,
    "members.unread_of_account": _OF_ONE_PERSON,
    "outbox.connections_with_messages": "the accounts that have something to send now",
    "outbox.due_messages": _OF_ONE_PERSON,
    "outbox.list_messages": _OF_ONE_PERSON,
    "outbox.list_ledger": "the pushes of one person, for an export or a comparison of all writes",
    "overview.count_connections": _COUNTS,
    "overview.count_messages": _COUNTS,
    "overview.count_principals": _COUNTS,
    "overview.count_troubled": _COUNTS,
    "overview.messages_in": "what waits to be sent: a queue, not a history",
    "overview.oldest_sync": _COUNTS,
    "principals.find_principals_by_email": _OF_ONE_TENANT,
    "principals.list_logins": _OF_ONE_PERSON,
    "principals.list_principals": "all people, in the order of an index",
    "principals.list_subaccounts": "all subaccounts, in the order of an index",
    "schedules.list_schedules": "all schedules, in the order of an index",
    "schedules.list_tokens": _OF_ONE_PERSON,
    "structure.read_structure": "the database's own catalogue",
}
"""{function: why its scans and sorts are bounded, or right}."""


def sqlite_trouble(session: Session, statement: Statement) -> Iterator[str]:
    """Yield the scans and sorts of a plan; a sort of equal keys alone is none."""
    plan = session.exec_driver_sql("EXPLAIN QUERY PLAN " + statement.sql, statement.parameters)
    for row in plan:
        if not row.detail.startswith(("SCAN", "USE TEMP B-TREE")):
            continue
        if re.search("CONSTANT ROW|subquery|RIGHT PART OF ORDER BY", row.detail):
            continue
        yield row.detail


def postgresql_trouble(session: Session, statement: Statement) -> Iterator[str]:
    """Yield the same of a plan that must scan and sort although both are forbidden."""
    for way in ("seqscan", "sort"):
        session.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    plan = session.exec_driver_sql("EXPLAIN (FORMAT JSON) " + statement.sql, statement.parameters)
    yield from _walk(plan.scalar()[0]["Plan"])  # type: ignore[index]


def _walk(node: dict[str, Any]) -> Iterator[str]:
    kind = node["Node Type"]
    is_whole = kind in ("Index Scan", "Index Only Scan") and "Index Cond" not in node
    if kind == "Seq Scan" or is_whole:
        yield f"{kind} {node.get('Relation Name')} {node.get('Index Name', '')}"
    if kind == "Sort":
        yield f"Sort {node['Sort Key']}"
    for child in node.get("Plans", []):
        yield from _walk(child)


def troubles(place: Place, keyring: Keyring) -> dict[str, set[str]]:
    """Return {function: its scans and sorts} of this database."""
    found: dict[str, set[str]] = {}
    explain = sqlite_trouble if place.database.is_sqlite else postgresql_trouble
    for statement in record(place.database, place, keyring):
        if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)", statement.sql):
            continue
        with place.database.write() as session:
            whole = list(explain(session, statement))
        is_walk = "LIMIT" in statement.sql and not any("Sort" in t or "TEMP" in t for t in whole)
        if not is_walk:  # a page in the order of an index ends by itself
            found.setdefault(statement.function, set()).update(
                trouble for trouble in whole if not any(name in trouble for name in FEW)
            )
    return {function: what for function, what in found.items() if what}


def test_no_statement_walks_through_what_grows(place: Place, keyring: Keyring) -> None:
    fill(place.database)
    found = troubles(place, keyring)
    assert {name: what for name, what in found.items() if name not in EXCUSES} == {}


def test_every_excuse_names_a_function() -> None:
    assert EXCUSES.keys() <= {name for name, _ in functions()}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_foreign_key_is_found_by_an_index(name: str) -> None:
    """A row that goes looks for the rows that name it: without an index, through all of them."""
    table = TABLES[name]
    leading = {next(iter(index.columns)).name for index in table.indexes}
    leading |= {
        next(iter(constraint.columns)).name
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint) and constraint.columns
    }
    assert {key.parent.name for key in table.foreign_keys} <= leading
