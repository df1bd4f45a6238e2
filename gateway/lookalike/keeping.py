"""A world kept in a file: a look-alike that starts again goes on where it stopped.

Kept are accounts, passwords, calendars, every object with its ETag and the whole history of changes
(tokens stay valid), used-up UIDs, mails, and the writes of the log. Switches, the clock and the
reads of the log are not: they belong to the run.
"""

import asyncio
import json
import os
import tempfile
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from gateway.lookalike.world.accounts import Account, Calendar, Kind
from gateway.lookalike.world.contents import Contents, Resource, mint_etags_from
from gateway.lookalike.world.journal import Entry
from gateway.lookalike.world.world import Mail, World

SAVE_EVERY_S = 0.3
_READS = ("GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT")
_ACCOUNT = ("email", "name", "dsid", "partition", "former_partitions", "puts")
_CALENDAR = (
    "id", "name", "mode", "shared_out", "color", "symbolic_color", "order", "source", "extra",
)  # fmt: skip


def load_world(path: Path) -> tuple[World, Any]:
    """Read a world and what was kept with it.

    Raises ``FileNotFoundError``, and ``ValueError`` for a file that is no kept world.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return _world_of(saved), saved["with"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no world of the look-alike") from error


def save_world(path: Path, world: World, extra: Any) -> None:
    """Write a world, mode 0600, whole or not at all; ``extra`` is kept with it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # created with mode 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({**_plain_world(world), "with": extra}, file)
    Path(temporary).replace(path)


@asynccontextmanager
async def kept(path: Path | None, world: World, extra: Any) -> AsyncIterator[None]:
    """Keep the world in the file as long as the block runs, and once more at its end."""
    if path is None:
        yield
        return
    save_world(path, world, extra)
    saving = asyncio.create_task(_keep(path, world, extra))
    try:
        yield
    finally:
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        save_world(path, world, extra)


async def _keep(path: Path, world: World, extra: Any) -> None:
    last = None
    while True:
        now = tuple(_marks(world))
        if now != last:
            save_world(path, world, extra)
            last = now
        await asyncio.sleep(SAVE_EVERY_S)


def _marks(world: World) -> Iterator[Any]:
    """Yield what changes with every change worth keeping."""
    for account in world.accounts.values():
        yield account.email, frozenset(account.app_passwords), account.puts
        for calendar in account.calendars.values():
            contents = calendar.contents
            yield calendar.id, calendar.name, contents.revision, contents.generation


# --- to plain values ---


def _plain_world(world: World) -> dict[str, Any]:
    accounts = list(world.accounts.values())
    contents = {
        str(calendar.contents.uuid): calendar.contents
        for account in accounts
        for calendar in account.calendars.values()
    }
    owners = {one.owner.casefold() for one in contents.values()}
    return {
        "contents": {name: _plain_contents(one) for name, one in contents.items()},
        "used_uids": {owner: sorted(world.ledger(owner).dead) for owner in sorted(owners)},
        "hidden_uids": {owner: sorted(world.ledger(owner).hidden) for owner in sorted(owners)},
        "accounts": [_plain_account(account) for account in accounts],
        "mails": [mail.as_json() for mail in world.mails],
        "writes": [asdict(e) for e in world.journal.entries if e.method not in _READS],
    }


def _plain_account(account: Account) -> dict[str, Any]:
    return {
        **{name: getattr(account, name) for name in _ACCOUNT},
        "aliases": sorted(account.aliases),
        "app_passwords": sorted(account.app_passwords),
        "calendars": [
            {
                **{name: getattr(calendar, name) for name in _CALENDAR},
                "kind": calendar.kind.value,
                "components": calendar.components,
                "contents": str(calendar.contents.uuid),
            }
            for calendar in account.calendars.values()
        ],
    }


def _plain_contents(contents: Contents) -> dict[str, Any]:
    return {
        "owner": contents.owner,
        "participants": sorted(contents.participants),
        "dead_names": sorted(contents.dead_names),
        "revision": contents.revision,
        "generation": contents.generation,
        "changes": [[name, *change] for name, change in contents.changes.items()],
        "change_times": contents.change_times,
        "passages": contents.passages,
        "resources": [
            {
                **{f.name: getattr(one, f.name) for f in fields(one)},
                "data": b64encode(one.data).decode("ascii"),
                "mailed": sorted(one.mailed),
                "previous": None,  # only a lagging answer needs it
            }
            for one in contents.resources.values()
        ],
    }


# --- and back ---


def _world_of(saved: dict[str, Any]) -> World:
    mint_etags_from(int(time.time() * 1000))  # far beyond any given before
    world = World()
    contents = {name: _contents_of(world, name, one) for name, one in saved["contents"].items()}
    for kind, table in (("dead", saved["used_uids"]), ("hidden", saved["hidden_uids"])):
        for owner, uids in table.items():
            getattr(world.ledger(owner), kind).update(uids)
    for one in saved["accounts"]:
        account = _account_of(world, one, contents)
        world.accounts[account.email.casefold()] = account
        world.by_dsid[account.dsid] = account
    world.mails = [Mail(**mail) for mail in saved["mails"]]
    for entry in saved["writes"]:
        world.journal.entries.append(Entry(**entry))
    return world


def _account_of(world: World, saved: dict[str, Any], contents: dict[str, Contents]) -> Account:
    account = Account(world, saved["email"], name=saved["name"], dsid=saved["dsid"])
    for name in _ACCOUNT:
        setattr(account, name, saved[name])
    account.aliases = set(saved["aliases"])
    account.app_passwords = set(saved["app_passwords"])
    for one in saved["calendars"]:
        components = one["components"]
        calendar = Calendar(
            kind=Kind(one["kind"]),
            contents=contents[one["contents"]],
            components=None if components is None else tuple(components),
            **{name: one[name] for name in _CALENDAR},
        )
        account.calendars[calendar.id] = calendar
    return account


def _contents_of(world: World, name: str, saved: dict[str, Any]) -> Contents:
    ledger = world.ledger(saved["owner"])
    contents = Contents(saved["owner"], ledger, participants=set(saved["participants"]))
    contents.uuid = uuid.UUID(name)
    contents.dead_names = set(saved["dead_names"])
    contents.revision, contents.generation = saved["revision"], saved["generation"]
    contents.changes = {one: (number, deleted) for one, number, deleted in saved["changes"]}
    contents.change_times = saved["change_times"]
    contents.passages = {
        one: [(number, deleted) for number, deleted in passages]
        for one, passages in saved["passages"].items()
    }
    for one in saved["resources"]:
        span = one["span"]
        resource = Resource(
            **one
            | {
                "data": b64decode(one["data"]),
                "mailed": frozenset(one["mailed"]),
                "span": None if span is None else tuple(span),
            }
        )
        contents.resources[resource.name] = resource
        if resource.uid:
            ledger.holders[resource.uid] = (contents, resource.name)
    return contents
