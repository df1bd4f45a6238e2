"""Connecting, re-connecting and leaving an iCloud account (R1-R4).

Everything that asks iCloud happens before the unit that writes: a refused credential leaves no
trace in the database.
"""

from gateway.core.credentials import tidy_address, tidy_password
from gateway.core.errors import Conflict, InvalidInput
from gateway.core.subscriptions import refuse_subscription_address
from gateway.settings import Settings
from gateway.store.accounts import accounts, calendars, leases
from gateway.store.accounts.accounts import Connection, Credential, Keyring
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.objects import bump_generation
from gateway.store.operations import erasing
from gateway.store.outbox import outbox
from gateway.sync.context import SyncContext
from gateway.sync.lease import leased
from gateway.sync.pull.listing import apply_listing
from gateway.upstream.budget import RequestBudget
from gateway.upstream.client import UpstreamClient
from gateway.upstream.discovery import Discovered, discover
from gateway.upstream.fences import fenced_wire
from gateway.upstream.wire import Wire

_NOT_APP_SPECIFIC = (
    "This is not an app-specific password (sixteen letters like abcd-efgh-ijkl-mnop). Make one: "
    "sign in at account.apple.com, open Sign-In and Security, then App-Specific Passwords, add "
    "one for this gateway, and paste it here. Your Apple Account password itself never works."
)


def app_specific(email: str, app_password: str) -> Credential:
    """Check the form of a credential and write it anew, before any network call (R1, R8).

    Raises :class:`InvalidInput` with ``credential-not-app-specific`` or ``calendar-subscribed``.
    """
    refuse_subscription_address(email)
    address = tidy_address(email)
    if address is None:
        raise InvalidInput("Enter the e-mail address of the Apple Account.", pointer="/email")
    password = tidy_password(app_password)
    if password is None:
        raise InvalidInput(
            _NOT_APP_SPECIFIC, code="credential-not-app-specific", pointer="/app_password"
        )
    return Credential(address, password)


async def check_credential(settings: Settings, credential: Credential) -> Discovered:
    """Check a credential's form, then live (R1); nothing is stored.

    Raises the errors of :func:`app_specific` and :func:`ask_account`.
    """
    return await ask_account(settings, app_specific(credential.email, credential.app_password))


async def ask_account(
    settings: Settings,
    credential: Credential,
    *,
    wire: Wire | None = None,
    budget: RequestBudget | None = None,
) -> Discovered:
    """Discover an account with any Basic password.

    Raises :class:`CredentialRejected`, ``UpstreamUnreachable``, ``UpstreamThrottled``,
    ``NotICloud``.
    """
    used = wire or fenced_wire(settings)
    try:
        client = UpstreamClient(
            settings,
            used,
            email=credential.email,
            app_password=credential.app_password,
            budget=budget,
        )
        return await discover(client, email=credential.email)
    finally:
        if wire is None:
            await used.close()


async def connect(
    context: SyncContext, principal_id: str, email: str, app_password: str
) -> Connection:
    """Check an account live, then store it with its list of calendars (R1, R2).

    Raises what :func:`check_credential` raises, and :class:`Conflict` only after the live check
    passed: whoever cannot sign in learns nothing about who is connected.
    """
    credential = app_specific(email, app_password)
    budget = RequestBudget(context.settings, context.clock)
    discovered = await ask_account(context.settings, credential, wire=context.wire, budget=budget)
    return await record_connection(
        context, principal_id, credential, discovered, spent=budget.dump()
    )


async def record_connection(
    context: SyncContext,
    principal_id: str,
    credential: Credential,
    discovered: Discovered,
    *,
    spent: str = "",
) -> Connection:
    """Store a checked account; a disconnected connection of the principal is revived (R3).

    ``spent`` is what the check asked, as the budget writes it: whoever syncs first counts it.
    """
    return await context.store.write(
        _record_connection,
        context.keyring,
        principal_id,
        credential,
        discovered,
        trust_for_s=context.settings.trust_for_s,
        spent=spent,
        now=context.now(),
    )


def _record_connection(
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


async def replace_credential(
    context: SyncContext, connection_id: str, app_password: str, *, email: str | None = None
) -> Connection:
    """Check a new password live and put it in place of the old one; all else stays (R3).

    Raises what :func:`check_credential` raises, :class:`NotFound` after a disconnect,
    :class:`Conflict` ``different-account`` when it opens another account, and
    :class:`SecretUnreadable` when no ``email`` was given and the stored one cannot be decrypted.
    """
    old = await context.store.read(_stored_email, context.keyring, connection_id, email)
    credential = app_specific(old, app_password)
    discovered = await _ask_in_turn(context, connection_id, credential)
    return await context.store.write(
        _replace, context.keyring, connection_id, credential, discovered
    )


def _stored_email(session: Session, keyring: Keyring, connection_id: str, given: str | None) -> str:
    """Return the account's e-mail: as given now, else as stored."""
    if given is None:
        return accounts.load_credential(session, keyring, connection_id).email
    accounts.check_has_credential(session, connection_id)
    return given


async def _ask_in_turn(
    context: SyncContext, connection_id: str, credential: Credential
) -> Discovered:
    """Ask a connected account within its budget: under its lease, whoever has that (sync.md).

    A run of this process that has the lease shares its budget, and is not waited for.
    """
    budget = context.budget(connection_id)
    if context.lock(connection_id).locked():
        return await ask_account(context.settings, credential, wire=context.wire, budget=budget)
    async with leased(context, connection_id):
        return await ask_account(context.settings, credential, wire=context.wire, budget=budget)


def _replace(
    session: Session,
    keyring: Keyring,
    connection_id: str,
    credential: Credential,
    discovered: Discovered,
) -> Connection:
    connection = accounts.get_connection(session, connection_id)
    lock_principal(session, connection.principal_id)
    if not accounts.is_account(
        session, keyring, connection_id, account_number=discovered.account_number
    ):
        raise Conflict(
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


_REVIVED = {
    "state": "ok",
    "problem": None,
    "problem_detail": None,
    "failures": 0,
    "probes_left": 0,
    "next_sync_at": 0.0,
}


async def test_connection(context: SyncContext, connection_id: str) -> Discovered:
    """Ask iCloud once whether the stored credential works; a revoked state is lifted if so.

    Raises :class:`NotFound` after a disconnect and what :func:`ask_account` raises.
    """
    credential = await context.store.read(accounts.load_credential, context.keyring, connection_id)
    discovered = await _ask_in_turn(context, connection_id, credential)
    connection = await context.store.read(accounts.get_connection, connection_id)
    if connection.state in ("credential-revoked", "secret-unreadable"):
        await context.store.write(accounts.update_connection, connection_id, **_REVIVED)
    return discovered


async def pause(context: SyncContext, connection_id: str) -> None:
    """Stop polling and pushing until :func:`resume`."""
    await context.store.write(
        accounts.update_connection, connection_id, state="paused", problem=None, problem_detail=None
    )


async def resume(context: SyncContext, connection_id: str) -> None:
    """Poll again, at once; raises :class:`NotFound` when there is no credential any more."""
    await context.store.read(accounts.load_credential, context.keyring, connection_id)
    await context.store.write(accounts.update_connection, connection_id, **_REVIVED)


async def disconnect(context: SyncContext, connection_id: str) -> None:
    """Erase the secret and everything mirrored; own objects and the ledger stay (R3).

    Pending pushes park as ``disconnected``.
    """
    await context.store.write(_disconnect, connection_id)
    await context.store.write(erasing.erase_some)


def _disconnect(session: Session, connection_id: str) -> None:
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
