"""What a home listing changes here: new calendars, renamed ones, vanished ones (R5, R11)."""

from collections.abc import Iterable

from gateway.core.errors import UpstreamUnreachable
from gateway.store import calendars, collections, erasing, objects, outbox
from gateway.store.calendars import UpstreamCalendar
from gateway.store.engine import Session
from gateway.upstream.discovery import Listed

COLOR_PROPERTY = "{http://apple.com/ns/ical/}calendar-color"
"""The dead property of a collection that holds its colour."""

GONE_AFTER_S = 600
"""Two listings this far apart must both miss a calendar before it counts as gone."""

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
    session: Session, connection_id: str, listed: Iterable[Listed], *, now: int
) -> list[UpstreamCalendar]:
    """Bring the stored list of calendars in step with iCloud's and return it.

    The principal is locked. Raises :class:`UpstreamUnreachable` for an empty listing of an
    account that had calendars: an empty answer proves nothing.
    """
    here = {
        calendar.path: calendar for calendar in calendars.list_calendars(session, connection_id)
    }
    there = {item.path: item for item in listed}
    if here and not there:
        raise UpstreamUnreachable("iCloud listed no calendars at all; nothing was changed.")
    changed = False
    for path, item in there.items():
        known = here.get(path)
        if known is None:
            changed = True
            _add(session, connection_id, item)
        else:
            changed |= _follow(session, known, item, now=now)
    for path, known in here.items():
        if path not in there and known.state != "gone":
            changed = True
            _miss(session, known, now=now)
    return calendars.list_calendars(session, connection_id) if changed else list(here.values())


def _add(session: Session, connection_id: str, item: Listed) -> None:
    values = {name: getattr(item, name) for name in _FOLLOWED}
    calendars.create_calendar(
        session,
        connection_id=connection_id,
        path=item.path,
        values={**values, "listed_ctag": item.ctag, "listed_token": item.sync_token},
    )


def _follow(session: Session, known: UpstreamCalendar, item: Listed, *, now: int) -> bool:
    """Note what changed of a listed calendar; returns whether anything did."""
    changes = {
        name: getattr(item, name)
        for name in _FOLLOWED
        if getattr(item, name) != getattr(known, name)
    }
    if (item.ctag, item.sync_token) != (known.listed_ctag, known.listed_token):
        changes.update(listed_ctag=item.ctag, listed_token=item.sync_token)
    if known.missing_since is not None or known.state == "gone":
        changes["missing_since"] = None
    if known.state == "gone":
        changes.update(state="never", sync_token=None, ctag=None, problem=None, problem_detail=None)
    if changes:
        calendars.update_calendar(session, known.id, **changes)
    if changes.keys() & {"name", "color"}:
        _rename_mirror(session, known, item, now=now)
    return bool(changes)


def _rename_mirror(session: Session, known: UpstreamCalendar, item: Listed, *, now: int) -> None:
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


def _miss(session: Session, known: UpstreamCalendar, *, now: int) -> None:
    if known.missing_since is None:
        calendars.update_calendar(session, known.id, missing_since=now)
    elif now - known.missing_since >= GONE_AFTER_S:
        _let_go(session, known, now=now)


def _let_go(session: Session, known: UpstreamCalendar, *, now: int) -> None:
    """Free the time of a vanished calendar; appointments stay, their pushes park (R11)."""
    calendars.update_calendar(
        session,
        known.id,
        state="gone",
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
