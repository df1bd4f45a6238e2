"""Somebody with an iCloud account, for tests of the services: real rows, real expansion."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from gateway.core.ical.objects import parse_calendar_object
from gateway.core.recurrence.expand import BusyRules, default_window, expand
from gateway.store.access import principals
from gateway.store.access.principals import Principal
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Connection, Credential, Keyring
from gateway.store.engine import Database, lock_principal
from gateway.store.objects import collections, objects

NOW = 1_793_000_000  # 2026-10-26T07:33:20Z, a Monday
DAY = 86_400
HOUR = 3_600
MONDAY = NOW - NOW % DAY + 7 * DAY  # the Monday after, midnight UTC

KINDS = {
    "home": {"kind": "calendar", "writable": True, "refusal": None},
    "work": {"kind": "calendar", "writable": True, "refusal": None},
    "team": {"kind": "calendar", "writable": False, "refusal": "calendar-read-only"},
    "holidays": {"kind": "subscribed", "writable": False, "refusal": "calendar-subscribed"},
    "todo": {"kind": "reminders", "writable": True, "refusal": "calendar-no-events"},
    "inbox": {"kind": "scheduling", "writable": False, "refusal": "calendar-scheduling"},
}


@dataclass(frozen=True)
class Person:
    """A principal with a connection and one calendar of every kind, none chosen."""

    database: Database
    principal: Principal
    connection: Connection
    calendar: dict[str, str]

    def put(self, where: str, body: str, *, name: str | None = None, now: int = NOW) -> str:
        """Store an object in ``platform`` or in the mirror of a calendar; returns its id."""
        raw = body.encode()
        parsed = parse_calendar_object(raw)
        rules = BusyRules(
            zone=ZoneInfo(self.principal.time_zone),
            owner_addresses=frozenset({"ann@icloud.example"}),
        )
        is_mirror = where in self.calendar
        prepared = objects.PreparedObject(
            name=name or f"{uuid4()}.ics",
            uid=parsed.uid,
            kind="mirrored" if is_mirror else "blocked-slot",
            component=parsed.component,
            etag=parsed.etag,
            body=parsed.body,
            expansion=expand(raw, default_window(now), rules),
        )
        with self.database.write() as session:
            lock_principal(session, self.principal.id)
            found = (
                collections.find_mirror(session, self.calendar[where])
                if is_mirror
                else collections.find_collection(session, self.principal.id, where)
            )
            assert found is not None
            return objects.save_object(session, found, prepared, now=now).id

    def set_calendar(self, which: str, **changes: Any) -> None:
        """Change columns of a calendar, as a sync would."""
        with self.database.write() as session:
            calendars.update_calendar(session, self.calendar[which], **changes)

    def set_connection(self, **changes: Any) -> None:
        """Change columns of the connection."""
        with self.database.write() as session:
            accounts.update_connection(session, self.connection.id, **changes)


def make_person(
    database: Database, keyring: Keyring, *, zone: str = "Europe/Berlin", number: str = "111"
) -> Person:
    """Create a person with an account nobody has synced yet."""
    with database.write() as session:
        subaccount = principals.create_subaccount(session, name="Acme", now=NOW)
        principal = principals.create_principal(
            session, subaccount_id=subaccount.id, name="Ann", time_zone=zone, now=NOW
        )
    return connect(database, keyring, principal, number=number)


def connect(
    database: Database, keyring: Keyring, principal: Principal, *, number: str = "111"
) -> Person:
    """Give a principal an account nobody has synced yet."""
    with database.write() as session:
        connection = accounts.create_connection(
            session,
            keyring,
            principal_id=principal.id,
            credential=Credential(f"ann{number}@icloud.example", "abcd-efgh-ijkl-mnop"),
            account_number=number,
            principal_path=f"/{number}/principal/",
            home_path=f"/{number}/calendars/",
            addresses=["ann@icloud.example"],
            trust_for_s=DAY,
            now=NOW,
        )
        ids = {
            name: calendars.create_calendar(
                session,
                connection_id=connection.id,
                path=f"/{number}/calendars/{name}/",
                values={"name": name.title(), "color": "#FF2968FF", **values},
            )
            for name, values in KINDS.items()
        }
    return Person(database, principal, connection, ids)


def event(start: str, end: str, *lines: str, uid: str | None = None) -> str:
    """Return an object with one VEVENT; ``start`` and ``end`` are the properties' tails."""
    return "\r\n".join(
        [
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "PRODID:-//test//EN",
            "BEGIN:VEVENT",
            f"UID:{uid or uuid4()}",
            "DTSTAMP:20261001T000000Z",
            f"DTSTART{start}",
            f"DTEND{end}",
            "SUMMARY:Very secret",
            "LOCATION:Hidden place",
            *lines,
            "END:VEVENT",
            "END:VCALENDAR",
            "",
        ]
    )


def utc(at: int) -> str:
    """Return an epoch as the tail of a DTSTART in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime(":%Y%m%dT%H%M%SZ")


def meeting(start: int, hours: float = 1, *lines: str) -> str:
    """Return an object with one event in UTC."""
    return event(utc(start), utc(start + int(hours * HOUR)), *lines)
