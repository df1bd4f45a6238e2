"""What a home listing changes here: new calendars, renamed ones, vanished ones (R5, R11)."""

from collections.abc import Iterable
from typing import Any

from gateway.core.errors import UpstreamUnreachable
from gateway.observe import logger
from gateway.store.accounts import calendars, members
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.engine import Session
from gateway.store.objects import collections, objects
from gateway.store.operations import erasing
from gateway.store.outbox import outbox
from gateway.upstream.discovery import ListedCalendar

COLOR_PROPERTY = "{http://apple.com/ns/ical/}calendar-color"
"""The dead property of a collection that holds its colour, under its Clark name."""

_log = logger("sync")

GONE_AFTER_S = 600
"""Two listings this far apart must both miss a calendar before it counts as gone."""

LET_GO_AT_ONCE = 100
"""Vanished calendars one unit of work lets go: nobody else writes meanwhile on SQLite."""

_FOLLOWED = (
    "name",
    "color",
    "display_order",
    "kind",
    "writable",
    "refusal",
    "transparent",
)


def apply_listing(
    session: Session, connection_id: str, listed: Iterable[ListedCalendar], *, now: int
) -> list[UpstreamCalendar]:
    """Bring the stored list of calendars in step with iCloud's and return it.

    The principal is locked. Raises :class:`UpstreamUnreachable` for an empty listing of an
    account that had calendars: an empty answer proves nothing.
    """
    here = {
        calendar.path: calendar for calendar in calendars.list_calendars(session, connection_id)
    }
    there = {item.path: item for item in listed if _is_storable(item)}
    if here and not there:
        raise UpstreamUnreachable("iCloud listed no calendars at all; nothing was changed.")
    new = [item for path, item in there.items() if path not in here]
    calendars.create_calendars(session, connection_id, [_values(item) for item in new])
    missing = [known for path, known in here.items() if path not in there and known.state != "gone"]
    changed = bool(new or missing)
    changed |= _follow(session, [(here[p], item) for p, item in there.items() if p in here], now)
    _miss(session, missing, now=now)
    return calendars.list_calendars(session, connection_id) if changed else list(here.values())


def _is_storable(item: ListedCalendar) -> bool:
    """Whether a path fits into the index that tells calendars apart; a UUID has 36 characters."""
    fits = len(item.path.encode("utf-8", "replace")) <= objects.MAX_NAME and "\0" not in item.path
    if not fits:
        _log.warning("a calendar's path cannot be stored; it is left out", length=len(item.path))
    return fits


def _values(item: ListedCalendar) -> dict[str, Any]:
    values = {name: getattr(item, name) for name in _FOLLOWED}
    return {
        **values,
        "path": item.path,
        "listed_ctag": item.ctag,
        "listed_token": item.sync_token,
    }


def _follow(
    session: Session, both: list[tuple[UpstreamCalendar, ListedCalendar]], now: int
) -> bool:
    """Note what changed of listed calendars; returns whether anything did."""
    changes = {known.id: _changes(known, item) for known, item in both}
    calendars.update_calendars(session, {key: found for key, found in changes.items() if found})
    for known, item in both:
        if changes[known.id].keys() & {"name", "color"}:
            _rename_mirror(session, known, item, now=now)
    return any(changes.values())


def _changes(known: UpstreamCalendar, item: ListedCalendar) -> dict[str, Any]:
    changes: dict[str, Any] = {
        name: getattr(item, name)
        for name in _FOLLOWED
        if getattr(item, name) != getattr(known, name)
    }
    if (item.ctag, item.sync_token) != (known.listed_ctag, known.listed_token):
        changes.update(listed_ctag=item.ctag, listed_token=item.sync_token)
    if known.missing_since is not None or known.state == "gone":
        changes["missing_since"] = None
    if known.state == "gone":
        changes.update(
            state="never",
            sync_token=None,
            ctag=None,
            synced_at=None,  # its mirror was emptied
            problem=None,
            problem_detail=None,
        )
    return changes


def _rename_mirror(
    session: Session, known: UpstreamCalendar, item: ListedCalendar, *, now: int
) -> None:
    """Mirrors carry iCloud's names and colours (R18)."""
    mirror = collections.find_mirror(session, known.id)
    if mirror is None:
        return
    properties = dict(mirror.properties)
    properties.pop(COLOR_PROPERTY, None)
    if item.color:
        properties[COLOR_PROPERTY] = item.color
    collections.update_collection(
        session,
        mirror.id,
        display_name=item.name,
        properties=properties,
        transparent=mirror.transparent,
        now=now,
    )


def _miss(session: Session, missing: list[UpstreamCalendar], *, now: int) -> None:
    calendars.update_calendars(
        session,
        {known.id: {"missing_since": now} for known in missing if known.missing_since is None},
    )
    gone = [
        known
        for known in missing
        if known.missing_since is not None and now - known.missing_since >= GONE_AFTER_S
    ]
    # Those that block somebody's time first; the next listing goes on with the rest.
    for known in sorted(gone, key=lambda known: known.role == "none")[:LET_GO_AT_ONCE]:
        _let_go(session, known, now=now)


def _let_go(session: Session, known: UpstreamCalendar, *, now: int) -> None:
    """Free the time of a vanished calendar; appointments stay, their pushes park (R11)."""
    calendars.update_calendar(
        session,
        known.id,
        state="gone",
        synced_at=known.synced_at,  # later polls find the others current, not this one
        problem="calendar-gone",
        problem_detail="This calendar is not in iCloud any more; its time was freed.",
        sync_token=None,
        ctag=None,
    )
    outbox.park_calendar(
        session,
        known.id,
        reason="linked-calendar-gone",
        detail="The calendar this appointment was pushed to is not in iCloud any more.",
        now=now,
    )
    members.forget_members(session, known.id)
    mirror = collections.find_mirror(session, known.id)
    if mirror is not None:
        # An empty one takes its place: devices with an old token read it afresh.
        erasing.retire_collections(session, [mirror.id])
        collections.create_collection(
            session,
            principal_id=mirror.principal_id,
            name=mirror.name,
            kind="mirror",
            display_name=mirror.display_name,
            upstream_calendar_id=known.id,
            properties=mirror.properties,
            now=now,
        )
        objects.bump_generation(session, mirror.principal_id)
