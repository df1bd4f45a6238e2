"""How far ahead and back people's objects are wanted: questions beyond the rolling window.

Whoever asks (the API, a CalDAV process) writes down the window; a worker expands the objects that
far, and what is written later is expanded as far too, so that it stays known for others. A wish is
forgotten some weeks after it was last asked for.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, or_, select

from gateway.core.intervals import DAY, Interval
from gateway.core.recurrence.expand import default_window
from gateway.store.booking_tables import horizons
from gateway.store.engine import Session, upsert
from gateway.store.objects.collections import GOING
from gateway.store.tables import generations, objects

KEPT_S = 30 * DAY
MARGIN_S = 31 * DAY
FARTHEST_S = 5 * 366 * DAY
"""Nothing is expanded farther than this from now; what lies beyond stays unknown."""


def is_beyond(window: Interval, now: int) -> bool:
    """Tell whether a part of a window lies outside of what is expanded of everybody."""
    low, high = _sure(now)
    return window[0] < low or window[1] > high


def _sure(now: int) -> Interval:
    """Windows move through the day: that of yesterday is what everybody's reaches to."""
    return default_window(now)[0], default_window(now - DAY)[1]


def with_margin(window: Interval, now: int) -> Interval:
    """Take a month more on the sides beyond the rolling window: the next page need not wait.

    Nothing is taken from farther away than is ever expanded.
    """
    (start, end), (low, high) = window, _sure(now)
    if start < low:
        start = max(start - start % DAY - MARGIN_S, now - FARTHEST_S)
    if end > high:
        end = min(end + -end % DAY + MARGIN_S, now + FARTHEST_S)
    return start, end


def ask_horizon(
    session: Session, principal_ids: Sequence[str], wanted: Interval, *, now: int
) -> None:
    """Write down that objects of these people are wanted over a window, as far as is allowed."""
    start, end = max(wanted[0], now - FARTHEST_S), min(wanted[1], now + FARTHEST_S)
    known = {
        row.principal_id: row
        for row in session.execute(
            select(horizons).where(horizons.c.principal_id.in_(principal_ids)).with_for_update()
        )
    }
    rows = [
        {
            "principal_id": one,
            "wanted_from": min(start, known[one].wanted_from) if one in known else start,
            "wanted_until": max(end, known[one].wanted_until) if one in known else end,
            "asked_at": now,
        }
        for one in sorted(principal_ids)
    ]
    upsert(session, horizons, rows, keys=["principal_id"])


def window_of(session: Session, principal_id: str, *, now: int) -> Interval:
    """Return the window over which a person's objects are expanded: the rolling one, or more."""
    low, high = default_window(now)
    query = select(horizons.c.wanted_from, horizons.c.wanted_until).where(
        horizons.c.principal_id == principal_id, horizons.c.asked_at > now - KEPT_S
    )
    asked = session.execute(query).first()
    return (low, high) if asked is None else (min(low, asked[0]), max(high, asked[1]))


def asked_but_unknown(session: Session, *, now: int, limit: int) -> list[str]:
    """List people who are not expanded as far as somebody asked, the last asked first."""
    row, known = horizons.c, generations.c
    query = (
        select(row.principal_id)
        .join(generations, known.principal_id == row.principal_id)
        .where(
            row.asked_at > now - KEPT_S,
            or_(known.covered_from > row.wanted_from, known.covered_until < row.wanted_until),
        )
        .order_by(row.asked_at.desc())
        .limit(limit)
    )
    return list(session.execute(query).scalars())


def last_end_known(session: Session, principal_id: str, *, without: str) -> int:
    """Return when the last thing ends that has an end of its own: what is booked far ahead.

    Series of others go on for ever and are compared as far as they are expanded; ``without`` is
    the name of an object that does not count.
    """
    row = objects.c
    query = select(func.max(row.last_end)).where(
        row.principal_id == principal_id,
        row.name != without,
        row.collection_id.not_in(GOING),
        row.last_end.is_not(None),
        or_(row.recurring.is_(False), row.kind == "appointment"),
    )
    return session.execute(query).scalar() or 0


def forget_horizons(session: Session, *, now: int) -> int:
    """Sweep out what nobody has asked for lately; returns how many there were."""
    return session.execute(delete(horizons).where(horizons.c.asked_at <= now - KEPT_S)).rowcount
