"""What has had its time: remembered answers, expired holds, wishes to look far ahead."""

from gateway.store.access.idempotency import forget_expired
from gateway.store.booking.bookings import delete_expired_holds
from gateway.store.engine import Session
from gateway.store.objects.horizons import forget_horizons


def sweep(session: Session, *, now: int) -> tuple[int, int, int]:
    """Erase a piece of what has expired; returns how many answers, holds and horizons it were."""
    return (
        forget_expired(session, now=now),
        delete_expired_holds(session, now=now),
        forget_horizons(session, now=now),
    )
