"""Handlers: principals and their logins."""

from gateway.api.http.routing import Call, Result, json_answer
from gateway.api.wire import shapes as schemas
from gateway.api.wire.paging import cut_page, link_next
from gateway.api.wire.times import render_instant, render_known
from gateway.services.access import logins, people
from gateway.store.access.principals import Login, Principal
from gateway.store.operations.erasing import erase_some


def home_path(principal_id: str, collection_name: str | None = None) -> str:
    """Return the CalDAV path of a calendar home or of a collection in it."""
    return f"/{principal_id}/" if collection_name is None else f"/{principal_id}/{collection_name}/"


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
    query = call.query
    rows = await call.read(
        people.list_people,
        bound=call.bound,
        subaccount_id=query.subaccount,
        external_id=query.external_id,
        after=query.cursor,
        limit=query.limit + 1,
    )
    page, cursor = cut_page(rows, query)
    body = schemas.PrincipalPage(principals=[_show_principal(row) for row in page], next=cursor)
    return json_answer(body, headers=link_next(call.request, cursor))


async def create_principal(call: Call[schemas.NoQuery, schemas.NewPrincipal]) -> Result:
    """Create a person with a calendar home."""
    return await call.answer(
        _show_principal,
        people.create_person,
        subaccount_id=call.body.subaccount,
        bound=call.bound,
        now=call.now,
        **call.body.model_dump(exclude={"subaccount"}),
    )


async def get_principal(call: Call[schemas.NoQuery, None]) -> Result:
    """Return one person."""
    return _show_principal(await call.read(people.find_person, call.person))


async def update_principal(call: Call[schemas.NoQuery, schemas.PrincipalChanges]) -> Result:
    """Change a person."""
    changes = call.body.model_dump(exclude_unset=True)
    changed = await call.answer(_show_principal, people.change_person, call.person, changes)
    await call.api.beyond_window.renew(changed.id, now=call.now)
    return changed


async def delete_principal(call: Call[schemas.NoQuery, None]) -> Result:
    """Erase a person with calendars, logins, connection and everything pushed or pending.

    Nobody finds them any more from now on; the rows of a large calendar go a little later.
    """
    await call.write(people.retire_person, call.person, now=call.now)
    await call.write(erase_some)
    return None


# --- logins ---


def _show_login(found: Login) -> dict[str, object]:
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


def _show_new_login(made: tuple[Login, str]) -> schemas.LoginWithPassword:
    created, password = made
    shown = {
        **_show_login(created),
        "password": password,
        "caldav": home_path(created.principal_id),
    }
    return schemas.LoginWithPassword.model_validate(shown)


async def list_logins(call: Call[schemas.NoQuery, None]) -> Result:
    """List the logins of a person."""
    return {
        "logins": [_show_login(row) for row in await call.read(logins.list_logins, call.person)]
    }


async def create_login(call: Call[schemas.NoQuery, schemas.NewLogin]) -> Result:
    """Create a login; its password is in this answer and nowhere else."""
    return await call.answer(
        _show_new_login, logins.create_login, call.person, now=call.now, **call.body.model_dump()
    )


async def update_login(call: Call[schemas.NoQuery, schemas.LoginChanges]) -> Result:
    """Change label or visibility of the mirrors."""
    changes = call.body.model_dump(exclude_unset=True)
    return await call.answer(
        _show_login, logins.change_login, call.person, call.path("login"), changes
    )


async def delete_login(call: Call[schemas.NoQuery, None]) -> Result:
    """Revoke a login at once."""
    await call.write(logins.revoke_login, call.person, call.path("login"))
    return None
