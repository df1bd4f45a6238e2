"""Connecting, re-connecting and leaving an account: what is written once iCloud has been asked.

Each function is one unit and locks the person. Nothing here talks to iCloud (R1-R4).
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.errors import StateConflict
from gateway.services.accounts.listing import apply_listing
from gateway.store.accounts import accounts, calendars, leases
from gateway.store.accounts.accounts import Connection, Credential, Keyring
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.objects import bump_generation
from gateway.store.operations import erasing
from gateway.store.outbox import outbox
from gateway.upstream.discovery import Discovered

_REVIVED: Mapping[str, object] = MappingProxyType(
    {
        "state": "ok",
        "problem": None,
        "problem_detail": None,
        "failures": 0,
        "probes_left": 0,
        "next_sync_at": 0.0,
    }
)


def record_connection(
    session: Session,
    keyring: Keyring,
    principal_id: str,
    credential: Credential,
    discovered: Discovered,
    *,
    trust_for_s: int,
    spent: str,
    now: int,
) -> Connection:
    """Store a checked account with its calendars; a disconnected one is revived (R2, R3).

    ``spent`` is what the check asked, as the budget writes it: whoever syncs first counts it.
    Raises :class:`StateConflict` when the person, or the account, is connected already.
    """
    lock_principal(session, principal_id)
    connection = accounts.create_connection(
        session,
        keyring,
        principal_id=principal_id,
        credential=credential,
        account_number=discovered.account_number,
        principal_path=discovered.principal_path,
        home_path=discovered.home_path,
        addresses=discovered.addresses,
        trust_for_s=trust_for_s,
        now=now,
    )
    leases.note_requests(session, connection.id, spent)
    apply_listing(session, connection.id, discovered.calendars, now=now)
    outbox.readopt_ledger(session, connection.id, now=now)
    return connection


def stored_email(session: Session, keyring: Keyring, connection_id: str, given: str | None) -> str:
    """Return the account's e-mail: as given now, else as stored.

    Raises :class:`NotFound` after a disconnect, and :class:`SecretUnreadable` when none is given
    and the stored one cannot be decrypted.
    """
    if given is None:
        return accounts.load_credential(session, keyring, connection_id).email
    accounts.check_has_credential(session, connection_id)
    return given


def replace_credential(
    session: Session,
    keyring: Keyring,
    connection_id: str,
    credential: Credential,
    discovered: Discovered,
) -> Connection:
    """Put a checked credential in the place of the old one; all else stays (R3).

    Raises :class:`StateConflict` ``different-account`` when it opens another account.
    """
    connection = accounts.get_connection(session, connection_id)
    lock_principal(session, connection.principal_id)
    if not accounts.is_account(
        session, keyring, connection_id, account_number=discovered.account_number
    ):
        raise StateConflict(
            "This password opens another Apple Account than the one connected here. Give a "
            "password of the same account, or disconnect first to connect the other one.",
            code="different-account",
        )
    accounts.store_credential(session, keyring, connection_id, credential)
    accounts.update_connection(
        session,
        connection_id,
        email_index=accounts.email_index(keyring, credential.email),
        principal_path=discovered.principal_path,
        home_path=discovered.home_path,
        addresses=discovered.addresses,
        **_REVIVED,
    )
    return accounts.get_connection(session, connection_id)


def note_accepted(session: Session, connection_id: str) -> None:
    """Take in that iCloud accepts the stored credential: a revoked state is lifted."""
    connection = accounts.get_connection(session, connection_id)
    if connection.state in ("credential-revoked", "secret-unreadable"):
        accounts.update_connection(session, connection_id, **_REVIVED)


def pause(session: Session, connection_id: str) -> None:
    """Stop polling and pushing until :func:`resume`."""
    accounts.update_connection(
        session, connection_id, state="paused", problem=None, problem_detail=None
    )


def resume(session: Session, keyring: Keyring, connection_id: str) -> None:
    """Poll again, at once; raises :class:`NotFound` when there is no credential any more."""
    accounts.load_credential(session, keyring, connection_id)
    accounts.update_connection(session, connection_id, **_REVIVED)


def move_home(
    session: Session,
    connection_id: str,
    *,
    principal_path: str,
    home_path: str,
    addresses: set[str],
) -> None:
    """Take in that iCloud keeps the account's calendars elsewhere now."""
    accounts.update_connection(
        session,
        connection_id,
        principal_path=principal_path,
        home_path=home_path,
        addresses=addresses,
    )


def disconnect(session: Session, connection_id: str) -> None:
    """Erase the secret and hide everything mirrored; own objects and the ledger stay (R3).

    Pending pushes park as ``disconnected``. The rows are erased afterwards.
    """
    connection = accounts.get_connection(session, connection_id)
    lock_principal(session, connection.principal_id)
    accounts.erase_credential(session, connection_id)
    erasing.retire_mirrors(session, connection_id)
    calendars.delete_calendars(session, connection_id)
    outbox.park_all(
        session,
        connection_id,
        reason="disconnected",
        detail="The iCloud account was disconnected; connect it again to go on.",
    )
    bump_generation(session, connection.principal_id)
    accounts.update_connection(
        session,
        connection_id,
        state="disconnected",
        problem=None,
        problem_detail=None,
        probes_left=0,
        lease_owner=None,
        lease_until=0,
    )
