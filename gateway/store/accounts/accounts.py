"""Connections to iCloud accounts: state, credentials, scheduling. The only importer of the key.

The app-specific password is decrypted here, on the way to the upstream client, and nowhere else.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, or_, select, tuple_, update

from gateway.core.errors import NotFound, SecretUnreadable, StateConflict
from gateway.store.accounts.secrets import KEYRING_VARIABLE, Keyring
from gateway.store.engine import Session, chunks, new_id, upsert
from gateway.store.stored_json import read_texts
from gateway.store.tables import connections, secrets

__all__ = ["KEYRING_VARIABLE", "Keyring"]  # the composition root gets it from here


@dataclass(frozen=True, slots=True)
class Connection:
    """One iCloud account of a principal; times are UTC epoch seconds.

    ``state`` is ``ok``, ``credential-revoked``, ``secret-unreadable``, ``paused`` or
    ``disconnected``.
    """

    id: str
    principal_id: str
    state: str
    problem: str | None
    problem_detail: str | None
    principal_path: str | None
    home_path: str | None
    addresses: tuple[str, ...]
    trust_for_s: int
    created_at: int
    next_sync_at: float
    active_until: int
    failures: int
    probes_left: int
    polled_at: int | None
    synced_at: int | None
    reconciled_at: int | None


@dataclass(frozen=True, slots=True)
class Credential:
    """E-mail and app-specific password in clear; never logged, never stored."""

    email: str
    app_password: str

    def __repr__(self) -> str:
        return "<Credential>"


COLUMNS = tuple(connections.c[name] for name in Connection.__dataclass_fields__)


def connection_of(row: Any) -> Connection:
    """Make a connection of a row that begins with :data:`COLUMNS`."""
    values = dict(zip(Connection.__dataclass_fields__, row, strict=False))
    values["addresses"] = read_texts(row.addresses, column="addresses", row=row.id)
    return Connection(**values)


def normalise_email(email: str) -> str:
    """Return the form under which two spellings of an account are the same (R2)."""
    return email.strip().casefold()


def email_index(keyring: Keyring, email: str) -> bytes:
    """Return the blind index of an account's e-mail."""
    return keyring.blind_index(normalise_email(email), purpose="email")


def account_index(keyring: Keyring, account_number: str) -> bytes:
    """Return the blind index of an account number (DSID)."""
    return keyring.blind_index(account_number, purpose="account")


def check_not_connected(
    session: Session, keyring: Keyring, *, principal_id: str, email: str, account_number: str
) -> None:
    """Raise :class:`StateConflict` when the principal or the account has a live connection (R2)."""
    taken = session.execute(
        select(connections.c.principal_id).where(
            connections.c.state != "disconnected",
            or_(
                connections.c.principal_id == principal_id,
                connections.c.email_index == email_index(keyring, email),
                connections.c.account_index == account_index(keyring, account_number),
            ),
        )
    ).all()
    if any(row.principal_id == principal_id for row in taken):
        raise StateConflict(
            "This person has an iCloud account connected already. Replace its password, or "
            "disconnect it first to connect another one.",
            code="principal-already-connected",
        )
    if taken:
        raise StateConflict(
            "This Apple Account is already connected to the gateway for somebody. Disconnect it "
            "there first; one Apple Account serves one person.",
            code="account-already-connected",
        )


def create_connection(
    session: Session,
    keyring: Keyring,
    *,
    principal_id: str,
    credential: Credential,
    account_number: str,
    principal_path: str,
    home_path: str,
    addresses: Iterable[str],
    trust_for_s: int,
    now: int,
) -> Connection:
    """Insert the connection of a principal, or revive its disconnected one (R3).

    Raises :class:`StateConflict` when the account is connected already (R2).
    """
    check_not_connected(
        session,
        keyring,
        principal_id=principal_id,
        email=credential.email,
        account_number=account_number,
    )
    indexes = {
        "index_key_id": keyring.index_key,
        "email_index": email_index(keyring, credential.email),
        "account_index": account_index(keyring, account_number),
    }
    values = {
        **indexes,
        "state": "ok",
        "problem": None,
        "problem_detail": None,
        "principal_path": principal_path,
        "home_path": home_path,
        "addresses": json.dumps(sorted({a.casefold() for a in addresses})),
        "trust_for_s": trust_for_s,
        "next_sync_at": 0.0,
        "failures": 0,
        "probes_left": 0,
    }
    _release_disconnected(session, indexes, principal_id)
    existing = find_connection(session, principal_id)
    connection_id = existing.id if existing else new_id("con")
    if existing:
        session.execute(
            update(connections).where(connections.c.id == connection_id).values(**values)
        )
    else:
        session.execute(
            insert(connections).values(
                id=connection_id, principal_id=principal_id, created_at=now, **values
            )
        )
    store_credential(session, keyring, connection_id, credential)
    return get_connection(session, connection_id)


def _release_disconnected(session: Session, indexes: Mapping[str, Any], principal_id: str) -> None:
    """Let a disconnected connection of somebody else give up its claim on the account."""
    session.execute(
        update(connections)
        .where(
            connections.c.state == "disconnected",
            connections.c.principal_id != principal_id,
            or_(
                connections.c.email_index == indexes["email_index"],
                connections.c.account_index == indexes["account_index"],
            ),
        )
        .values(email_index=None, account_index=None)
    )


