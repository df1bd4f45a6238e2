"""The database: one engine, two kinds of unit of work, two dialects that nobody above knows.

A unit is short, never awaits and is safe to repeat. ``write()`` begins with ``BEGIN IMMEDIATE`` on
SQLite: a plain ``BEGIN`` that later turns into a writer fails with "database is locked" whatever
the busy timeout. On PostgreSQL writers queue at the row they lock first, the principal's
(:func:`lock_principal`); the order is principal, collection, object.
"""

import base64
import secrets as random_source
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Function,
    Table,
    Text,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.core.errors import NotFound, StoreBusy
from gateway.store.failures import store_error
from gateway.store.tables import principals
from gateway.store.urls import parse_database_url

T = TypeVar("T")

Session = Connection
"""One unit of work; functions of the store take it, and never commit or close it."""

BUSY_TIMEOUT_MS = 10_000
GENERATION_CHANNEL = "gateway_generation"
_IS_OURS = """
    SELECT count(*) = 0 OR count(*) FILTER (WHERE name = 'alembic_version') FROM sqlite_master
"""
"""Whether SQLite's file is new or a gateway's: of any other not even the journal is changed."""

_PRAGMAS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA cache_size=-16000",
)


def new_id(prefix: str) -> str:
    """Make an opaque id: the prefix, ``_`` and 100 random bits in lower-case base 32."""
    token = base64.b32encode(random_source.token_bytes(13)).decode("ascii").rstrip("=").lower()
    return f"{prefix}_{token[:20]}"


class Database:
    """One engine and its units of work; create it after a fork, dispose it with :meth:`close`.

    Parameters are hidden: errors are logged, and a title or an address may be among them.
    """

    def __init__(self, url: str) -> None:
        self.url = parsed = parse_database_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._writing = threading.Lock()
        self.waits: Callable[[], AbstractContextManager[None]] = nullcontext
        """Surrounds every wait for the database: for others, for PostgreSQL's answer, for a disk.

        Whoever lets one thread compute at a time lets another one in meanwhile.
        """
        self.committed: Callable[[str], None] = lambda _principal_id: None
        """Told each principal whose unit was committed here, before anybody learns of the answer.

        PostgreSQL's notifications of the same come some milliseconds later.
        """
        if self.is_sqlite:
            _make_private(Path(parsed.database or ""))
            self.engine = create_engine(
                parsed,
                hide_parameters=True,
                pool_size=16,
                max_overflow=32,
                pool_use_lifo=True,  # few warm page caches instead of one for each that ever was
                connect_args={"check_same_thread": False},
            )
            _prepare_sqlite(self.engine)
        else:
            self.engine = create_engine(
                parsed, hide_parameters=True, pool_size=8, max_overflow=16, pool_pre_ping=True
            )
            _wait_for_answers(self)

    @property
    def name(self) -> str:
        """What people at the machine call it: the file, or host and name, never a password."""
        if self.is_sqlite:
            return self.url.database or ""
        return self.url.set(drivername="postgresql", password=None).render_as_string()

    def close(self) -> None:
        """Close all connections of this process."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a unit that sees one consistent snapshot and writes nothing."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self.translated(), self._connected(options) as session:
            try:
                yield session
            finally:
                with self._remote():
                    session.rollback()

    @contextmanager
    def write(
        self, *, wait_ms: int = BUSY_TIMEOUT_MS, repeatable: bool = False
    ) -> Iterator[Session]:
        """Open a unit that may write; it commits at the end and rolls back on any exception.

        What it wrote is on the disk when it ends: somebody is told that it is done, and a power
        cut must not take a 201 back. A ``repeatable`` unit is one whose work would simply be done
        again (a poll, a lease, a count); it does not wait for the disk. Raises :class:`StoreBusy`
        when others write for longer than ``wait_ms``.
        """
        options = {
            "gateway_write": True,
            "gateway_wait_ms": wait_ms,
            "gateway_repeatable": repeatable,
        }
        with self._turn(wait_ms), self.translated(), self._connected(options) as session:
            with self.waits():  # SQLite's BEGIN IMMEDIATE waits for other processes
                transaction = session.begin()
            with transaction:
                if not self.is_sqlite and wait_ms != BUSY_TIMEOUT_MS:
                    session.exec_driver_sql(f"SET LOCAL lock_timeout = {int(wait_ms)}")
                session.info[_LOCKED] = locked = set[str]()
                yield session
                with self.waits():
                    transaction.commit()
            for principal_id in locked:
                self.committed(principal_id)

    @contextmanager
    def _connected(self, options: Mapping[str, Any]) -> Iterator[Session]:
        with self._remote():
            connection = self.engine.connect()
        with connection.execution_options(**options) as session:
            yield session

    def _remote(self) -> AbstractContextManager[None]:
        """Surround what is a round trip on PostgreSQL and nothing on SQLite."""
        return nullcontext() if self.is_sqlite else self.waits()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn driver errors into the store's own; everything else passes unchanged."""
        try:
            yield
        except PoolTimeout as error:
            raise StoreBusy("The database is busy; nothing was changed.") from error
        except DBAPIError as error:
            raise store_error(error, self.name) or error from error

    @contextmanager
    def _turn(self, wait_ms: int) -> Iterator[None]:
        """Let the threads of a process write to SQLite one by one.

        They would wait in SQLite, which polls: with many writers some lose every time, until the
        busy timeout.
        """
        if not self.is_sqlite:
            yield
            return
        with self.waits():
            has_turn = self._writing.acquire(timeout=wait_ms / 1000)
        if not has_turn:
            raise StoreBusy("The database is busy; nothing was changed.")
        try:
            yield
        finally:
            self._writing.release()


