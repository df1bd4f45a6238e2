"""What each upstream calendar is used for: linked, conflict, tracked or nothing (R5-R8)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.core.errors import InvalidInput, NotFound
from gateway.core.recurrence.model import AllDay
from gateway.services.accounts.listing import COLOR_PROPERTY
from gateway.store.accounts.accounts import find_connection, update_connection
from gateway.store.accounts.calendars import (
    Role,
    UpstreamCalendar,
    get_calendar,
    list_calendars,
    reread_calendar,
    update_calendar,
)
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.collections import create_collection, find_mirror
from gateway.store.objects.expansions import forget_expansions
from gateway.store.objects.objects import bump_generation
from gateway.store.operations.erasing import retire_collections
from gateway.store.outbox.pushed import holds_appointments

MIRROR_PREFIX = "mirror-"

REFUSALS = {
    "calendar-subscribed": (
        "This is a subscribed calendar. Its events come from somebody else's address, so it can "
        "neither be read nor written here."
    ),
    "calendar-read-only": "This calendar can be read but not written, so it cannot be linked.",
    "calendar-no-events": "This list holds reminders, not events.",
    "calendar-scheduling": "This is a scheduling inbox or outbox, not a calendar.",
    "calendar-gone": "This calendar is not in the iCloud account any more.",
}
_MIRRORED: frozenset[Role] = frozenset({"linked", "conflict"})
_NEVER_READ = {
    "state": "never",
    "ctag": None,
    "sync_token": None,
    "synced_at": None,
    "problem": None,
    "problem_detail": None,
    "progress_done": 0,
    "progress_total": None,
    "reached_from": None,
    "reached_until": None,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the calendars of an account are used for; ``conflicts`` leaves the linked one out."""

    linked: str | None
    conflicts: tuple[str, ...]
    linked_blocks: bool


KEEP = ""
"""In place of a calendar id: leave the linked calendar as it is."""


def set_calendar_roles(
    session: Session,
    principal_id: str,
    *,
    linked: str | None,
    conflicts: Sequence[str],
    linked_blocks: bool | None = None,
    all_day: Mapping[str, AllDay] | None = None,
    now: int,
) -> list[UpstreamCalendar]:
    """Choose the linked calendar and the conflict calendars; repeating it changes nothing.

    A calendar that was linked and holds appointments of ours stays *tracked* (R7). Mirrors are
    made and erased to fit, and the account is due for a sync at once. ``all_day`` says how
    all-day events count in the calendars it names; in others that stays. Raises
    :class:`NotFound` ``not-connected``, and :class:`InvalidInput` with a code of R5 and a pointer
    into ``{"linked", "conflicts", "all_day"}``.
    """
    lock_principal(session, principal_id)
    known = _calendars_of(session, principal_id)
    _check_choice(known, linked, conflicts)
    _set_all_day(session, principal_id, known, all_day or {})
    choice = Choice(linked, tuple(conflicts), linked_blocks is not False)
    return _apply_choice(session, principal_id, known, choice, now)


def change_calendar_roles(
    session: Session,
    principal_id: str,
    *,
    linked: str | None = KEEP,
    linked_blocks: bool | None = None,
    conflicts: Sequence[str] | None = None,
    add: Sequence[str] = (),
    drop: Sequence[str] = (),
    all_day: Mapping[str, AllDay] | None = None,
    now: int,
) -> list[UpstreamCalendar]:
    """Change the parts of the choice that are named and leave the others as they are (R46).

    ``linked`` None links nothing; ``conflicts`` replaces the conflict calendars, ``add`` and
    ``drop`` change single ones of them. ``linked_blocks`` belongs to the linked calendar: it
    stays with it, and a newly linked one blocks unless False is said. A calendar that was chosen
    before is not checked again: a vanished one does not stand in the way of another change.
    Raises what :func:`set_calendar_roles` raises.
    """
    lock_principal(session, principal_id)
    known = _calendars_of(session, principal_id)
    before = _choice(known)
    wanted = before.linked if linked == KEEP else linked
    kept = before.conflicts if conflicts is None else tuple(conflicts)
    chosen = (*(one for one in kept if one not in drop), *add)
    _check_choice(known, wanted, chosen, before)
    _set_all_day(session, principal_id, known, all_day or {})
    blocks = before.linked_blocks if wanted == before.linked else True
    after = Choice(wanted, chosen, blocks if linked_blocks is None else linked_blocks)
    return _apply_choice(session, principal_id, known, after, now)


