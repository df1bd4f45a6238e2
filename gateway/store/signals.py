"""What a reader that keeps answers in memory must ask before it trusts one.

``version`` names the state an answer about a principal depends on: busy time, sources and
their states, holds, time zone. Equal versions mean equal answers (but for the passing of time, and
for ``verified_at``: when all calendars were last found current, which moves on all day). On
SQLite it is a row, read with the plain driver in some microseconds, so it is right at once in every
process. On PostgreSQL it is a counter raised by notifications: right within milliseconds, and void
(None) while the listening connection is down or deaf. Nothing here is trusted by a booking.

Deaf is a listener that does not hear the test that another connection sends it, or that heard of
no change although the generations in the database moved on. Behind a pooler that lends server
connections per transaction (PgBouncer) LISTEN succeeds and nothing is ever heard; a test sent by
the listener itself would even come back, within its own transaction.
"""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import URL, make_url

from gateway.observe import logger
from gateway.store.access.keys import ApiKey
from gateway.store.access.principals import hash_secret
from gateway.store.engine import GENERATION_CHANNEL, Database, new_id
from gateway.store.objects.freshness import VERIFIED

StateVersion = tuple[int, int]
Connection = psycopg.Connection[tuple[Any, ...]]
KEYS = "keys"
"""The notification payload that stands for all API keys."""

_RETRY_S = 1.0
_KEEPALIVE_S = 10.0
_TEST_EVERY_S = 0.5
_DEAF_AFTER_S = 3.0
"""A connection whose other end vanished says nothing for a quarter of an hour, errors included."""

_TEST = "test"
"""The first word of a notification that only asks whether it arrives."""

_SEND_TEST = "SELECT coalesce(sum(generation), 0)::text, pg_notify(%s, %s)::text FROM generations"

_READ_VERSION = (
    "SELECT generation, source_generation, verified_at FROM generations"
    " LEFT JOIN connections USING (principal_id) WHERE principal_id = ?"
)
_log = logger("live")


class ChangeSignals(Protocol):
    """Cheap, current look-ups for one event loop.

    What they say is true as of the last :meth:`refresh`, which every request calls first.
    """

    def refresh(self) -> None:
        """Notice what was committed until now."""
        ...

    def version(self, principal_id: str) -> StateVersion | None:
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


def open_signals(database: Database, *, listen_url: str = "") -> ChangeSignals:
    """Return the change signals of this database.

    ``listen_url`` names the same database past a pooler, for the one connection that listens.
    """
    if database.is_sqlite:
        return SqliteSignals(database)
    return PostgresqlSignals(database, listen_url=listen_url)


class SqliteSignals:
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
        self._read: dict[str, tuple[StateVersion, int | None]] = {}
        self._keys: dict[str, ApiKey] = {}

    def refresh(self) -> None:
        """Forget what was read when the database has changed since."""
        try:
            seen = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            seen = None
        if seen is None or seen != self._seen:
            self._seen, self._read, self._keys = seen, {}, {}

    def version(self, principal_id: str) -> StateVersion | None:
        """Return both generations of the principal."""
        known = self._known(principal_id)
        return None if known is None else known[0]

    def verified_at(self, principal_id: str) -> int | None:
        """Return what the connection of the principal says."""
        known = self._known(principal_id)
        return None if known is None else known[1]

    def _known(self, principal_id: str) -> tuple[StateVersion, int | None] | None:
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


class _Deaf(Exception):
    """Notifications do not arrive on the listening connection."""


