"""What a driver's error means for those who run the gateway: a sentence, a code, what to do next.

The sentences go to API callers and phones too, so they name neither paths nor hosts: those, with
the driver's own words, are the ``cause``, which goes to the log and to people at the machine.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from gateway.core.errors import SchemaMismatch, StoreBusy, StoreError, StoreFull

_NOTHING = "nothing was changed."


def _full() -> StoreError:
    return StoreFull(f"No space is left for the database; free some on its disk; {_NOTHING}")


def _busy() -> StoreError:
    return StoreBusy(f"The database is busy; try again in a moment; {_NOTHING}")


def _unreachable() -> StoreError:
    return StoreBusy(
        "The database cannot be reached; see that it runs and that database_url is right;"
        f" {_NOTHING}",
        code="store-unreachable",
    )


def _read_only() -> StoreError:
    return StoreError(
        "The database is read-only for this process; give its file and folder to the user that"
        f" runs the gateway, and room to write on that disk; {_NOTHING}",
        code="store-read-only",
    )


def _unopenable() -> StoreError:
    return StoreError(
        "The database file cannot be opened; give it and its folder to the user that runs the"
        f" gateway; {_NOTHING}",
        code="store-unopenable",
    )


def _broken_disk() -> StoreError:
    return StoreError(
        "The disk of the database failed to read or write; look at its health, at quotas and at"
        f" limits of file size; {_NOTHING}",
        code="store-io-error",
    )


def _corrupt() -> StoreError:
    return StoreError(
        "The database file is damaged or no database; stop the gateway and restore a backup.",
        code="store-corrupt",
    )


def _outdated() -> StoreError:
    return SchemaMismatch(
        "The database lacks something this program needs; run `gateway doctor`, which says what.",
    )


def _forbidden() -> StoreError:
    return StoreError(
        "The database role of this process lacks a right; give it what docker/roles.sh gives, or"
        f" use the owner's role; {_NOTHING}",
        code="store-forbidden",
    )


_SQLITE: dict[int, Callable[[], StoreError]] = {
    sqlite3.SQLITE_FULL: _full,
    sqlite3.SQLITE_BUSY: _busy,
    sqlite3.SQLITE_LOCKED: _busy,
    sqlite3.SQLITE_PROTOCOL: _busy,
    sqlite3.SQLITE_READONLY: _read_only,
    sqlite3.SQLITE_PERM: _read_only,
    sqlite3.SQLITE_CANTOPEN: _unopenable,
    sqlite3.SQLITE_AUTH: _unopenable,
    sqlite3.SQLITE_IOERR: _broken_disk,
    sqlite3.SQLITE_CORRUPT: _corrupt,
    sqlite3.SQLITE_NOTADB: _corrupt,
    sqlite3.SQLITE_FORMAT: _corrupt,
}
"""By primary result code, the lowest byte of SQLite's extended codes."""

_POSTGRESQL: dict[str, Callable[[], StoreError]] = {
    "53100": _full,
    "53": _busy,  # too many connections, out of memory
    "40": _busy,  # serialization, deadlock
    "55P03": _busy,  # lock not available
    "57014": _busy,  # cancelled by a timeout
    "08": _unreachable,
    "57": _unreachable,  # shutting down, starting up
    "28": _unreachable,  # who we are is not believed
    "3D": _unreachable,  # no such database
    "25006": _unreachable,  # a stand-by, while somebody switches over
    "42501": _forbidden,
    "42P01": _outdated,
    "42703": _outdated,
    "58": _broken_disk,
    "XX001": _corrupt,
    "XX002": _corrupt,
}
"""By SQLSTATE, else by its class (the first two letters)."""

_MISSING = re.compile(r"no such (table|column)|has no column named")


def store_error(error: DBAPIError, where: str) -> StoreError | None:
    """Return the store's own error for a driver's, None for what a caller must judge itself.

    ``where`` names the database for people at the machine.
    """
    made, told = _meaning(error), error
    if made is not None and made.code == StoreError.default_code:
        # A full disk ends the transaction by itself; then its savepoints are not there any more.
        for before in _errors_before(error):
            earlier = _meaning(before)
            if earlier is not None:
                made, told = earlier, before
    if made is not None:
        made.cause = f"{where}: {first_line(told.orig)}"
    return made


def _errors_before(error: BaseException) -> Iterator[DBAPIError]:
    """Yield the driver's errors that were being handled when this one came, the latest first."""
    seen = {id(error)}
    found = error.__context__
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, DBAPIError):
            yield found
        found = found.__context__


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's text: what follows may quote a statement."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _meaning(error: DBAPIError) -> StoreError | None:
    cause: Any = error.orig
    if isinstance(cause, sqlite3.Error):
        return _sqlite_meaning(cause)
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        known = _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
        if known is not None:
            return known()
    elif error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return _unreachable()
    return _refused() if isinstance(error, OperationalError) else None


def _sqlite_meaning(cause: sqlite3.Error) -> StoreError | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _SQLITE:
        return _SQLITE[code & 0xFF]()
    if _MISSING.search(str(cause)):
        return _outdated()
    if "disk is full" in str(cause):  # also when a trigger says so
        return _full()
    return _refused() if isinstance(cause, sqlite3.OperationalError) else None


def _refused() -> StoreError:
    return StoreError(f"The database refused the operation; the log says why; {_NOTHING}")
