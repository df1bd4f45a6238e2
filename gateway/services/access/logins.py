"""Logins of a person: for devices, and for the platform's own CalDAV calls.

All raise :class:`NotFound` for a person, or a login of the person, that is not there. A login is
not guarded by the person's lock: no other row depends on it.
"""

from collections.abc import Mapping
from typing import Any

from gateway.services.access.people import PersonRef, find_person
from gateway.store.access import principals
from gateway.store.access.principals import Login, LoginKind
from gateway.store.engine import Session


def list_logins(session: Session, who: PersonRef) -> list[Login]:
    """List the logins of a person, oldest first."""
    return principals.list_logins(session, find_person(session, who).id)


def create_login(
    session: Session,
    who: PersonRef,
    *,
    kind: LoginKind,
    label: str = "",
    show_mirrors: bool = True,
    now: int,
) -> tuple[Login, str]:
    """Create a login; returns it with its password, which is kept nowhere."""
    return principals.create_login(
        session,
        principal_id=find_person(session, who).id,
        kind=kind,
        label=label,
        show_mirrors=show_mirrors,
        now=now,
    )


def change_login(
    session: Session, who: PersonRef, login_id: str, changes: Mapping[str, Any]
) -> Login:
    """Change label or visibility of the mirrors."""
    owner = find_person(session, who)
    principals.get_login(session, owner.id, login_id)
    principals.update_login(session, login_id, changes)
    return principals.get_login(session, owner.id, login_id)


def revoke_login(session: Session, who: PersonRef, login_id: str) -> None:
    """Revoke a login at once, in every process."""
    principals.delete_login(session, find_person(session, who).id, login_id)
