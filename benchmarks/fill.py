"""A gateway installation in a folder, filled through the store: nothing is synced."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks.events import OWNER, ZONE, Made
from gateway.cli.commands.setup import initialise
from gateway.core.recurrence.expand import default_window
from gateway.core.recurrence.model import BusyRules
from gateway.expansion.prepare import MirrorRules, RawObject, prepare_mirrored
from gateway.services.accounts.roles import set_calendar_roles
from gateway.services.objects import parse
from gateway.services.objects import prepare as expand_object
from gateway.settings import Settings
from gateway.store.access import keys, principals
from gateway.store.access.principals import Principal
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.booking.loading import Owner
from gateway.store.engine import Database, Session
from gateway.store.objects import collections
from gateway.store.objects.objects import PreparedObject, save_objects

_AT_ONCE = 250
Prepare = Callable[[Made], PreparedObject]


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled installation, with everything a client needs."""

    folder: Path
    principal_id: str
    key: str
    device: tuple[str, str]
    platform: tuple[str, str]
    mirrors: tuple[str, ...]


def fill(
    folder: Path,
    mirrored: Sequence[Sequence[Made]],
    platform: Sequence[Made] = (),
    *,
    database_url: str = "",
) -> Filled:
    """Make an installation with one connected principal.

    ``mirrored`` are the objects of each upstream calendar, the first one linked, the others
    conflict calendars; ``platform`` are Blocked Slots of the principal's own collection. Without
    ``database_url`` the store is SQLite in the folder.
    """
    settings = Settings(data_dir=folder, database_url=database_url)
    key = initialise(settings).admin_key
    database, keyring = Database(settings.database), Keyring.load(settings.keyring)
    now = int(time.time())
    try:
        with database.write() as session:
            principal = _principal(session, now)
            logins = [_login(session, principal, kind, now) for kind in ("device", "platform")]
            ids = _mirrors(session, keyring, principal, len(mirrored), now)
            key = keys.create_key(
                session,
                name="booking page",
                scopes=frozenset({"freebusy:read"}),
                subaccount_id=principal.subaccount_id,
                now=now,
            )[1]
        for collection_id, objects in zip(ids, mirrored, strict=True):
            _save(database, collection_id, objects, _as_mirrored(now), now)
        with database.read() as session:
            own = collections.find_collection(session, principal.id, collections.PLATFORM_NAME)
            names = [collections.get_collection(session, one).name for one in ids]
        assert own is not None
        _save(database, own.id, platform, _as_blocked_slot(principal, now), now)
    finally:
        database.close()
    return Filled(folder, principal.id, key, logins[0], logins[1], tuple(names))


def _principal(session: Session, now: int) -> Principal:
    subaccount = principals.create_subaccount(session, name="Practice", now=now)
    return principals.create_principal(
        session,
        subaccount_id=subaccount.id,
        name="Anna Example",
        email=OWNER,
        time_zone=ZONE,
        now=now,
    )


def add_person(session: Session, colleague: str | None, name: str) -> tuple[str, tuple[str, str]]:
    """Add somebody without an account to the tenant of ``colleague``, or to a new one.

    Returns the id and a device login.
    """
    now = int(time.time())
    if colleague is None:
        tenant = principals.create_subaccount(session, name=name, now=now).id
    else:
        tenant = principals.get_principal(session, colleague).subaccount_id
    made = principals.create_principal(
        session, subaccount_id=tenant, name=name, time_zone=ZONE, now=now
    )
    return made.id, _login(session, made, "device", now)


def add_key(session: Session, principal_id: str) -> str:
    """Add an API key of the scope ``platform`` to a person's tenant; returns its secret."""
    tenant = principals.get_principal(session, principal_id).subaccount_id
    scopes = frozenset({"platform"})
    now = int(time.time())
    return keys.create_key(session, name="platform", scopes=scopes, subaccount_id=tenant, now=now)[
        1
    ]


def _login(session: Session, principal: Principal, kind: str, now: int) -> tuple[str, str]:
    made, secret = principals.create_login(
        session,
        principal_id=principal.id,
        kind="device" if kind == "device" else "platform",
        now=now,
    )
    return made.login, secret


def _mirrors(
    session: Session, keyring: Keyring, principal: Principal, count: int, now: int
) -> list[str]:
    """Connect an account with ``count`` calendars in use and return their mirrors' ids."""
    connection = accounts.create_connection(
        session,
        keyring,
        principal_id=principal.id,
        credential=Credential(OWNER, "abcd-efgh-ijkl-mnop"),
        account_number="10000000001",
        principal_path="/10000000001/principal/",
        home_path="/10000000001/calendars/",
        addresses=[OWNER],
        trust_for_s=86_400,
        now=now,
    )
    ids = [
        calendars.create_calendar(
            session,
            connection_id=connection.id,
            path=f"/10000000001/calendars/{number}/",
            values={"name": f"Calendar {number}", "kind": "calendar", "writable": True},
        )
        for number in range(count)
    ]
    if ids:
        set_calendar_roles(session, principal.id, linked=ids[0], conflicts=ids[1:], now=now)
    mirrors = []
    for calendar_id in ids:
        calendars.update_calendar(session, calendar_id, state="ok", synced_at=now)
        mirror = collections.find_mirror(session, calendar_id)
        assert mirror is not None
        mirrors.append(mirror.id)
    return mirrors


def _as_mirrored(now: int) -> Prepare:
    rules = MirrorRules(
        busy=BusyRules(zone=ZoneInfo(ZONE), owner_addresses=frozenset({OWNER})),
        window=default_window(now),
        detail="full",
    )

    def prepare(made: Made) -> PreparedObject:
        ready = prepare_mirrored(RawObject(made.name, f'"{made.uid[:8]}"', made.body), rules)
        return PreparedObject(
            name=ready.name,
            uid=ready.uid,
            kind="mirrored",
            component=ready.component,
            etag=ready.etag,
            body=ready.body,
            expansion=ready.expansion,
            served=ready.served,
            upstream_name=ready.upstream_name,
            upstream_etag=ready.upstream_etag,
        )

    return prepare


def blocked_slot(made: Made, principal: Principal, now: int) -> PreparedObject:
    """Expand a made event as a person's own Blocked Slot."""
    owner = Owner(
        principal_id=principal.id,
        subaccount_id=principal.subaccount_id,
        time_zone=principal.time_zone,
        addresses=frozenset({OWNER}),
        window=default_window(now),
    )
    return expand_object(parse(made.body), owner, name=made.name, kind="blocked-slot")


def _as_blocked_slot(principal: Principal, now: int) -> Prepare:
    return lambda made: blocked_slot(made, principal, now)


def _save(
    database: Database, collection_id: str, objects: Sequence[Made], prepare: Prepare, now: int
) -> None:
    for first in range(0, len(objects), _AT_ONCE):
        prepared = [prepare(made) for made in objects[first : first + _AT_ONCE]]
        with database.write() as session:
            collection = collections.lock_collection(session, collection_id)
            save_objects(session, collection, prepared, now=now)
