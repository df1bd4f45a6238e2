"""A principal with a platform collection and a mirror, for the store's tests."""

from dataclasses import dataclass

import pytest

from gateway.core.recurrence.expand import Expansion, Instance
from gateway.core.status import FBType
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.engine import Database
from gateway.store.objects import collections, objects
from gateway.store.objects.collections import Collection

NOW = 1_790_000_000
WINDOW = (NOW - 31 * 86_400, NOW + 400 * 86_400)


@dataclass(frozen=True)
class Place:
    """Where a store test works: one principal, its collections, its connection."""

    database: Database
    principal: principals.Principal
    platform: Collection
    mirror: Collection
    connection: accounts.Connection
    calendar_id: str


@pytest.fixture
def place(database: Database, keyring: Keyring) -> Place:
    """One connected principal with the linked calendar ``home``."""
    with database.write() as session:
        subaccount = principals.create_subaccount(session, name="Acme", now=NOW)
        principal = principals.create_principal(
            session, subaccount_id=subaccount.id, name="Ann", time_zone="Europe/Berlin", now=NOW
        )
        connection = accounts.create_connection(
            session,
            keyring,
            principal_id=principal.id,
            credential=Credential("ann@icloud.example", "abcd-efgh-ijkl-mnop"),
            account_number="111",
            principal_path="/111/principal/",
            home_path="/111/calendars/",
            addresses=["Ann@icloud.example"],
            trust_for_s=86_400,
            now=NOW,
        )
        calendar_id = calendars.create_calendar(
            session,
            connection_id=connection.id,
            path="/111/calendars/home/",
            values={"name": "Home", "kind": "calendar", "writable": True},
        )
        calendars.update_calendar(session, calendar_id, role="linked", blocks=True)
        mirror_id = collections.create_collection(
            session,
            principal_id=principal.id,
            name="mirror-home",
            kind="mirror",
            display_name="Home",
            upstream_calendar_id=calendar_id,
            now=NOW,
        )
        platform = collections.find_collection(session, principal.id, "platform")
        assert platform is not None
        mirror = collections.get_collection(session, mirror_id)
    return Place(database, principal, platform, mirror, connection, calendar_id)


def prepared(
    name: str,
    *spans: tuple[int, int],
    uid: str | None = None,
    fbtype: FBType = FBType.BUSY,
    body: bytes = b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
    kind: objects.ObjectKind = "mirrored",
) -> objects.PreparedObject:
    """Return an object with one busy instance per span (epoch seconds)."""
    expansion = Expansion(
        instances=tuple(Instance(s, e, fbtype, s, e, "opaque", None) for s, e in spans),
        problems=(),
        window=WINDOW,
        recurring=len(spans) > 1,
        open_ended=False,
        zone_dependent=False,
        component="VEVENT",
        first_start=spans[0][0] if spans else None,
        last_end=spans[-1][1] if spans else None,
    )
    return objects.PreparedObject(
        name=name,
        uid=uid or name,
        kind=kind,
        component="VEVENT",
        etag=f'"{hash((name, spans, body)) & 0xFFFFFF:x}"',
        body=body,
        expansion=expansion,
        upstream_name=name,
        upstream_etag='"u1"',
    )
