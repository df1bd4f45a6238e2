"""What a reader that keeps answers in memory must ask before it trusts one.

``version`` names the state an answer about a principal depends on: busy time, sources and
their states, holds, time zone. Equal versions mean equal answers (but for the passing of time). On
SQLite it is a row, read with the plain driver in some microseconds, so it is right at once in every
process. On PostgreSQL it is a counter raised by notifications: right within milliseconds, and void
(None) while the listening connection is down. Nothing here is trusted by a booking.
"""

import sqlite3
import threading
from pathlib import Path
from typing import Protocol

import psycopg

from gateway.observe import logger
from gateway.store.engine import GENERATION_CHANNEL, Database, Session
from gateway.store.keys import ApiKey, find_key
from gateway.store.principals import hash_secret

Version = tuple[int, int]
KEYS = "keys"
"""The notification payload that stands for all API keys."""

_RETRY_S = 1.0
_KEEPALIVE_S = 10.0
_MOST_KEYS = 10_000
_log = logger("live")


class Live(Protocol):
    """Cheap, current look-ups for one event loop.

    What they say is true as of the last :meth:`refresh`, which every request calls first.
    """

    def refresh(self) -> None:
        """Notice what was committed until now."""
        ...

    def version(self, principal_id: str) -> Version | None:
        """Return the version of a principal's state; None when it cannot be known cheaply."""
        ...

    def find_key(self, secret: str) -> ApiKey | None:
        """Return the API key with this secret, or None when :meth:`load_key` has to decide."""
        ...

    def load_key(self, session: Session, secret: str) -> ApiKey | None:
        """Look a key up in the database; the next :meth:`find_key` may know it."""
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...


def open_live(database: Database) -> Live:
    """Return the live look-ups for this database."""
    return SqliteLive(database) if database.is_sqlite else PostgresqlLive(database)


class SqliteLive:
    """Reads the rows themselves, with one plain connection that never writes.

    SQLite says by ``PRAGMA data_version`` whether anybody committed since it was last asked; as
    long as nobody did, what was read is remembered.
    """

    def __init__(self, database: Database) -> None:
        path = Path(database.url.database or "").absolute()
        self._connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA busy_timeout=50")
        self._seen: object = None
        self._versions: dict[str, Version] = {}
        self._keys: dict[str, ApiKey] = {}

    def refresh(self) -> None:
        """Forget what was read when the database has changed since."""
        try:
            seen = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            seen = None
        if seen is None or seen != self._seen:
            self._seen, self._versions, self._keys = seen, {}, {}

    def version(self, principal_id: str) -> Version | None:
        """Return both generations of the principal."""
        known = self._versions.get(principal_id)
        if known is None:
            known = self._read_version(principal_id)
            if known is not None:
                self._versions[principal_id] = known
        return known

    def _read_version(self, principal_id: str) -> Version | None:
        try:
            row: Version | None = self._connection.execute(
                "SELECT generation, source_generation FROM generations WHERE principal_id = ?",
                (principal_id,),
            ).fetchone()
        except sqlite3.Error:
            return None
        return row

    def find_key(self, secret: str) -> ApiKey | None:
        """Return the key with this secret."""
        known = self._keys.get(secret)
        if known is None:
            known = self._read_key(secret)
            if known is not None:
                self._keys[secret] = known
        return known

    def _read_key(self, secret: str) -> ApiKey | None:
        try:
            row = self._connection.execute(
                "SELECT id, subaccount_id, name, scopes, created_at, last_used_at"
                " FROM api_keys WHERE secret_hash = ?",
                (hash_secret(secret),),
            ).fetchone()
        except sqlite3.Error:
            return None
        if row is None:
            return None
        return ApiKey(row[0], row[1], row[2], frozenset(row[3].split()), row[4], row[5])

    def load_key(self, session: Session, secret: str) -> ApiKey | None:
        """Look the key up; nothing is remembered."""
        return find_key(session, secret)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class PostgresqlLive:
    """Counts notifications on a listening connection of its own, in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._epoch = 0
        self._listening = False
        self._counts: dict[str, int] = {}
        self._keys: dict[bytes, ApiKey] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generation-listener", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Nothing to do: changes come by themselves."""

    def version(self, principal_id: str) -> Version | None:
        """Return how often a change of the principal was heard of, in this connection's life."""
        if not self._listening:
            return None
        return self._epoch, self._counts.get(principal_id, 0)

    def find_key(self, secret: str) -> ApiKey | None:
        """Return a key that was looked up since the last change of any key."""
        return self._keys.get(hash_secret(secret)) if self._listening else None

    def load_key(self, session: Session, secret: str) -> ApiKey | None:
        """Look the key up; remember it unless keys changed meanwhile.

        The session must be new: its snapshot must not be older than this call.
        """
        before = self.version(KEYS)
        found = find_key(session, secret)
        if found is not None and before is not None and self.version(KEYS) == before:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            self._keys[hash_secret(secret)] = found
        return found

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        self._thread.join(timeout=_KEEPALIVE_S + 1)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                _log.warning("notifications lost", error=type(error).__name__)
            finally:
                self._listening = False
            self._closed.wait(_RETRY_S)

    def _listen(self) -> None:
        url = self._database.url.set(drivername="postgresql")
        with psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True
        ) as connection:
            connection.execute(f"LISTEN {GENERATION_CHANNEL}")
            # What was heard before is void: changes may have been missed in between.
            self._epoch += 1
            self._counts, self._keys = {}, {}
            self._listening = True
            while not self._closed.is_set():
                for note in connection.notifies(timeout=0.5):
                    self._hear(note.payload)
                    if self._closed.is_set():
                        return
                connection.execute("SELECT 1")  # a dead connection shows here

    def _hear(self, payload: str) -> None:
        self._counts[payload] = self._counts.get(payload, 0) + 1
        if payload == KEYS:
            self._keys = {}
