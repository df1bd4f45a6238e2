"""``gateway doctor --writes``: is everything iCloud was sent allowed by the push ledger (R13)?

The look-alike keeps a log of requests, real iCloud shows none; so this runs in development and in
tests. Both directions are compared: a write without a ledger row, and a row that says "pushed" with
no write behind it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import aiohttp

from gateway.core.errors import Refused
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.engine import Database
from gateway.store.outbox import outbox
from gateway.store.outbox.outbox import LedgerRow

READS = ("GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT")
_ALLOWED = ("PUT", "DELETE")

Entry = Mapping[str, Any]


class Mismatch(NamedTuple):
    """One difference; ``what`` is a stable code, ``where`` a path or a ledger row's id."""

    what: str
    where: str
    detail: str


async def compare_writes(settings: Settings, database: Database) -> list[Mismatch]:
    """Compare the ledger of all principals with the look-alike's log.

    Raises :class:`Refused` ``no-request-log`` when upstream is no look-alike.
    """
    try:
        log = await _request_log(settings.upstream_url)
    except (aiohttp.ClientError, ValueError):
        raise Refused(
            "Only the look-alike keeps a log of requests to compare with; upstream_url names "
            "something else.",
            code="no-request-log",
        ) from None
    with database.read() as session:
        ledger = [
            row
            for person in principals.list_principals(session)
            for row in outbox.list_ledger(session, person.id)
        ]
    return [*find_unallowed(ledger, log), *find_unsent(ledger, log)]


async def _request_log(url: str) -> list[Entry]:
    """Ask the look-alike's control API; raises ClientError or ValueError where there is none."""
    async with (
        aiohttp.ClientSession(raise_for_status=True) as http,
        http.post(f"{url.rstrip('/')}/_control/log", json={}) as answer,
    ):
        return list(await answer.json())


def find_unallowed(ledger: Sequence[LedgerRow], log: Iterable[Entry]) -> list[Mismatch]:
    """Return the writes no ledger row explains.

    A refused attempt under a name that was then given up (a UID iCloud still remembers) is
    explained by its calendar; an accepted one only by its very name.
    """
    names = {name for row in ledger for name in _names(row)}
    paths = {row.upstream_path.rstrip("/") for row in ledger}
    found = []
    for entry in log:
        if entry["method"] in READS:
            continue
        parent, _, name = unquote(entry["path"]).rstrip("/").rpartition("/")
        is_known = name in names or (not _is_accepted(entry) and parent in paths)
        if entry["method"] not in _ALLOWED or not is_known:
            detail = f"{entry['method']} was answered {entry['status']}"
            found.append(Mismatch("write-without-ledger-row", unquote(entry["path"]), detail))
    return found


def find_unsent(ledger: Sequence[LedgerRow], log: Iterable[Entry]) -> list[Mismatch]:
    """Return the rows that say iCloud has the object though no write of it was accepted."""
    sent = {
        unquote(entry["path"]).rpartition("/")[2]
        for entry in log
        if entry["method"] == "PUT" and _is_accepted(entry)
    }
    return [
        Mismatch("pushed-without-write", row.id, f"no accepted PUT of {row.upstream_name}")
        for row in ledger
        if row.upstream_etag is not None and not _names(row) & sent
    ]


def _names(row: LedgerRow) -> set[str]:
    """Return the name we wrote under, and the one it has since somebody moved it in iCloud."""
    return {f"{row.upstream_uid}.ics", row.upstream_name}


def _is_accepted(entry: Entry) -> bool:
    return bool(200 <= entry["status"] < 300)
