"""``gateway keys``: the API keys, for whoever is at the machine; no key is needed for it (R46)."""

import time
from typing import Annotated, Any

import typer

from gateway.cli.options import ConfigOption, DataOption, opened, read_settings
from gateway.cli.output import JsonFlag, refusals, show, stdout, table
from gateway.core.errors import InvalidInput
from gateway.services.access import keys as api_keys
from gateway.store.access.keys import ApiKey, count_unbound_admins, list_keys
from gateway.store.engine import Session

SCOPES = ("admin", "platform", "freebusy:read")


def keys(
    add: Annotated[
        list[str] | None,
        typer.Option(help="Make a key of this scope: admin, platform, freebusy:read; repeatable."),
    ] = None,
    subaccount: Annotated[
        str | None, typer.Option(help="Id of the subaccount the new key is bound to.")
    ] = None,
    label: Annotated[str, typer.Option(help="What the new key is for.")] = "",
    remove: Annotated[str | None, typer.Option(help="Id of a key to revoke.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List, make or revoke API keys; a new admin key is made here when all others are lost."""
    if unknown := set(add or ()) - set(SCOPES):
        raise typer.BadParameter(f"{unknown.pop()} is none of {', '.join(SCOPES)}")
    if (subaccount or label) and not add:
        raise typer.BadParameter("--subaccount and --label belong to --add")
    changes = bool(add or remove)
    with (
        refusals(as_json=as_json),
        opened(read_settings(config, data), with_key=False) as gateway,
        gateway.database.write() if changes else gateway.database.read() as session,
    ):
        if remove:
            api_keys.delete_key(session, remove)
        made = _make(session, add, subaccount, label) if add else None
        listed = list_keys(session)
        locked = not count_unbound_admins(session)
    result: dict[str, Any] = {"keys": [_summary(key) for key in listed]}
    if made:
        result |= {"id": made[0].id, "key": made[1]}

    def text() -> None:
        if made:
            stdout.print(f"Key  {made[1]}  (shown this once)\n")
        rows = [[str(value or "–") for value in _summary(key).values()] for key in listed]
        table("id", "label", "scopes", "subaccount", "last used at", rows=rows, empty="No keys.")
        if locked:
            stdout.print("\nNo key may do everything: `gateway keys --add admin` makes one.")

    show(result, as_json=as_json, text=text)


def _make(
    session: Session, scopes: list[str], subaccount: str | None, label: str
) -> tuple[ApiKey, str]:
    if subaccount is None and api_keys.ADMIN not in scopes:
        raise InvalidInput(
            f"{api_keys.NEEDS_SUBACCOUNT} with --subaccount.", code="subaccount-required"
        )
    return api_keys.create_key(
        session,
        name=label or f"{' and '.join(sorted(set(scopes)))}, made on the machine",
        scopes=scopes,
        subaccount_id=subaccount,
        bound=None,
        now=int(time.time()),
    )


def _summary(key: ApiKey) -> dict[str, Any]:
    used = key.last_used_at
    return {
        "id": key.id,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "subaccount": key.subaccount_id,
        "last_used_at": None
        if used is None
        else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(used)),
    }
