"""Public free/busy addresses of a person (R23, R26): whoever knows one sees busy time, no more.

The secret in an address is shown once and kept nowhere. All raise :class:`NotFound` for a person
the caller cannot see, and for an address the person does not have.
"""

from gateway.services.access.people import PersonRef, find_person
from gateway.store.booking import schedules
from gateway.store.booking.schedules import FreeBusyToken, TokenDetail
from gateway.store.engine import Session


def list_tokens(session: Session, who: PersonRef) -> list[FreeBusyToken]:
    """List the public addresses of a person."""
    return schedules.list_tokens(session, find_person(session, who).id)


def create_token(
    session: Session, who: PersonRef, *, label: str, detail: TokenDetail, now: int
) -> tuple[FreeBusyToken, str]:
    """Create a public address; returns it with its secret."""
    owner = find_person(session, who)
    return schedules.create_token(session, owner.id, label=label, detail=detail, now=now)


def rotate_token(
    session: Session, who: PersonRef, token_id: str, *, now: int
) -> tuple[FreeBusyToken, str]:
    """Give a public address a new secret, which is returned; the old address ends at once."""
    return schedules.rotate_token(session, find_person(session, who).id, token_id, now=now)


def delete_token(session: Session, who: PersonRef, token_id: str) -> None:
    """Revoke a public address at once."""
    schedules.delete_token(session, find_person(session, who).id, token_id)
