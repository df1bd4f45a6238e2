"""Failed logins of the last minutes, counted by all processes together (docs/api.md).

Address and name are kept as hashes: people type passwords into the wrong field. Rows live as long
as they count.
"""

import hashlib
from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, delete, func, insert, select, union_all

from gateway.store.engine import Session, new_id
from gateway.store.tables import login_failures

WINDOW_S = 300
PER_ADDRESS = 100
PER_NAME = 10

_RECENT = login_failures.c.at > bindparam("since")
_BLOCKED = union_all(
    *(
        select(key.label("key"), func.min(login_failures.c.at).label("at"))
        .where(_RECENT)
        .group_by(key)
        .having(func.count() >= count)
        for key, count in (
            (login_failures.c.name_key, PER_NAME),
            (login_failures.c.address_key, PER_ADDRESS),
        )
    )
)


def keys_of(address: str, name: str) -> tuple[bytes, bytes]:
    """Return what failures are counted under: the address, and the name at this address.

    Never the name alone: that would let anybody lock anybody out.
    """
    return _hash(address), _hash(f"{address}\0{name}")


def blocked_keys(session: Session, *, now: int) -> Mapping[bytes, int]:
    """Return the keys that failed too often, each with the time when its first failure expires."""
    found = session.execute(_BLOCKED, {"since": now - WINDOW_S})
    return {bytes(key): at + WINDOW_S for key, at in found}


Failure = tuple[int, bytes, bytes]
"""When it was, in UTC epoch seconds, and the two keys of :func:`keys_of`."""


def note_failures(session: Session, failures: Sequence[Failure], *, now: int) -> None:
    """Count failed logins, and forget those that count no more."""
    session.execute(delete(login_failures).where(login_failures.c.at <= now - WINDOW_S))
    rows = [
        {"id": new_id("fail"), "at": at, "address_key": address_key, "name_key": name_key}
        for at, address_key, name_key in failures
    ]
    session.execute(insert(login_failures), rows)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
