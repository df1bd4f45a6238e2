"""What somebody decides about an account and its calendars, and how they stand afterwards.

All take the person as the caller names one and raise :class:`NotFound` for somebody the caller
cannot see, with ``not-connected`` where there is no account. Each locks the person.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.recurrence.model import AllDay
from gateway.services.access.people import PersonRef, find_person
from gateway.services.accounts import roles
from gateway.services.accounts.views import (
    AccountView,
    CalendarView,
    connected_account,
    view_account,
    view_calendar,
    view_calendars,
)
from gateway.store.accounts.accounts import update_connection
from gateway.store.engine import Session, lock_principal
from gateway.store.objects.objects import bump_generation


def change_trust(session: Session, who: PersonRef, *, trust_for_s: int) -> AccountView:
    """Say how long stale data of a connected account is believed, in seconds (R25)."""
    found = connected_account(session, who)
    lock_principal(session, found.principal_id)
    update_connection(session, found.id, trust_for_s=trust_for_s)
    bump_generation(session, found.principal_id)
    return view_account(session, who)


def choose_calendars(
    session: Session,
    who: PersonRef,
    *,
    linked: str | None,
    conflicts: Sequence[str],
    linked_blocks: bool | None = None,
    all_day: Mapping[str, AllDay] | None = None,
    now: int,
) -> list[CalendarView]:
    """Choose the linked calendar and the conflict calendars (R6).

    Raises what :func:`roles.set_calendar_roles` raises.
    """
    roles.set_calendar_roles(
        session,
        find_person(session, who).id,
        linked=linked,
        conflicts=conflicts,
        linked_blocks=linked_blocks,
        all_day=all_day,
        now=now,
    )
    return view_calendars(session, who)


def change_choice(
    session: Session, who: PersonRef, changes: Mapping[str, Any], *, now: int
) -> list[CalendarView]:
    """Change the named parts of the choice and leave the others (R46).

    ``changes`` are those of :func:`roles.change_calendar_roles`, which says what is raised.
    """
    roles.change_calendar_roles(session, find_person(session, who).id, **changes, now=now)
    return view_calendars(session, who)


def change_calendar(
    session: Session, who: PersonRef, calendar_id: str, changes: Mapping[str, Any]
) -> CalendarView:
    """Change what is kept of a calendar's events, and how all-day ones count (R10).

    ``changes`` are those of :func:`roles.set_calendar_options`, which says what is raised.
    """
    person = find_person(session, who)
    changed = roles.set_calendar_options(session, person.id, calendar_id, **changes)
    return view_calendar(session, changed)
