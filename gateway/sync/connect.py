"""Connecting, re-connecting and leaving an iCloud account (R1-R4).

Everything that asks iCloud happens before the unit that writes: a refused credential leaves no
trace in the database.
"""

from gateway.core.credentials import tidy_address, tidy_password
from gateway.core.errors import InvalidInput
from gateway.core.subscriptions import refuse_subscription_address
from gateway.services.accounts import connecting
from gateway.settings import Settings
from gateway.store.accounts import accounts
from gateway.store.accounts.accounts import Connection, Credential
from gateway.store.operations import erasing
from gateway.sync.context import SyncContext
from gateway.sync.lease import leased
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

    Raises what :func:`check_credential` raises, and :class:`StateConflict` only after the live
    check passed: whoever cannot sign in learns nothing about who is connected.
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
        connecting.record_connection,
        context.keyring,
        principal_id,
        credential,
        discovered,
        trust_for_s=context.settings.trust_for_s,
        spent=spent,
        now=context.now(),
    )


async def replace_credential(
    context: SyncContext, connection_id: str, app_password: str, *, email: str | None = None
) -> Connection:
    """Check a new password live and put it in place of the old one; all else stays (R3).

    Raises what :func:`check_credential` raises, :class:`NotFound` after a disconnect,
    :class:`StateConflict` ``different-account`` when it opens another account, and
    :class:`SecretUnreadable` when no ``email`` was given and the stored one cannot be decrypted.
    """
    old = await context.store.read(connecting.stored_email, context.keyring, connection_id, email)
    credential = app_specific(old, app_password)
    discovered = await _ask_in_turn(context, connection_id, credential)
    return await context.store.write(
        connecting.replace_credential, context.keyring, connection_id, credential, discovered
    )


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


async def test_connection(context: SyncContext, connection_id: str) -> Discovered:
    """Ask iCloud once whether the stored credential works; a revoked state is lifted if so.

    Raises :class:`NotFound` after a disconnect and what :func:`ask_account` raises.
    """
    credential = await context.store.read(accounts.load_credential, context.keyring, connection_id)
    discovered = await _ask_in_turn(context, connection_id, credential)
    await context.store.write(connecting.note_accepted, connection_id)
    return discovered


async def pause(context: SyncContext, connection_id: str) -> None:
    """Stop polling and pushing until :func:`resume`."""
    await context.store.write(connecting.pause, connection_id)


async def resume(context: SyncContext, connection_id: str) -> None:
    """Poll again, at once; raises :class:`NotFound` when there is no credential any more."""
    await context.store.write(connecting.resume, context.keyring, connection_id)


async def disconnect(context: SyncContext, connection_id: str) -> None:
    """Erase the secret and everything mirrored; own objects and the ledger stay (R3).

    Pending pushes park as ``disconnected``.
    """
    await context.store.write(connecting.disconnect, connection_id)
    await context.store.write(erasing.erase_some)
