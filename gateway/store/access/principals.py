"""Who is here: subaccounts, principals and their logins.

Secrets of logins are generated (160 bits), shown once and stored as SHA-256; no cache
stands in front of them, so a revocation holds at once in every process.
"""

import hashlib
import hmac
import secrets as random_source
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, insert, select, tuple_, update

from gateway.core.errors import NotFound
from gateway.core.recurrence.expand import ENGINE_VERSION
from gateway.store.engine import Session, new_id
from gateway.store.objects.collections import ensure_platform_collection
from gateway.store.objects.expansions import forget_expansions
from gateway.store.tables import (
    generations,
    logins,
    principals,
    subaccounts,
)

LoginKind = Literal["device", "platform"]
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_SEEN_EVERY_S = 60


@dataclass(frozen=True, slots=True)
class Subaccount:
    """A tenant of the platform."""

    id: str
    name: str
    external_id: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Principal:
    """A person in a subaccount; ``time_zone`` is an IANA name."""

    id: str
    subaccount_id: str
    name: str
    email: str | None
    external_id: str | None
    time_zone: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Login:
    """A device or platform login of a principal; the secret itself is not kept."""

    id: str
    principal_id: str
    kind: LoginKind
    login: str
    label: str
    show_mirrors: bool
    created_at: int
    last_seen_at: int | None
    user_agent: str | None


def generate_secret() -> str:
    """Make a secret of about 158 random bits in groups that are easy to type."""
    letters = "".join(random_source.choice(_ALPHABET) for _ in range(32))
    return "-".join(letters[at : at + 8] for at in range(0, 32, 8))


def hash_secret(secret: str) -> bytes:
    """Hash a generated secret; its entropy makes a plain SHA-256 enough."""
    return hashlib.sha256(secret.encode("utf-8")).digest()


# --- subaccounts and principals ---


def create_subaccount(
    session: Session, *, name: str, external_id: str | None = None, now: int
) -> Subaccount:
    """Insert a subaccount."""
    created = Subaccount(new_id("sub"), name, external_id, now)
    session.execute(
        insert(subaccounts).values(
            id=created.id, name=name, external_id=external_id, created_at=now
        )
    )
    return created


Cursor = tuple[int, str]
"""Where a page of a list ended: creation time and id of its last row."""


def _page(query: Any, table: Any, after: Cursor | None, limit: int | None) -> Any:
    """Order by creation and cut one page out of a list."""
    if after is not None:
        query = query.where(tuple_(table.c.created_at, table.c.id) > tuple_(*after))
    return query.order_by(table.c.created_at, table.c.id).limit(limit)


def list_subaccounts(
    session: Session,
    *,
    only: str | None = None,
    after: Cursor | None = None,
    limit: int | None = None,
) -> list[Subaccount]:
    """List the subaccounts, oldest first; ``only`` restricts to one id."""
    query = select(*_SUBACCOUNT).where(subaccounts.c.erased_at.is_(None))
    if only is not None:
        query = query.where(subaccounts.c.id == only)
    return [Subaccount(*row) for row in session.execute(_page(query, subaccounts, after, limit))]


def get_subaccount(session: Session, subaccount_id: str) -> Subaccount:
    """Return one subaccount; raises :class:`NotFound`."""
    row = session.execute(
        select(*_SUBACCOUNT).where(
            subaccounts.c.id == subaccount_id, subaccounts.c.erased_at.is_(None)
        )
    ).first()
    if row is None:
        raise NotFound("There is no such subaccount.")
    return Subaccount(*row)


_SUBACCOUNT = tuple(subaccounts.c[name] for name in Subaccount.__dataclass_fields__)


def update_subaccount(session: Session, subaccount_id: str, changes: Mapping[str, Any]) -> None:
    """Change columns of a subaccount; raises :class:`NotFound`."""
    _update_one(session, subaccounts, subaccount_id, changes)


def create_principal(
    session: Session,
    *,
    subaccount_id: str,
    name: str,
    time_zone: str,
    email: str | None = None,
    external_id: str | None = None,
    now: int,
) -> Principal:
    """Insert a principal with its ``platform`` collection; raises :class:`NotFound`."""
    get_subaccount(session, subaccount_id)
    created = Principal(new_id("p"), subaccount_id, name, email, external_id, time_zone, now)
    session.execute(
        insert(principals).values(
            id=created.id,
            subaccount_id=subaccount_id,
            name=name,
            email=email,
            external_id=external_id,
            time_zone=time_zone,
            created_at=now,
        )
    )
    session.execute(
        insert(generations).values(
            principal_id=created.id, generation=0, expanded_by=ENGINE_VERSION
        )
    )
    ensure_platform_collection(session, created.id, now=now)
    return created


def list_principals(
    session: Session,
    *,
    subaccount_id: str | None = None,
    external_id: str | None = None,
    after: Cursor | None = None,
    limit: int | None = None,
) -> list[Principal]:
    """List principals, oldest first, of one subaccount or of all."""
    query = select(*_PRINCIPAL).where(_IS_THERE)
    if subaccount_id is not None:
        query = query.where(principals.c.subaccount_id == subaccount_id)
    if external_id is not None:
        query = query.where(principals.c.external_id == external_id)
    return [Principal(*row) for row in session.execute(_page(query, principals, after, limit))]


_PRINCIPAL = tuple(principals.c[name] for name in Principal.__dataclass_fields__)
_IS_THERE = principals.c.erased_at.is_(None)  # the others are on their way (store.erasing)
_BY_ID = select(*_PRINCIPAL).where(principals.c.id == bindparam("b_id"), _IS_THERE)