def find_connection(session: Session, principal_id: str) -> Connection | None:
    """Return the principal's connection, disconnected ones included, or None."""
    row = session.execute(
        select(*COLUMNS).where(connections.c.principal_id == principal_id)
    ).first()
    return connection_of(row) if row is not None else None


def get_connection(session: Session, connection_id: str) -> Connection:
    """Return one connection by id; raises :class:`NotFound`."""
    row = session.execute(select(*COLUMNS).where(connections.c.id == connection_id)).first()
    if row is None:
        raise NotFound("There is no such connection.")
    return connection_of(row)


def list_connections(session: Session) -> list[Connection]:
    """List all connections, oldest first."""
    query = select(*COLUMNS).order_by(connections.c.created_at, connections.c.id)
    return [connection_of(row) for row in session.execute(query)]


def update_connection(session: Session, connection_id: str, /, **changes: Any) -> None:
    """Change columns of a connection; raises :class:`NotFound`."""
    if "addresses" in changes:
        changes["addresses"] = json.dumps(sorted({a.casefold() for a in changes["addresses"]}))
    statement = update(connections).where(connections.c.id == connection_id).values(**changes)
    if not session.execute(statement).rowcount:
        raise NotFound("There is no such connection.")


def is_account(
    session: Session, keyring: Keyring, connection_id: str, *, account_number: str
) -> bool:
    """Tell whether a connection is to the account with this number (DSID)."""
    stored = session.execute(
        select(connections.c.account_index).where(connections.c.id == connection_id)
    ).scalar()
    return stored is not None and bytes(stored) == account_index(keyring, account_number)


# --- credentials ---


def store_credential(
    session: Session, keyring: Keyring, connection_id: str, credential: Credential
) -> None:
    """Encrypt and store e-mail and password of a connection, replacing earlier ones."""
    store_secret(session, keyring, connection_id, "email", credential.email.encode())
    store_secret(session, keyring, connection_id, "app_password", credential.app_password.encode())


def load_credential(session: Session, keyring: Keyring, connection_id: str) -> Credential:
    """Decrypt e-mail and password; raises :class:`NotFound` after a disconnect."""
    email = load_secret(session, keyring, connection_id, "email")
    app_password = load_secret(session, keyring, connection_id, "app_password")
    return Credential(email.decode(), app_password.decode())


def check_has_credential(session: Session, connection_id: str) -> None:
    """Raise :class:`NotFound` after a disconnect, without decrypting anything."""
    if session.execute(select(secrets.c.field).where(secrets.c.owner_id == connection_id)).first():
        return
    raise NotFound("There is no stored secret.")


def erase_credential(session: Session, connection_id: str) -> None:
    """Erase all secrets of a connection."""
    session.execute(delete(secrets).where(secrets.c.owner_id == connection_id))


def store_secret(
    session: Session, keyring: Keyring, owner_id: str, field: str, plain: bytes
) -> None:
    """Encrypt ``plain`` for the row ``owner_id`` and store it, replacing an earlier value."""
    key_id, ciphertext = keyring.encrypt(plain, owner_id=owner_id, field=field)
    row = {"owner_id": owner_id, "field": field, "key_id": key_id, "ciphertext": ciphertext}
    upsert(session, secrets, [row], keys=("owner_id", "field"))


def erase_secrets(session: Session, owner_ids: Iterable[str]) -> None:
    """Erase the secrets of the rows named."""
    for part in chunks(owner_ids):
        session.execute(delete(secrets).where(secrets.c.owner_id.in_(part)))


def load_secret(session: Session, keyring: Keyring, owner_id: str, field: str) -> bytes:
    """Decrypt one stored secret; raises :class:`NotFound` when there is none."""
    row = session.execute(
        select(secrets.c.key_id, secrets.c.ciphertext).where(
            secrets.c.owner_id == owner_id, secrets.c.field == field
        )
    ).first()
    if row is None:
        raise NotFound("There is no stored secret.")
    return keyring.decrypt(row.key_id, bytes(row.ciphertext), owner_id=owner_id, field=field)


def rewrap_secrets(session: Session, keyring: Keyring, *, limit: int = 500) -> int:
    """Re-encrypt up to ``limit`` secrets of older keys with the current one; returns how many.

    One that cannot be decrypted stays as it is and stops no other.
    """
    place = tuple_(secrets.c.owner_id, secrets.c.field)
    query = select(secrets).where(secrets.c.key_id != keyring.current)
    query = query.order_by(secrets.c.owner_id, secrets.c.field).limit(limit)
    rows = session.execute(query).all()
    while rows:
        done = sum(_rewrap(session, keyring, row) for row in rows)
        if done:
            return done
        last = rows[-1]  # none of these can be read: those behind them may be
        rows = session.execute(query.where(place > tuple_(last.owner_id, last.field))).all()
    return 0


def _rewrap(session: Session, keyring: Keyring, row: Any) -> bool:
    try:
        plain = keyring.decrypt(
            row.key_id, bytes(row.ciphertext), owner_id=row.owner_id, field=row.field
        )
    except SecretUnreadable:
        return False
    store_secret(session, keyring, row.owner_id, row.field, plain)
    return True
