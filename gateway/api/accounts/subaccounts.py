"""Handlers: subaccounts and API keys."""

from gateway.api.http.routing import Call, Result, json_answer
from gateway.api.wire import shapes as schemas
from gateway.api.wire.paging import cut_page, link_next
from gateway.api.wire.times import render_instant, render_known
from gateway.services.access import keys, subaccounts
from gateway.store.access.keys import ApiKey
from gateway.store.access.keys import list_keys as stored_keys
from gateway.store.access.principals import Subaccount
from gateway.store.access.principals import list_subaccounts as stored_subaccounts
from gateway.store.operations.erasing import erase_some


def _show_subaccount(found: Subaccount) -> schemas.SubaccountOut:
    return schemas.SubaccountOut(
        id=found.id,
        name=found.name,
        external_id=found.external_id,
        created_at=render_instant(found.created_at),
    )


async def list_subaccounts(call: Call[schemas.PageQuery, None]) -> Result:
    """List the subaccounts this key can see."""
    rows = await call.read(
        stored_subaccounts,
        only=call.bound,
        after=call.query.cursor,
        limit=call.query.limit + 1,
    )
    page, cursor = cut_page(rows, call.query)
    body = schemas.SubaccountPage(subaccounts=[_show_subaccount(row) for row in page], next=cursor)
    return json_answer(body, headers=link_next(call.request, cursor))


async def create_subaccount(call: Call[schemas.NoQuery, schemas.NewSubaccount]) -> Result:
    """Create a subaccount; a key bound to one cannot."""
    return await call.answer(
        _show_subaccount,
        subaccounts.create_subaccount,
        bound=call.bound,
        now=call.now,
        **call.body.model_dump(),
    )


async def get_subaccount(call: Call[schemas.NoQuery, None]) -> Result:
    """Return one subaccount."""
    return _show_subaccount(
        await call.read(subaccounts.get_subaccount, call.path("subaccount"), bound=call.bound)
    )


async def update_subaccount(call: Call[schemas.NoQuery, schemas.SubaccountChanges]) -> Result:
    """Change name or external id."""
    return await call.answer(
        _show_subaccount,
        subaccounts.change_subaccount,
        call.path("subaccount"),
        call.body.model_dump(exclude_unset=True),
        bound=call.bound,
    )


async def delete_subaccount(call: Call[schemas.NoQuery, None]) -> Result:
    """Erase a subaccount with everything in it."""
    await call.write(
        subaccounts.retire_subaccount, call.path("subaccount"), bound=call.bound, now=call.now
    )
    await call.write(erase_some)
    return None


# --- API keys ---


def _show_key(found: ApiKey) -> dict[str, object]:
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
    rows = await call.read(stored_keys, subaccount_id=call.bound)
    return {"keys": [_show_key(row) for row in rows]}


async def create_key(call: Call[schemas.NoQuery, schemas.NewKey]) -> Result:
    """Create an API key; its secret is in this answer and nowhere else."""
    return await call.answer(
        _show_new_key,
        keys.create_key,
        name=call.body.name,
        scopes=call.body.scopes,
        subaccount_id=call.body.subaccount,
        bound=call.bound,
        now=call.now,
    )


def _show_new_key(made: tuple[ApiKey, str]) -> schemas.KeyWithSecret:
    return schemas.KeyWithSecret.model_validate({**_show_key(made[0]), "secret": made[1]})


async def delete_key(call: Call[schemas.NoQuery, None]) -> Result:
    """Revoke an API key at once; the last that may do everything stays."""
    await call.write(keys.revoke_key, call.path("key"), bound=call.bound)
    return None
