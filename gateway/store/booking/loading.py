"""What a write has to know, in one statement: whose it is, where it goes, what is there by now.

Read once before the lock, to prepare with, and once under it, to decide with: nothing else is
looked up twice.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, bindparam, select

from gateway.core.errors import NotFound
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import default_window
from gateway.store.booking.bookings import PushTarget, read_addresses
from gateway.store.booking_tables import horizons
from gateway.store.engine import Session
from gateway.store.objects import objects as stored_objects
from gateway.store.objects.collections import COLUMNS, ERASED, Collection, read_collection
from gateway.store.objects.horizons import KEPT_S
from gateway.store.objects.objects import Extent, StoredObject
from gateway.store.tables import (
    collections,
    connections,
    generations,
    objects,
    principals,
    upstream_calendars,
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose objects they are: all that an expansion depends on beside the body.

    ``addresses`` are those by which iCloud knows the person; ``window`` is the span over which
    the person's objects are expanded, UTC epoch seconds.
    """

    principal_id: str
    subaccount_id: str
    time_zone: str
    addresses: frozenset[str]
    window: Interval

    @property
    def zone(self) -> ZoneInfo:
        """The person's time zone."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A person, a calendar (None: there is none of that name) and the member of a name in it.

    ``push_target`` is where appointments go, None without a connection.
    """

    owner: Owner
    extent: Extent
    push_target: PushTarget | None
    collection: Collection | None
    member: StoredObject | None

    @property
    def coverage(self) -> Interval | None:
        """The span over which all of the person's objects are expanded, None without any."""
        return self.extent[1]


def load_member(
    session: Session,
    principal_id: str,
    calendar: str,
    name: str,
    *,
    now: int,
    with_body: bool = False,
) -> Loaded:
    """Return what is at a calendar's name and a member's; raises :class:`NotFound` for nobody.

    The member comes without its body unless that is asked for.
    """
    values = {"b_calendar": calendar, "b_name": name}
    return _read(session, principal_id, _BY_NAME, with_body, values, now)


def load_member_by_id(session: Session, principal_id: str, object_id: str, *, now: int) -> Loaded:
    """Like :func:`load_member`, for a member named by its id, with its body."""
    return _read(session, principal_id, _BY_ID, True, {"b_object": object_id}, now)


_BY_NAME, _BY_ID = "name", "id"
_KNOWN = 14
"""How many columns come before those of the collection."""


def _read(
    session: Session,
    principal_id: str,
    by: str,
    with_body: bool,
    values: dict[str, str],
    now: int,
) -> Loaded:
    given = {"b_principal": principal_id, "b_since": now - KEPT_S, **values}
    row = session.execute(_statement(by, with_body), given).first()
    if row is None:
        raise NotFound("There is no such principal.")
    low, high = default_window(now)
    until = _KNOWN + len(COLUMNS)
    member = row[until:]
    return Loaded(
        owner=Owner(
            principal_id=principal_id,
            subaccount_id=row.subaccount_id,
            time_zone=row.time_zone,
            addresses=read_addresses(row.addresses, principal_id),
            window=(low, high)
            if row.wanted_from is None
            else (min(low, row.wanted_from), max(high, row.wanted_until)),
        ),
        extent=(
            row.generation or 0,
            None if row.covered_from is None else (row.covered_from, row.covered_until),
        ),
        push_target=None if row[8] is None else PushTarget(*row[8:13]),
        collection=None if row[_KNOWN] is None else read_collection(row[_KNOWN:until]),
        member=None if member[0] is None else StoredObject(*member),
    )


@cache
def _statement(by: str, with_body: bool) -> Select[Any]:
    """Return the statement, built once: building it costs more than running it."""
    upstream = upstream_calendars.c
    columns = (
        principals.c.subaccount_id,
        principals.c.time_zone,
        horizons.c.wanted_from,
        horizons.c.wanted_until,
        generations.c.generation,
        generations.c.covered_from,
        generations.c.covered_until,
        connections.c.addresses,
        connections.c.id,
        connections.c.state,
        connections.c.account_index,
        upstream.id,
        upstream.path,
        principals.c.id,
    )
    assert len(columns) == _KNOWN
    member = stored_objects.WHOLE if with_body else stored_objects.LISTED
    people = (
        principals.outerjoin(generations, generations.c.principal_id == principals.c.id)
        .outerjoin(
            horizons,
            and_(
                horizons.c.principal_id == principals.c.id,
                horizons.c.asked_at > bindparam("b_since"),
            ),
        )
        .outerjoin(connections, connections.c.principal_id == principals.c.id)
        .outerjoin(
            upstream_calendars,
            and_(upstream.connection_id == connections.c.id, upstream.role == "linked"),
        )
    )
    of_person = and_(collections.c.principal_id == principals.c.id, collections.c.kind != ERASED)
    if by == _BY_NAME:
        found = people.outerjoin(
            collections, and_(of_person, collections.c.name == bindparam("b_calendar"))
        ).outerjoin(
            objects,
            and_(
                objects.c.collection_id == collections.c.id, objects.c.name == bindparam("b_name")
            ),
        )
    else:
        found = people.outerjoin(
            objects,
            and_(objects.c.id == bindparam("b_object"), objects.c.principal_id == principals.c.id),
        ).outerjoin(collections, and_(of_person, collections.c.id == objects.c.collection_id))
    return (
        select(*columns, *COLUMNS, *member)
        .select_from(found)
        .where(principals.c.id == bindparam("b_principal"), principals.c.erased_at.is_(None))
        .limit(1)
    )
