"""People by the names other systems know them by."""

from collections.abc import Sequence

from sqlalchemy import func, select

from gateway.store.engine import Session, chunks
from gateway.store.tables import principals


def find_by_names(
    session: Session, names: Sequence[str], *, subaccount_id: str | None
) -> dict[str, str]:
    """Return principal ids by the given names: an id, an external id or an e-mail address.

    Addresses match in any case. A name that means several people is left out, and so are people of
    other subaccounts.
    """
    found: dict[str, set[str]] = {}
    address = func.lower(principals.c.email)
    for part in chunks(sorted({*names, *(name.lower() for name in names)})):
        query = select(principals.c.id, principals.c.external_id, address).where(
            principals.c.id.in_(part) | principals.c.external_id.in_(part) | address.in_(part),
            principals.c.erased_at.is_(None),
        )
        if subaccount_id is not None:
            query = query.where(principals.c.subaccount_id == subaccount_id)
        for principal_id, external_id, email in session.execute(query):
            for known in {principal_id, external_id, email} - {None}:
                found.setdefault(known, set()).add(principal_id)
    answers = {name: found.get(name) or found.get(name.lower(), set()) for name in names}
    return {name: next(iter(ids)) for name, ids in answers.items() if len(ids) == 1}
