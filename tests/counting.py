"""Counts what one request asks of a database: its statements and its transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from gateway.store.engine import Database

_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")


@dataclass
class Counted:
    """Statements in order, without those that only open and close transactions."""

    statements: list[str] = field(default_factory=list)
    transactions: int = 0

    def of(self, text: str) -> int:
        """How many statements contain a text, blanks and letter case apart."""
        return sum(text.casefold() in one.casefold() for one in self.statements)

    def __str__(self) -> str:
        return "\n".join(f"{n:2} {one[:150]}" for n, one in enumerate(self.statements, 1))


@contextmanager
def counting(database: Database) -> Iterator[Counted]:
    """Count everything that goes through this database's engine while the block runs."""
    counted = Counted()

    def on_begin(_connection: Any) -> None:
        counted.transactions += 1

    def on_execute(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        text = " ".join(statement.split())
        if not text.upper().startswith(_CONTROL):
            counted.statements.append(text)

    event.listen(database.engine, "begin", on_begin)
    event.listen(database.engine, "before_cursor_execute", on_execute)
    try:
        yield counted
    finally:
        event.remove(database.engine, "begin", on_begin)
        event.remove(database.engine, "before_cursor_execute", on_execute)