def get_principal(
    session: Session, principal_id: str, *, subaccount_id: str | None = None
) -> Principal:
    """Return one principal; one of a foreign subaccount is not found either."""
    row = session.execute(_BY_ID, {"b_id": principal_id}).first()
    if row is None or subaccount_id not in (None, row.subaccount_id):
        raise NotFound("There is no such principal.")
    return Principal(*row)


def find_principals(
    session: Session, principal_ids: Sequence[str], *, subaccount_id: str | None = None
) -> dict[str, Principal]:
    """Return those of the principals that exist, of one subaccount or of all, by id."""
    query = select(*_PRINCIPAL).where(principals.c.id.in_(principal_ids), _IS_THERE)
    if subaccount_id is not None:
        query = query.where(principals.c.subaccount_id == subaccount_id)
    return {row.id: Principal(*row) for row in session.execute(query)}


def find_principals_by_email(
    session: Session, emails: Collection[str], *, subaccount_id: str
) -> list[Principal]:
    """Return the principals of a subaccount with one of these addresses (lower case)."""
    query = select(*_PRINCIPAL).where(
        principals.c.subaccount_id == subaccount_id,
        func.lower(principals.c.email).in_(emails),
        _IS_THERE,
    )
    return [Principal(*row) for row in session.execute(query.order_by(principals.c.id))]


def update_principal(session: Session, principal_id: str, changes: Mapping[str, Any]) -> None:
    """Change columns of a principal; raises :class:`NotFound`.

    With a new zone, all-day and floating times are expanded anew; until then time is unknown.
    """
    old = get_principal(session, principal_id).time_zone
    _update_one(session, principals, principal_id, changes)
    if changes.get("time_zone", old) != old:
        forget_expansions(session, principal_id, zone_dependent_only=True)


# --- logins ---


def create_login(
    session: Session,
    *,
    principal_id: str,
    kind: LoginKind,
    label: str = "",
    show_mirrors: bool = True,
    now: int,
) -> tuple[Login, str]:
    """Insert a login; return it with its secret, which is shown this once only."""
    secret = generate_secret()
    name = f"{principal_id}-{kind[0]}{random_source.token_hex(3)}"
    created = Login(new_id("login"), principal_id, kind, name, label, show_mirrors, now, None, None)
    session.execute(
        insert(logins).values(
            id=created.id,
            principal_id=principal_id,
            kind=kind,
            login=name,
            secret_hash=hash_secret(secret),
            label=label,
            show_mirrors=show_mirrors,
            created_at=now,
        )
    )
    return created, secret


_LOGIN = (
    logins.c.id,
    logins.c.principal_id,
    logins.c.kind,
    logins.c.login,
    logins.c.label,
    logins.c.show_mirrors,
    logins.c.created_at,
    logins.c.last_seen_at,
    logins.c.user_agent,
)


def list_logins(session: Session, principal_id: str) -> list[Login]:
    """List the logins of a principal, oldest first."""
    query = select(*_LOGIN).where(logins.c.principal_id == principal_id)
    return [
        Login(*row) for row in session.execute(query.order_by(logins.c.created_at, logins.c.id))
    ]


def get_login(session: Session, principal_id: str, login_id: str) -> Login:
    """Return one login of a principal; raises :class:`NotFound`."""
    row = session.execute(
        select(*_LOGIN).where(logins.c.id == login_id, logins.c.principal_id == principal_id)
    ).first()
    if row is None:
        raise NotFound("There is no such login.")
    return Login(*row)


def update_login(session: Session, login_id: str, changes: Mapping[str, Any]) -> None:
    """Change columns of a login (label, show_mirrors); raises :class:`NotFound`."""
    _update_one(session, logins, login_id, changes)


def delete_login(session: Session, principal_id: str, login_id: str) -> None:
    """Revoke a login at once; raises :class:`NotFound`."""
    statement = delete(logins).where(logins.c.id == login_id, logins.c.principal_id == principal_id)
    if not session.execute(statement).rowcount:
        raise NotFound("There is no such login.")


# Every CalDAV request asks this one: built once, it costs a third.
_BY_LOGIN = select(*_LOGIN, logins.c.secret_hash).where(logins.c.login == bindparam("called"))


def verify_login(session: Session, login: str, secret: str) -> Login | None:
    """Return the login when name and secret match, else None; constant time in the secret."""
    row = session.execute(_BY_LOGIN, {"called": login}).first()
    stored = bytes(row.secret_hash) if row is not None else bytes(32)
    matches = hmac.compare_digest(stored, hash_secret(secret))
    return Login(*row[:-1]) if row is not None and matches else None


def note_login_seen(session: Session, login_id: str, *, user_agent: str, now: int) -> None:
    """Remember when and by what a login was used; at most once a minute per user agent."""
    session.execute(
        update(logins)
        .where(logins.c.id == login_id)
        .values(last_seen_at=now, user_agent=user_agent[:200])
    )


def is_seen_stale(login: Login, *, user_agent: str, now: int) -> bool:
    """Tell whether :func:`note_login_seen` is due for this login."""
    last = login.last_seen_at
    return last is None or now - last >= _SEEN_EVERY_S or login.user_agent != user_agent[:200]


def _update_one(session: Session, table: Any, row_id: str, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    if not session.execute(update(table).where(table.c.id == row_id).values(**changes)).rowcount:
        raise NotFound(f"There is no such {table.name[:-1]}.")
