"""Handlers: subaccounts and API keys."""

from gateway.api.accounts.people import no_subaccount
from gateway.api.http.routing import AnyCall, Call, Result, json_answer
from gateway.api.wire import shapes as schemas
from gateway.api.wire.paging import cut_page, link_next
from gateway.api.wire.times import render_instant, render_known
from gateway.core.errors import InvalidInput, NotAllowed, NotFound
from gateway.store.access import keys, principals
from gateway.store.engine import Session
from gateway.store.operations import erasing


def _show_subaccount(found: principals.Subaccount) -> schemas.SubaccountOut:
    return schemas.SubaccountOut(
        id=found.id,
        name=found.name,
        external_id=found.external_id,
        created_at=render_instant(found.created_at),
    )


async def list_subaccounts(call: Call[schemas.PageQuery, None]) -> Result:
    """List the subaccounts this key can see."""
    rows = await call.read(
        principals.list_subaccounts,
        only=call.key.subaccount_id,
        after=call.query.cursor,
        limit=call.query.limit + 1,
    )
    page, cursor = cut_page(rows, call.query)
    body = schemas.SubaccountPage(subaccounts=[_show_subaccount(row) for row in page], next=cursor)
    return json_answer(body, headers=link_next(call.request, cursor))


async def create_subaccount(call: Call[schemas.NoQuery, schemas.NewSubaccount]) -> Result:
    """Create a subaccount; a key bound to one cannot."""
    _check_unbound(call.key)

    def unit(session: Session) -> schemas.SubaccountOut:
        return _show_subaccount(
            principals.create_subaccount(session, now=call.now, **call.body.model_dump())
        )

    return await call.commit(unit)


async def get_subaccount(call: Call[schemas.NoQuery, None]) -> Result:
    """Return one subaccount."""
    return _show_subaccount(await call.read(principals.get_subaccount, _own_subaccount(call)))


async def update_subaccount(call: Call[schemas.NoQuery, schemas.SubaccountChanges]) -> Result:
    """Change name or external id."""

    def unit(session: Session, subaccount_id: str) -> schemas.SubaccountOut:
        principals.update_subaccount(
            session, subaccount_id, call.body.model_dump(exclude_unset=True)
        )
        return _show_subaccount(principals.get_subaccount(session, subaccount_id))

    return await call.commit(unit, _own_subaccount(call))


async def delete_subaccount(call: Call[schemas.NoQuery, None]) -> Result:
    """Erase a subaccount with everything in it."""
    target = _own_subaccount(call)
    _check_unbound(call.key)
    await call.write(erasing.retire_subaccount, target, now=call.now)
    await call.write(erasing.erase_some)
    return None


def _own_subaccount(call: AnyCall) -> str:
    """Return the subaccount of the path; a foreign one is not there."""
    wanted = call.path("subaccount")
    if call.key.subaccount_id not in (None, wanted):
        raise NotFound("There is no such subaccount.")
    return wanted


def _check_unbound(key: keys.ApiKey) -> None:
    if key.subaccount_id is not None:
        raise NotAllowed("This needs an admin key that is not bound to a subaccount.")


# --- API keys ---


def _show_key(found: keys.ApiKey) -> dict[str, object]:
    return {
        "id": found.id,
        "name": found.name,
        "scopes": sorted(found.scopes),
        "subaccount": found.subaccount_id,
        "created_at": render_instant(found.created_at),
        "last_used_at": render_known(found.last_used_at),
    }


async def list_keys(call: Call[schemas.NoQuery, None]) -> Result:
    """List the API keys of the caller's subaccount, or all of them."""
    rows = await call.read(keys.list_keys, subaccount_id=call.key.subaccount_id)
    return {"keys": [_show_key(row) for row in rows]}


async def create_key(call: Call[schemas.NoQuery, schemas.NewKey]) -> Result:
    """Create an API key; its secret is in this answer and nowhere else."""
    subaccount_id = _subaccount_of_new_key(call)

    def unit(session: Session) -> schemas.KeyWithSecret:
        if subaccount_id and not principals.list_subaccounts(session, only=subaccount_id):
            raise no_subaccount()
        created, secret = keys.create_key(
            session,
            name=call.body.name,
            scopes=frozenset(call.body.scopes),
            subaccount_id=subaccount_id,
            now=call.now,
        )
        return schemas.KeyWithSecret.model_validate({**_show_key(created), "secret": secret})

    return await call.commit(unit)


def _subaccount_of_new_key(call: Call[schemas.NoQuery, schemas.NewKey]) -> str | None:
    """Decide what the new key is bound to: never to more than the caller's own key."""
    bound, wanted = call.key.subaccount_id, call.body.subaccount
    if bound is not None:
        if wanted not in (None, bound):
            raise no_subaccount()
        return bound
    if wanted is None and "admin" not in call.body.scopes:
        raise InvalidInput(
            "Only an admin key may belong to no subaccount; name one.",
            code="subaccount-required",
            pointer="/subaccount",
        )
    return wanted


async def delete_key(call: Call[schemas.NoQuery, None]) -> Result:
    """Revoke an API key at once; the last that may do everything stays."""
    await call.write(keys.revoke_key, call.path("key"), subaccount_id=call.key.subaccount_id)
    return None