class PostgresqlSignals:
    """Counts notifications on a listening connection of its own, in a thread."""

    def __init__(self, database: Database, *, listen_url: str = "") -> None:
        self._url = _plain_url(database.url)
        self._listen_url = _plain_url(make_url(listen_url)) if listen_url else self._url
        self._epoch = 0
        self._heard_until = float("-inf")
        self._heard = 0
        self._own: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._verified: dict[str, int] = {}
        self._keys: dict[str, ApiKey] = {}
        self._closed = threading.Event()
        database.committed = self._note_own
        self._thread = threading.Thread(target=self._run, name="generation-listener", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Nothing to do: changes come by themselves."""

    @property
    def _listening(self) -> bool:
        """Whether all that was committed until some seconds ago has been heard of."""
        return time.monotonic() - self._heard_until < _DEAF_AFTER_S

    def version(self, principal_id: str) -> StateVersion | None:
        """Return how often a change of the principal was heard of, in this connection's life.

        What this process committed itself counts at once: who booked and asks for slots does not
        find the booked one among them.
        """
        if not self._listening:
            return None
        own = self._own.get(principal_id, 0)
        return self._epoch, self._counts.get(principal_id, 0) + own

    def _note_own(self, principal_id: str) -> None:
        """Count a commit of this process; two at once may count as one, both are done by then."""
        self._own[principal_id] = self._own.get(principal_id, 0) + 1

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
                # Tests come from a connection of their own: on no other would a pooler's way of
                # losing notifications show, and none of the requests' can be spared.
                with _connect(self._listen_url) as listening, _connect(self._url) as sending:
                    self._listen(listening, sending)
            except psycopg.Error as error:
                _log.warning("notifications lost", error=type(error).__name__)
            except _Deaf:
                _log.error(
                    "notifications do not arrive: free/busy is computed anew for each request."
                    " Does database_url lead through a pooler in transaction mode? Then name the"
                    " database itself in listen_database_url"
                )
            finally:
                self._heard_until = float("-inf")
            self._closed.wait(_RETRY_S)

    def _listen(self, listening: Connection, sending: Connection) -> None:
        listening.execute(f"LISTEN {GENERATION_CHANNEL}")
        # What was heard before is void: changes may have been missed in between.
        self._epoch += 1
        self._counts, self._verified, self._keys = {}, {}, {}
        total, heard = None, self._heard
        while not self._closed.is_set():
            asked_at, heard_before = time.monotonic(), self._heard
            token = f"{_TEST} {new_id('t')}"
            moved_to = _send_test(sending, token)
            if not self._hear_until(listening, asked_at + _DEAF_AFTER_S, token):
                raise _Deaf
            # Whatever was committed before the test was sent has been heard by now.
            if total not in (None, moved_to) and self._heard == heard:
                raise _Deaf
            total, heard = moved_to, heard_before
            self._heard_until = asked_at
            self._hear_until(listening, asked_at + _TEST_EVERY_S)

    def _hear_until(self, listening: Connection, until: float, token: str = "") -> bool:
        """Take in what comes, at most until ``until`` (monotonic), and tell whether a test came."""
        came = False
        while not came and not self._closed.is_set() and (left := until - time.monotonic()) > 0:
            for note in listening.notifies(timeout=left, stop_after=1):  # all of a packet come
                came |= note.payload == token
                self._hear(note.payload)
        return came or self._closed.is_set()

    def _hear(self, payload: str) -> None:
        word, *named = payload.split()
        if word == _TEST:
            return
        if word == VERIFIED:
            at, *principal_ids = named
            self._verified.update(dict.fromkeys(principal_ids, int(at)))
            return
        self._counts[payload] = self._counts.get(payload, 0) + 1
        self._heard += 1
        if payload == KEYS:
            self._keys = {}


def _plain_url(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _connect(url: str) -> Connection:
    """Open a connection without prepared statements: behind a pooler they may be another's."""
    return psycopg.connect(
        url,
        autocommit=True,
        prepare_threshold=None,
        keepalives_idle=int(_KEEPALIVE_S),  # else a dead peer holds the thread for two hours
        keepalives_interval=5,
        keepalives_count=3,
    )


def _send_test(sending: Connection, token: str) -> str:
    """Send a test and read the generations at once; returns their sum."""
    row = sending.execute(_SEND_TEST, (GENERATION_CHANNEL, token)).fetchone()
    return str(row[0]) if row else ""
