"""Local calendars (R18): made, changed and deleted by devices, Blocked Slots only.

Each function runs in the write unit of one request and locks the principal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.core.errors import CalendarStays, OverQuota, StateConflict
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import (
    Collection,
    create_collection,
    find_collection,
    get_collection,
    list_collections,
    update_collection,
)
from gateway.store.objects.objects import bump_generation
from gateway.store.operations.erasing import retire_collections

MAX_LOCAL_CALENDARS = 100
MAX_PROPERTIES_SIZE = 256 * 1024
MAX_PROPERTIES = 200
"""All kept properties of one calendar: every look at a home reads them."""


@dataclass(frozen=True, slots=True)
class CalendarChange:
    """What a calendar is to have; None leaves it as it is, a property that is None goes away.

    ``properties`` are texts by Clark name.
    """

    display_name: str | None = None
    transparent: bool | None = None
    properties: Mapping[str, str | None] = field(default_factory=dict)


def make_calendar(
    session: Session,
    principal_id: str,
    name: str,
    wanted: CalendarChange,
    *,
    components: tuple[str, ...],
    now: int,
) -> None:
    """Make a calendar that holds these components.

    Raises :class:`StateConflict` ``calendar-exists`` and :class:`OverQuota`.
    """
    lock_principal(session, principal_id)
    if find_collection(session, principal_id, name) is not None:
        raise StateConflict("There is something at this address.", code="calendar-exists")
    if len(list_collections(session, principal_id)) >= MAX_LOCAL_CALENDARS:
        raise OverQuota("There are too many calendars.")
    create_collection(
        session,
        principal_id=principal_id,
        name=name,
        kind="local",
        display_name=wanted.display_name or name,
        properties=_kept(wanted.properties, before={}),
        components=components,
        transparent=bool(wanted.transparent),
        now=now,
    )
    bump_generation(session, principal_id)


def change_calendar(
    session: Session, principal_id: str, collection_id: str, wanted: CalendarChange, *, now: int
) -> None:
    """Write what a client may change of any calendar; raises :class:`OverQuota`."""
    lock_principal(session, principal_id)
    known = get_collection(session, collection_id)
    transparent = known.transparent if wanted.transparent is None else wanted.transparent
    name = known.display_name if wanted.display_name is None else wanted.display_name
    update_collection(
        session,
        known.id,
        display_name=name or known.name,
        properties=_kept({**known.properties, **wanted.properties}, before=known.properties),
        transparent=transparent,
        now=now,
    )
    if transparent != known.transparent:
        bump_generation(session, principal_id)


def delete_calendar(
    session: Session, principal_id: str, name: str, *, check: Callable[[Collection | None], None]
) -> None:
    """Delete a local calendar with all its members; raises what ``check`` does of what is there.

    The others cannot be deleted: raises :class:`CalendarStays`.
    """
    lock_principal(session, principal_id)
    known = find_collection(session, principal_id, name)
    check(known)
    if known is None or known.kind != "local":
        raise CalendarStays(
            "This calendar belongs to the gateway and cannot be deleted; hide it in the app.",
            principal_id=principal_id,
        )
    retire_collections(session, [known.id])
    bump_generation(session, principal_id)


def _kept(properties: Mapping[str, str | None], *, before: Mapping[str, str]) -> dict[str, str]:
    """Return the properties that have a value; raises when they are too many or too large.

    A calendar that has more of them from earlier may always lose some.
    """
    kept = {tag: text for tag, text in properties.items() if text is not None}
    is_many = len(kept) > max(MAX_PROPERTIES, len(before))
    if is_many or _size(kept) > max(MAX_PROPERTIES_SIZE, _size(before)):
        raise OverQuota("The properties of this calendar are too many, or too large together.")
    return kept


def _size(properties: Mapping[str, str]) -> int:
    return sum(len(tag) + len(text) for tag, text in properties.items())
