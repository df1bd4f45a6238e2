"""What the API may do with a principal's iCloud account, by principal id."""

from gateway.core.errors import (
    CredentialRejected,
    NotFound,
    RunCrashed,
    SecretUnreadable,
    UpstreamUnreachable,
)
from gateway.core.intervals import Interval
from gateway.store.accounts import accounts
from gateway.store.accounts.accounts import Connection
from gateway.sync import connect
from gateway.sync.context import SyncContext
from gateway.sync.pull.verify import judge_calendars
from gateway.sync.report import CalendarOutcome
from gateway.sync.scheduler import Worker
from gateway.sync.windows import extend_until

PUSH_WITHIN_S = 3.0
"""How long somebody who asked for a sync waits for pushes beyond the reading."""


class AccountService:
    """The use cases of an iCloud account; every method raises GatewayError with stable codes."""

    def __init__(self, context: SyncContext, worker: Worker | None = None) -> None:
        self._context = context
        self._worker = worker or Worker(context)

    async def connect(self, principal_id: str, email: str, app_password: str) -> None:
        """Check both live, then store them and list the calendars (R1, R2)."""
        await connect.connect(self._context, principal_id, email, app_password)

    async def replace_credential(
        self, principal_id: str, app_password: str, *, email: str | None = None
    ) -> None:
        """Check a new password live and put it in the place of the old one (R3)."""
        connection = await self._connection(principal_id)
        await connect.replace_credential(self._context, connection.id, app_password, email=email)

    async def disconnect(self, principal_id: str) -> None:
        """Erase the secret and the mirrored data; appointments and the ledger stay (R3)."""
        connection = await self._connection(principal_id)
        await connect.disconnect(self._context, connection.id)

    async def test(self, principal_id: str) -> None:
        """Ask iCloud once whether the stored credential still works."""
        connection = await self._connection(principal_id)
        await connect.test_connection(self._context, connection.id)

    async def sync_now(self, principal_id: str) -> list[CalendarOutcome]:
        """Read the account now, then send what waits; says of each calendar in use what happened.

        Sending begins after reading and takes some seconds at most; the rest goes up by itself.
        Raises :class:`CredentialRejected` or :class:`UpstreamUnreachable` when iCloud could not
        be read, :class:`SecretUnreadable` and :class:`RunCrashed` when the gateway itself could not
        go on; a single calendar's trouble is in the outcomes only.
        """
        connection = await self._connection(principal_id)
        outcomes = await self._read(connection)
        await self._worker.push_now(connection.id, within_s=PUSH_WITHIN_S)
        return outcomes

    async def verify(self, principal_id: str) -> list[CalendarOutcome]:
        """Read the account now and say of each calendar in use how current it is (R28).

        Raises what :meth:`sync_now` raises.
        """
        return await self._read(await self._connection(principal_id))

    async def _read(self, connection: Connection) -> list[CalendarOutcome]:
        report = await self._worker.sync_now(connection.id)
        if report.problem == SecretUnreadable.default_code:
            raise SecretUnreadable(report.detail or "The stored password cannot be read.")
        if report.problem == RunCrashed.default_code:
            raise RunCrashed(report.detail or "The run did not end.")
        if report.state == "credential-revoked":
            raise CredentialRejected(report.detail or "iCloud refuses the stored password.")
        if report.problem is not None:
            raise UpstreamUnreachable(
                report.detail or "iCloud could not be read.", code=report.problem
            )
        return await self._context.store.read(judge_calendars, report)

    async def pause(self, principal_id: str) -> None:
        """Stop polling until :meth:`resume`."""
        connection = await self._connection(principal_id)
        await connect.pause(self._context, connection.id)

    async def resume(self, principal_id: str) -> None:
        """Poll again, at once."""
        connection = await self._connection(principal_id)
        await connect.resume(self._context, connection.id)

    async def extend_window(self, principal_id: str, window: Interval) -> bool:
        """Expand the objects of a principal over ``window``; tells whether all are."""
        return await extend_until(self._context, principal_id, window)

    async def _connection(self, principal_id: str) -> Connection:
        found = await self._context.store.read(accounts.find_connection, principal_id)
        if found is None or found.state == "disconnected":
            raise NotFound("This principal has no iCloud account connected.")
        return found
