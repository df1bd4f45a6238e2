"""Handlers: principals and their logins."""

from gateway.api.http.routing import AnyCall, Call, Result, json_answer
from gateway.api.wire import shapes as schemas
from gateway.api.wire.paging import cut_page, link_next
from gateway.api.wire.problems import ReferenceNotFound
from gateway.api.wire.times import render_instant, render_known
from gateway.core.errors import InvalidInput
from gateway.store.access import principals
from gateway.store.access.principals import Principal
from gateway.store.engine import Session, lock_principal
from gateway.store.operations import erasing


def home_path(principal_id: str, collection_name: str | None = None) -> str:
    """Return the CalDAV path of a calendar home or of a collection in it."""
    return f"/{principal_id}/" if collection_name is None else f"/{principal_id}/{collection_name}/"


def find_own(session: Session, call: AnyCall) -> Principal:
    """Return the principal of the path; one of a foreign subaccount is not there."""
    return principals.get_principal(
        session, call.path("principal"), subaccount_id=call.key.subaccount_id
    )


def _show_principal(found: Principal) -> schemas.PrincipalOut:
    return schemas.PrincipalOut(
        id=found.id,
        subaccount=found.subaccount_id,
        name=found.name,
        email=found.email,
        external_id=found.external_id,
        time_zone=found.time_zone,
        caldav=home_path(found.id),
        created_at=render_instant(found.created_at),
    )


async def list_principals(call: Call[schemas.PrincipalQuery, None]) -> Result:
    """List the persons this key can see."""
    query, bound = call.query, call.key.subaccount_id
    if bound is not None and query.subaccount not in (None, bound):
        rows: list[Principal] = []
    else:
        rows = await call.read(
            principals.list_principals,
            subaccount_id=bound or query.subaccount,
            external_id=query.external_id,
            after=query.cursor,
            limit=query.limit + 1,
        )
    page, cursor = cut_page(rows, query)
    body = schemas.PrincipalPage(principals=[_show_principal(row) for row in page], next=cursor)
    return json_answer(body, headers=link_next(call.request, cursor))


async def create_principal(call: Call[schemas.NoQuery, schemas.NewPrincipal]) -> Result:
    """Create a person with a calendar home."""
    subaccount_id = _subaccount_of_new_principal(call)

    def unit(session: Session) -> schemas.PrincipalOut:
        if not principals.list_subaccounts(session, only=subaccount_id):
            raise no_subaccount()
        values = call.body.model_dump(exclude={"subaccount"})
        created = principals.create_principal(
            session, subaccount_id=subaccount_id, now=call.now, **values
        )
        return _show_principal(created)

    return await call.commit(unit)


def _subaccount_of_new_principal(call: Call[schemas.NoQuery, schemas.NewPrincipal]) -> str:
    bound, wanted = call.key.subaccount_id, call.body.subaccount
    if bound is not None and wanted not in (None, bound):
        raise no_subaccount()
    chosen = bound or wanted
    if chosen is None:
        raise InvalidInput(
            "Name the subaccount; this key is not bound to one.",
            code="subaccount-required",
            pointer="/subaccount",
        )
    return chosen


def no_subaccount() -> ReferenceNotFound:
    """Return the refusal of a subaccount this caller cannot name."""
    return ReferenceNotFound("There is no such subaccount.", pointer="/subaccount")


async def get_principal(call: Call[schemas.NoQuery, None]) -> Result:
    """Return one person."""
    return _show_principal(await call.read(find_own, call))


async def update_principal(call: Call[schemas.NoQuery, schemas.PrincipalChanges]) -> Result:
    """Change a person."""

    def unit(session: Session) -> schemas.PrincipalOut:
        found = find_own(session, call)
        lock_principal(session, found.id)
        principals.update_principal(session, found.id, call.body.model_dump(exclude_unset=True))
        return _show_principal(principals.get_principal(session, found.id))

    changed = await call.commit(unit)
    await call.api.reach.renew(changed.id, now=call.now)
    return changed


async def delete_principal(call: Call[schemas.NoQuery, None]) -> Result:
    """Erase a person with calendars, logins, connection and everything pushed or pending.

    Nobody finds them any more from now on; the rows of a large calendar go a little later.
    """

    def unit(session: Session) -> None:
        erasing.retire_principal(session, find_own(session, call).id, now=call.now)

    await call.write(unit)
    await call.write(erasing.erase_some)
    return None


# --- logins ---


def _show_login(found: principals.Login) -> dict[str, object]:
    return {
        "id": found.id,
        "kind": found.kind,
        "login": found.login,
        "label": found.label,
        "show_mirrors": found.show_mirrors,
        "created_at": render_instant(found.created_at),
        "last_seen_at": render_known(found.last_seen_at),
        "user_agent": found.user_agent,
    }


async def list_logins(call: Call[schemas.NoQuery, None]) -> Result:
    """List the logins of a person."""

    def unit(session: Session) -> list[principals.Login]:
        return principals.list_logins(session, find_own(session, call).id)

    return {"logins": [_show_login(row) for row in await call.read(unit)]}


async def create_login(call: Call[schemas.NoQuery, schemas.NewLogin]) -> Result:
    """Create a login; its password is in this answer and nowhere else."""

    def unit(session: Session) -> schemas.LoginWithPassword:
        owner = find_own(session, call)
        created, password = principals.create_login(
            session, principal_id=owner.id, now=call.now, **call.body.model_dump()
        )
        shown = {**_show_login(created), "password": password, "caldav": home_path(owner.id)}
        return schemas.LoginWithPassword.model_validate(shown)

    return await call.commit(unit)


async def update_login(call: Call[schemas.NoQuery, schemas.LoginChanges]) -> Result:
    """Change label or visibility of the mirrors."""

    def unit(session: Session) -> dict[str, object]:
        owner, login_id = find_own(session, call), call.path("login")
        principals.get_login(session, owner.id, login_id)
        principals.update_login(session, login_id, call.body.model_dump(exclude_unset=True))
        return _show_login(principals.get_login(session, owner.id, login_id))

    return await call.commit(unit)


async def delete_login(call: Call[schemas.NoQuery, None]) -> Result:
    """Revoke a login at once."""

    def unit(session: Session) -> None:
        principals.delete_login(session, find_own(session, call).id, call.path("login"))

    await call.write(unit)
    return None
