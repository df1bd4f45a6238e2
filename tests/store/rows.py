"""The blocking rows as they are stored, one by one; the gateway itself reads them merged."""

from collections.abc import Collection

from gateway.core.intervals import Interval
from gateway.core.status import FBType
from gateway.store.engine import Session
from gateway.store.objects.instances import reasons_in


def busy_rows(
    session: Session, principal_id: str, window: Interval, collection_ids: Collection[str]
) -> list[tuple[int, int, FBType, str]]:
    """Return (start, end, FBTYPE, collection id) of what blocks in the window, by start."""
    found = reasons_in(session, principal_id, window, collection_ids, limit=10_000)
    return [
        (row.start, row.end, row.fbtype, row.collection_id)
        for row in found
        if row.fbtype != FBType.FREE
    ]
