"""What the API needs from the part that talks to iCloud."""

from collections.abc import Sequence
from typing import Protocol

from gateway.core.intervals import Interval
from gateway.sync.report import CalendarOutcome


class SyncService(Protocol):
    """Acts on the iCloud account of a principal; implemented in ``gateway.sync.service``.

    Every method raises :class:`gateway.core.errors.GatewayError` with stable codes:
    ``credential-not-app-specific``, ``credential-rejected``, ``not-icloud``,
    ``upstream-unreachable``, ``upstream-throttled``, ``account-already-connected``,
    ``not-connected``.
    """

    async def connect(self, principal_id: str, email: str, app_password: str) -> object:
        """Check both live, then store them and list the calendars (R1, R2)."""
        ...

    async def replace_credential(
        self, principal_id: str, app_password: str, *, email: str | None = None
    ) -> object:
        """Check a new password live and put it in the place of the old one (R3)."""
        ...

    async def disconnect(self, principal_id: str) -> object:
        """Erase the secret and the mirrored data; appointments and the ledger stay (R3)."""
        ...

    async def test(self, principal_id: str) -> object:
        """Ask iCloud once whether the stored credential works; returns when it does."""
        ...

    async def sync_now(self, principal_id: str) -> Sequence[CalendarOutcome]:
        """Read the account now, then send what waits; says what happened to each calendar."""
        ...

    async def verify(self, principal_id: str) -> Sequence[CalendarOutcome]:
        """Read the account now and say of each calendar in use how current it is (R28)."""
        ...

    async def pause(self, principal_id: str) -> object:
        """Stop polling and pushing until :meth:`resume`."""
        ...

    async def resume(self, principal_id: str) -> object:
        """Poll and push again, at once."""
        ...

    async def extend_window(self, principal_id: str, window: Interval) -> object:
        """Expand the principal's objects over ``window`` (UTC epoch seconds), connected or not."""
        ...