def _calendars_of(session: Session, principal_id: str) -> dict[str, UpstreamCalendar]:
    connection = find_connection(session, principal_id)
    if connection is None or connection.state == "disconnected":
        raise NotFound("This principal has no iCloud account connected.", code="not-connected")
    return {calendar.id: calendar for calendar in list_calendars(session, connection.id)}


def _choice(known: dict[str, UpstreamCalendar]) -> Choice:
    linked = next((one for one in known.values() if one.role == "linked"), None)
    return Choice(
        None if linked is None else linked.id,
        tuple(one.id for one in known.values() if one.role == "conflict"),
        linked is None or linked.blocks,
    )


def _apply_choice(
    session: Session,
    principal_id: str,
    known: dict[str, UpstreamCalendar],
    choice: Choice,
    now: int,
) -> list[UpstreamCalendar]:
    changed = False
    for calendar in known.values():
        role = _new_role(session, calendar, choice.linked, choice.conflicts)
        blocks = role == "conflict" or (role == "linked" and choice.linked_blocks)
        changed |= _apply(session, principal_id, calendar, role, blocks, now)
    connection = find_connection(session, principal_id)
    assert connection is not None  # the principal is locked since it was found
    if changed:
        bump_generation(session, principal_id)
        update_connection(session, connection.id, next_sync_at=0.0)
    return list_calendars(session, connection.id)


def _check_choice(
    known: dict[str, UpstreamCalendar],
    linked: str | None,
    conflicts: Sequence[str],
    before: Choice | None = None,
) -> None:
    """Check what is chosen, except what was chosen ``before``."""
    if linked is not None and (before is None or linked != before.linked):
        _check_usable(known, linked, "/linked", needs_write=True)
    for position, calendar_id in enumerate(conflicts):
        if before is None or calendar_id not in before.conflicts:
            _check_usable(known, calendar_id, f"/conflicts/{position}", needs_write=False)


def _check_usable(
    known: dict[str, UpstreamCalendar], calendar_id: str, pointer: str, *, needs_write: bool
) -> None:
    calendar = known.get(calendar_id)
    if calendar is None:
        raise _unknown_calendar(known, pointer)
    refusal = refusal_of(calendar, needs_write=needs_write)
    if refusal is not None:
        raise InvalidInput(REFUSALS[refusal], code=refusal, pointer=pointer)


_NAMED_AT_MOST = 30


def name_calendars(listed: Iterable[UpstreamCalendar]) -> str:
    """Name the calendars of an account that may be chosen, with their ids, for an error."""
    usable = [one for one in listed if refusal_of(one, needs_write=False) is None]
    named = [f"“{one.name}” ({one.id})" for one in usable[:_NAMED_AT_MOST]]
    if len(usable) > _NAMED_AT_MOST:
        named.append(f"{len(usable) - _NAMED_AT_MOST} more")
    return ", ".join(named) or "none that may be chosen"


def _unknown_calendar(known: Mapping[str, UpstreamCalendar], pointer: str) -> InvalidInput:
    return InvalidInput(
        f"There is no such calendar in this account. It has {name_calendars(known.values())}.",
        code="calendar-unknown",
        pointer=pointer,
    )


