"""What the API may do with a principal's iCloud account, by principal id."""

from gateway.core.errors import (
    CredentialRejected,
    NotFound,
    RunCrashed,
    SecretUnreadable,
    UpstreamUnreachable,
)
from gateway.store import accounts
from gateway.store.accounts import Connection
from gateway.sync import connect
from gateway.sync.context import SyncContext
from gateway.sync.extend import extend_until
from gateway.sync.report import SyncReport
from gateway.sync.scheduler import Worker


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

    async def sync_now(self, principal_id: str) -> SyncReport:
        """Sync the account now; returns when the run has ended.

        Raises :class:`CredentialRejected` or :class:`UpstreamUnreachable` when iCloud could not
        be read, :class:`SecretUnreadable` and :class:`RunCrashed` when the gateway itself could not
        go on; a single calendar's trouble is in the report only.
        """
        connection = await self._connection(principal_id)
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
        return report

    async def pause(self, principal_id: str) -> None:
        """Stop polling until :meth:`resume`."""
        connection = await self._connection(principal_id)
        await connect.pause(self._context, connection.id)

    async def resume(self, principal_id: str) -> None:
        """Poll again, at once."""
        connection = await self._connection(principal_id)
        await connect.resume(self._context, connection.id)

    async def extend_window(self, principal_id: str, until: int) -> bool:
        """Expand the objects of a principal up to ``until``; tells whether all are."""
        return await extend_until(self._context, principal_id, until)

    async def _connection(self, principal_id: str) -> Connection:
        found = await self._context.store.read(accounts.find_connection, principal_id)
        if found is None or found.state == "disconnected":
            raise NotFound("This principal has no iCloud account connected.")
        return found
