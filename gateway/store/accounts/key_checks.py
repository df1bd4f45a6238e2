"""A store and its key belong together (R45): found at start, before anything is written.

The database keeps a check value per key id. It is written when a key provably fits: it decrypts a
secret that is there, it came with a key that fits (rotation), or nothing was ever made with a key.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import delete, or_, select

from gateway.core.errors import KeyMismatch, StoreError
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database, Session, upsert
from gateway.store.tables import connections, key_checks, push_ledger, secrets

_KEY_ID = re.compile(r"k\d+|k_[0-9a-f]{16}")
_TRIED = 50
"""Secrets of one key that are tried before it is called foreign: some may be damaged."""


@dataclass(frozen=True)
class _Known:
    values: dict[str, bytes]
    index_keys: frozenset[str]
    in_use: frozenset[str]

    @property
    def needed(self) -> frozenset[str]:
        """Keys that must be there. A damaged row may name what never was a key: that is its own
        account's trouble."""
        if self.values:
            return self.index_keys | (self.in_use & self.values.keys())
        return frozenset(key_id for key_id in self.in_use if _KEY_ID.fullmatch(key_id))


def bind_keyring(database: Database, keyring: Keyring) -> None:
    """Check that the keyring is the database's, and remember the keys that are new to it.

    Raises :class:`KeyMismatch` (``key-foreign``, ``key-incomplete``); nothing is written then.
    """
    with database.read() as session:
        unknown = check_keyring(session, keyring)
    if unknown:
        with database.write() as session:
            session.execute(select(key_checks).with_for_update()).all()
            _remember(session, keyring, check_keyring(session, keyring))


def check_keyring(session: Session, keyring: Keyring) -> frozenset[str]:
    """Return the ids of keys that fit and that the database does not know yet; writes nothing.

    Raises :class:`KeyMismatch` like :func:`bind_keyring`.
    """
    known = _read_known(session)
    for key_id in sorted(keyring.key_ids & known.values.keys()):
        if keyring.check_value(key_id) != known.values[key_id]:
            raise _foreign(f"its key {key_id} is another one of that name")
    if known.values and not keyring.key_ids & known.values.keys():
        raise _foreign("none of its keys is known there")
    unproven = sorted(keyring.key_ids & known.in_use - known.values.keys())
    if not known.values and known.in_use and not unproven:
        raise _foreign("none of its keys is known there")
    for key_id in unproven:
        if not _decrypts(session, keyring, key_id):
            raise _foreign(f"its key {key_id} opens no stored secret")
    missing = known.needed - keyring.key_ids
    if missing:
        raise _incomplete(missing)
    if known.index_keys and keyring.index_key not in known.index_keys:
        raise _foreign(f"it makes indexes with {keyring.index_key}")
    return keyring.key_ids - known.values.keys()


def has_traces_of_a_key(session: Session) -> bool:
    """Tell whether anything here was made with a key and is lost without it: secrets, indexes."""
    queries = (
        select(secrets.c.owner_id),
        select(connections.c.id).where(
            or_(connections.c.email_index.is_not(None), connections.c.account_index.is_not(None))
        ),
        select(push_ledger.c.id).where(push_ledger.c.account_index.is_not(None)),
    )
    return any(session.execute(query.limit(1)).first() is not None for query in queries)


def replace_unused_keys(session: Session, keyring: Keyring) -> None:
    """Bind a database to a new keyring; only for one without :func:`has_traces_of_a_key`."""
    session.execute(delete(key_checks))
    _remember(session, keyring, keyring.key_ids)


def _read_known(session: Session) -> _Known:
    rows = session.execute(select(key_checks)).all()
    return _Known(
        {row.key_id: bytes(row.check_value) for row in rows},
        frozenset(row.key_id for row in rows if row.makes_indexes),
        frozenset(_keys_of_secrets(session)),
    )


def _keys_of_secrets(session: Session) -> Iterator[str]:
    """Yield the distinct key ids, each by one step in the index: there may be many secrets."""
    last = ""
    while True:
        found = session.execute(
            select(secrets.c.key_id)
            .where(secrets.c.key_id > last)
            .order_by(secrets.c.key_id)
            .limit(1)
        ).scalar()
        if found is None:
            return
        yield found
        last = found


def _decrypts(session: Session, keyring: Keyring, key_id: str) -> bool:
    """Tell whether the key opens one of the secrets that name it."""
    rows = session.execute(select(secrets).where(secrets.c.key_id == key_id).limit(_TRIED))
    for row in rows:
        try:
            keyring.decrypt(key_id, bytes(row.ciphertext), owner_id=row.owner_id, field=row.field)
        except StoreError:
            continue
        return True
    return False


def _remember(session: Session, keyring: Keyring, key_ids: frozenset[str]) -> None:
    now = int(time.time())
    rows = [
        {
            "key_id": key_id,
            "check_value": keyring.check_value(key_id),
            "makes_indexes": key_id == keyring.index_key,
            "created_at": now,
        }
        for key_id in sorted(key_ids)
    ]
    upsert(session, key_checks, rows, keys=("key_id",))


def _foreign(why: str) -> KeyMismatch:
    return KeyMismatch(
        f"The key file does not belong to this database: {why}; put back the key file that was"
        " made with it, or name the right database.",
        code="key-foreign",
    )


def _incomplete(missing: frozenset[str]) -> KeyMismatch:
    return KeyMismatch(
        f"The key file lacks {', '.join(sorted(missing))}, which stored secrets need; put back a"
        " copy of the key file that has it.",
        code="key-incomplete",
    )