def refusal_of(calendar: UpstreamCalendar, *, needs_write: bool) -> str | None:
    """Return why a calendar cannot be used (R5), None when it can."""
    if calendar.state == "gone":
        return "calendar-gone"
    if calendar.refusal not in (None, "calendar-read-only"):
        return calendar.refusal
    return "calendar-read-only" if needs_write and not calendar.linkable else None


def _new_role(
    session: Session, calendar: UpstreamCalendar, linked: str | None, conflicts: Sequence[str]
) -> Role:
    if calendar.id == linked:
        return "linked"
    if calendar.id in conflicts:
        return "conflict"
    if calendar.role != "none" and holds_appointments(session, calendar.id):
        return "tracked"
    return "none"


def _apply(
    session: Session,
    principal_id: str,
    calendar: UpstreamCalendar,
    role: Role,
    blocks: bool,
    now: int,
) -> bool:
    """Give one calendar its role and its mirror; tell whether anything changed."""
    mirror = find_mirror(session, calendar.id)
    needs_mirror = role in _MIRRORED
    if (calendar.role, calendar.blocks, mirror is not None) == (role, blocks, needs_mirror):
        return False
    reread = needs_mirror != (mirror is not None)
    update_calendar(
        session, calendar.id, role=role, blocks=blocks, **(_NEVER_READ if reread else {})
    )
    if needs_mirror and mirror is None:
        _create_mirror(session, principal_id, calendar, now)
    if mirror is not None and not needs_mirror:
        retire_collections(session, [mirror.id])
    return True


def _create_mirror(
    session: Session, principal_id: str, calendar: UpstreamCalendar, now: int
) -> None:
    create_collection(
        session,
        principal_id=principal_id,
        name=mirror_name(calendar.id),
        kind="mirror",
        display_name=calendar.name,
        upstream_calendar_id=calendar.id,
        properties={COLOR_PROPERTY: calendar.color} if calendar.color else {},
        now=now,
    )


def mirror_name(calendar_id: str) -> str:
    """Return the last path segment of a calendar's mirror."""
    return MIRROR_PREFIX + calendar_id.partition("_")[2]


def set_calendar_options(
    session: Session,
    principal_id: str,
    calendar_id: str,
    *,
    detail: Literal["full", "busy"] | None = None,
    all_day: AllDay | None = None,
) -> UpstreamCalendar:
    """Change what is kept of a calendar (R10) and how its all-day events count.

    None leaves an option as it is. New details come with the next sync, which is due at once;
    all-day events are counted anew by the expansion worker, and until then time is unknown.
    Raises :class:`NotFound`.
    """
    lock_principal(session, principal_id)
    connection = find_connection(session, principal_id)
    calendar = get_calendar(session, calendar_id)
    if connection is None or calendar.connection_id != connection.id:
        raise NotFound("There is no such calendar.")
    if all_day is not None:
        _set_all_day(session, principal_id, {calendar.id: calendar}, {calendar.id: all_day})
    if detail not in (None, calendar.detail):
        update_calendar(session, calendar_id, detail=detail)
        reread_calendar(session, calendar_id)
        update_connection(session, connection.id, next_sync_at=0.0)
    return get_calendar(session, calendar_id)


def _set_all_day(
    session: Session,
    principal_id: str,
    known: Mapping[str, UpstreamCalendar],
    wanted: Mapping[str, AllDay],
) -> None:
    """Say how all-day events of the named calendars count; raises :class:`InvalidInput`."""
    for calendar_id, all_day in wanted.items():
        calendar = known.get(calendar_id)
        if calendar is None:
            raise _unknown_calendar(known, f"/all_day/{calendar_id}")
        if calendar.all_day == all_day:
            continue
        update_calendar(session, calendar.id, all_day=all_day)
        mirror = find_mirror(session, calendar.id)
        if mirror is not None:
            # Dates are read in the person's zone: what no zone touches holds no all-day time.
            forget_expansions(
                session, principal_id, collection_id=mirror.id, zone_dependent_only=True
            )
