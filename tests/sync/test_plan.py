"""One edit costs what one edit is about, whatever the calendar and the ledger hold (R9)."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy

from tests.sync.conftest import Site, event

BODIES = ("push_ledger.sent_body", "push_ledger.base_body", "objects.body")


@contextmanager
def fetched(site: Site) -> Iterator[list[tuple[str, int]]]:
    """Yield the list of all statements and how many rows each of them handed over."""
    found: list[tuple[str, int]] = []

    def on_execute(connection, cursor, statement, parameters, context, executemany) -> None:
        if context.isddl or not statement.lstrip().upper().startswith("SELECT"):
            return
        with sqlalchemy.create_engine(site.database.url).connect() as other:
            rows = other.exec_driver_sql(statement, parameters).fetchall()
        found.append((statement, len(rows)))

    sqlalchemy.event.listen(site.database.engine, "after_cursor_execute", on_execute)
    yield found
    sqlalchemy.event.remove(site.database.engine, "after_cursor_execute", on_execute)


@pytest.mark.rule("R9", "R17")
async def test_an_edit_reads_the_names_in_the_answer_and_no_bodies(site: Site) -> None:
    for number in range(60):
        site.account.put("home", event(f"e{number}"), f"e{number}.ics")
    for number in range(8):
        site.book(uid=f"own-{number}")
        await site.sync()
    await site.sync()
    site.clock.advance(60)
    site.account.put("home", event("e7", summary="moved"), "e7.ics")
    with fetched(site) as statements:
        report = await site.sync()
    assert report.calendars[0].changed == 1
    large = {statement: rows for statement, rows in statements if rows > 10}
    assert large == {}
    with_bodies = [
        statement
        for statement, rows in statements
        if rows > 1 and any(name in statement for name in BODIES)
    ]
    assert with_bodies == []


@pytest.mark.rule("R7", "R17")
async def test_an_own_object_under_another_name_is_known_by_its_uid(site: Site) -> None:
    site.book()
    await site.sync()
    await site.sync()
    row = site.ledger()[0]
    body = site.account.get("home", row.upstream_name)
    site.account.delete("home", row.upstream_name)
    site.account.put("home", body, "renamed.ics")
    await site.sync()
    assert site.mirrored("home") == {}
    assert site.ledger()[0].upstream_name == "renamed.ics"
