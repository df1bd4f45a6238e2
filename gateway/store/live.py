"""What a reader that keeps answers in memory must ask before it trusts one.

``version`` names the state an answer about a principal depends on: busy time, sources and
their states, holds, time zone. Equal versions mean equal answers (but for the passing of time, and
for ``verified_at``: when all calendars were last found current, which moves on all day). On
SQLite it is a row, read with the plain driver in some microseconds, so it is right at once in every
process. On PostgreSQL it is a counter raised by notifications: right within milliseconds, and void
(None) while the listening connection is down or silent. Nothing here is trusted by a booking.
"""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Protocol

import psycopg

from gateway.observe import logger
from gateway.store.engine import GENERATION_CHANNEL, Database
from gateway.store.freshness import VERIFIED
from gateway.store.keys import ApiKey
from gateway.store.principals import hash_secret

Version = tuple[int, int]
KEYS = "keys"
"""The notification payload that stands for all API keys."""

_RETRY_S = 1.0
_KEEPALIVE_S = 10.0
_DEAF_AFTER_S = 3.0
"""A connection whose other end vanished says nothing for a quarter of an hour, errors included."""

_READ_VERSION = (
    "SELECT generation, source_generation, verified_at FROM generations"
    " LEFT JOIN connections USING (principal_id) WHERE principal_id = ?"
)
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

    def verified_at(self, principal_id: str) -> int | None:
        """Return when a poll last found all calendars of a principal current, as far as is known.

        Asked after :meth:`version`; None or a time that is known already adds nothing.
        """
        ...

    @property
    def keys(self) -> dict[str, ApiKey]:
        """What callers remember of keys, by whatever name they looked them up.

        Another, empty one stands here as soon as any key may have changed. Who wants to remember a
        key takes the dictionary before reading the key: what was read too early is then
        remembered where nobody looks any more.
        """
        ...

    def read_key(self, secret: str) -> ApiKey | None:
        """Return the API key with this secret, or None when the database has to be asked."""
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
        self._read: dict[str, tuple[Version, int | None]] = {}
        self._keys: dict[str, ApiKey] = {}

    def refresh(self) -> None:
        """Forget what was read when the database has changed since."""
        try:
            seen = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            seen = None
        if seen is None or seen != self._seen:
            self._seen, self._read, self._keys = seen, {}, {}

    def version(self, principal_id: str) -> Version | None:
        """Return both generations of the principal."""
        known = self._known(principal_id)
        return None if known is None else known[0]

    def verified_at(self, principal_id: str) -> int | None:
        """Return what the connection of the principal says."""
        known = self._known(principal_id)
        return None if known is None else known[1]

    def _known(self, principal_id: str) -> tuple[Version, int | None] | None:
        known = self._read.get(principal_id)
        if known is None:
            try:
                row = self._connection.execute(_READ_VERSION, (principal_id,)).fetchone()
            except sqlite3.Error:
                return None
            if row is None:
                return None
            known = self._read[principal_id] = ((row[0], row[1]), row[2])
        return known

    @property
    def keys(self) -> dict[str, ApiKey]:
        """Keys looked up since the last commit of anybody."""
        return self._keys

    def read_key(self, secret: str) -> ApiKey | None:
        """Return the key with this secret."""
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

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class PostgresqlLive:
    """Counts notifications on a listening connection of its own, in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._epoch = 0
        self._heard_until = float("-inf")
        self._counts: dict[str, int] = {}
        self._verified: dict[str, int] = {}
        self._keys: dict[str, ApiKey] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generation-listener", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Nothing to do: changes come by themselves."""

    @property
    def _listening(self) -> bool:
        """Whether all that was committed until some seconds ago has been heard of."""
        return time.monotonic() - self._heard_until < _DEAF_AFTER_S

    def version(self, principal_id: str) -> Version | None:
        """Return how often a change of the principal was heard of, in this connection's life."""
        if not self._listening:
            return None
        return self._epoch, self._counts.get(principal_id, 0)

    def verified_at(self, principal_id: str) -> int | None:
        """Return the last time that was heard of, in this connection's life."""
        return self._verified.get(principal_id)

    @property
    def keys(self) -> dict[str, ApiKey]:
        """Keys looked up since the last change of any key; none while changes are not heard of."""
        return self._keys if self._listening else {}

    def read_key(self, secret: str) -> ApiKey | None:
        """Return None: only the database itself can tell."""
        return None

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
                self._heard_until = float("-inf")
            self._closed.wait(_RETRY_S)

    def _listen(self) -> None:
        url = self._database.url.set(drivername="postgresql")
        with psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True
        ) as connection:
            connection.execute(f"LISTEN {GENERATION_CHANNEL}")
            # What was heard before is void: changes may have been missed in between.
            self._epoch += 1
            self._counts, self._verified, self._keys = {}, {}, {}
            self._heard_until = time.monotonic()
            while not self._closed.is_set():
                asked_at = time.monotonic()
                connection.execute("SELECT 1")  # a dead connection shows here
                for note in connection.notifies(timeout=0.5):
                    self._hear(note.payload)
                    if self._closed.is_set():
                        return
                self._heard_until = asked_at  # what came with the answer is read by now

    def _hear(self, payload: str) -> None:
        word, *named = payload.split()
        if word == VERIFIED:
            at, *principal_ids = named
            self._verified.update(dict.fromkeys(principal_ids, int(at)))
            return
        self._counts[payload] = self._counts.get(payload, 0) + 1
        if payload == KEYS:
            self._keys = {}