_LOCKED = "gateway_locked"
"""Under this name a writing session keeps the principals it has locked."""

_LOCK = (
    select(principals.c.id)
    .where(principals.c.id == bindparam("b_id"), principals.c.erased_at.is_(None))
    .with_for_update()
)


_LOCK_WITHIN = _LOCK.where(principals.c.subaccount_id == bindparam("b_subaccount"))


def lock_principal(
    session: Session, principal_id: str, *, subaccount_id: str | None = None
) -> None:
    """Lock the principal's row until the unit ends: the first lock of every unit that writes.

    Raises :class:`NotFound` when the principal is gone, or on its way (``store.erasing``), or is
    not in the subaccount named.
    """
    if subaccount_id is None:
        locked = session.execute(_LOCK, {"b_id": principal_id})
    else:
        locked = session.execute(
            _LOCK_WITHIN, {"b_id": principal_id, "b_subaccount": subaccount_id}
        )
    if locked.first() is None:
        raise NotFound("There is no such principal.")
    session.info.setdefault(_LOCKED, set()).add(principal_id)


def notify_generation(session: Session, principal_id: str) -> None:
    """Tell other processes that this principal's busy time changed, when the unit commits."""
    if session.dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_notify(:channel, :payload)"),
            {"channel": GENERATION_CHANNEL, "payload": principal_id},
        )


def upsert(
    session: Session,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Sequence[str],
    adding: Sequence[str] = (),
) -> None:
    """Insert ``rows``; where ``keys`` exist already, overwrite the other columns given.

    Those in ``adding`` are added to instead.
    """
    if not rows:
        return
    dialect_insert = sqlite_insert if session.dialect.name == "sqlite" else postgresql_insert
    statement = dialect_insert(table)
    changed = {
        name: table.c[name] + statement.excluded[name]
        if name in adding
        else statement.excluded[name]
        for name in rows[0]
        if name not in keys
    }
    session.execute(
        statement.on_conflict_do_update(index_elements=list(keys), set_=changed), list(rows)
    )


def joined(dialect: str, number: ColumnElement[int]) -> Function[str]:
    """Return the aggregate that writes all whole numbers into one text, with commas between them.

    Thousands of numbers leave the database as one value: a third of what as many rows cost.
    """
    if dialect == "sqlite":
        return func.group_concat(number)
    return func.string_agg(cast(number, Text), ",")


def chunks(values: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Cut ``values`` into lists short enough for one ``IN (…)``."""
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part


def _wait_for_answers(database: Database) -> None:
    """Let every statement of PostgreSQL be a wait: it computes elsewhere."""

    @event.listens_for(database.engine, "do_execute")
    def _on_execute(cursor: Any, statement: str, parameters: Any, _context: object) -> bool:
        with database.waits():
            cursor.execute(statement, parameters)
        return True

    @event.listens_for(database.engine, "do_execute_no_params")
    def _on_execute_plain(cursor: Any, statement: str, _context: object) -> bool:
        with database.waits():
            cursor.execute(statement)
        return True


def _make_private(path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)


def _set_synchronous(connection: Connection, *, full: bool) -> None:
    """Say whether the next commit waits for the disk; SQLite takes it between units only."""
    wanted = "FULL" if full else "NORMAL"
    if connection.info.get("synchronous") != wanted:
        connection.exec_driver_sql(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if connection.execute(_IS_OURS).fetchone()[0]:
            connection.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("gateway_write"):
            connection.exec_driver_sql("BEGIN")
            return
        _set_synchronous(connection, full=not options.get("gateway_repeatable"))
        wait_ms = options.get("gateway_wait_ms", BUSY_TIMEOUT_MS)
        if wait_ms == BUSY_TIMEOUT_MS:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        connection.exec_driver_sql(f"PRAGMA busy_timeout={int(wait_ms)}")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
