"""A person with a phone, a platform that books, and time that passes at once.

What the tests of this folder share: :class:`Person` acts on both sides, :func:`pass_time` lets
the worker run on the virtual clock, :func:`differences` compares both sides when all is quiet.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from gateway.core.availability.merge import BusyRow, coalesce_rows
from gateway.core.availability.timeline import FreeBusy
from gateway.core.errors import GatewayError
from gateway.core.ical.objects import peek_uid
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import BusyRules, default_window, expand
from gateway.lookalike.server import Lookalike
from gateway.services import objects as booking
from gateway.services.availability import free_busy
from gateway.services.objects import Place, Write
from gateway.store.access import principals
from gateway.store.accounts import calendars
from gateway.store.engine import Database, Session
from gateway.store.objects import collections, objects
from gateway.store.objects.objects import StoredObject
from gateway.store.outbox import outbox
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import Worker
from tests.sync.conftest import ZONE, Clock, Site, create_principal, event

HOUR = 3600
DAY = 86_400
MIRRORED = ("linked", "conflict")


def stamp(moment: float) -> str:
    """A moment as it stands in an event, without the ``Z``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%S")


def timed(uid: str, start: float, hours: float = 1, *more: str, summary: str = "Dentist") -> bytes:
    """An event of some hours at a moment (UTC epoch seconds)."""
    return event(uid, stamp(start), stamp(start + hours * HOUR), *more, summary=summary)


def weekly(uid: str, start: float, count: int = 6) -> bytes:
    """A weekly series of one hour each."""
    return timed(uid, start, 1, f"RRULE:FREQ=WEEKLY;COUNT={count}")


def _anything(_found) -> None:
    """Whatever is there may be written over."""


@dataclass
class Person(Site):
    """A principal with an account: the phone on one side, a booking platform on the other."""

    names: set[str] = field(default_factory=set)
    """Every upstream name the ledger ever allowed."""

    _session: Session | None = None

    def read(self, function: Callable, *args, **kwargs):
        """Read in a unit of its own, or in that of :meth:`snapshot`."""
        if self._session is None:
            return super().read(function, *args, **kwargs)
        return function(self._session, *args, **kwargs)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything read meanwhile be of one moment, and of one unit."""
        with self.database.read() as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    # --- the platform ---

    def book_at(self, uid: str, start: float, hours: float = 1, *, summary: str = "Visit") -> bool:
        """Book or change an appointment through the booking service; False when refused."""
        return self.write(uid, timed(uid, start, hours, summary=summary), "platform")

    def block(self, uid: str, start: float, hours: float = 1) -> bool:
        """Block time by hand on a device: never to go upstream (R14)."""
        return self.write(uid, timed(uid, start, hours, summary="Private"), "device")

    def write(self, uid: str, body: bytes, login_kind: principals.LoginKind) -> bool:
        place = Place(self.principal_id, "platform", f"{uid}.ics")
        write = Write(place, booking.parse(body), login_kind, allow_overlap=True)
        try:
            with self.database.write() as session:
                booking.put(session, write, None, check=_anything, now=int(self.clock.time))
        except GatewayError:
            return False
        return True

    def withdraw(self, uid: str) -> None:
        """Cancel an appointment or free blocked time through the booking service."""
        place = Place(self.principal_id, "platform", f"{uid}.ics")
        with self.database.write() as session:
            booking.delete(session, place, check=_anything, now=int(self.clock.time))

    def local_uids(self, kind: str = "appointment") -> list[str]:
        """UIDs of what is in ``platform/`` now."""
        return [item.uid for item in self.platform_objects() if item.kind == kind]

    def platform_objects(self) -> list[StoredObject]:
        """What is in ``platform/`` now, by name."""
        return self.read(_platform_objects, self.principal_id)

    # --- what the gateway says ---

    def availability(self, window: Interval | None = None) -> FreeBusy:
        """Busy time as every face answers it, for 60 days unless told otherwise."""
        now = int(self.clock.time)
        principal = self.read(principals.get_principal, self.principal_id)
        return self.read(free_busy, principal, window or (now, now + 60 * DAY), now=now)

    def problems(self) -> set[str]:
        """Every problem code the person can see now."""
        connection = self.connection()
        codes = {connection.problem, *(message.reason for message in self.messages())}
        known = self.read(calendars.list_calendars, self.connection_id)
        codes |= {calendar.told_problem for calendar in known if calendar.role != "none"}
        if connection.state != "ok":
            codes.add(connection.state)
        return {code for code in codes if code is not None}

    def retry_parked(self) -> set[str]:
        """Press "retry" on every parked push, as a person does; returns the reasons."""
        parked = [message for message in self.messages() if message.state == "parked"]
        with self.database.write() as session:
            for message in parked:
                outbox.unpark(session, message.id, now=int(self.clock.time))
        return {message.reason for message in parked if message.reason}

    def note_names(self) -> None:
        """Remember which upstream names the ledger allows at this moment."""
        self.names.update(row.upstream_name for row in self.ledger())

    # --- what iCloud holds ---

    def true_busy(self, window: Interval) -> list[BusyRow]:
        """Busy time computed afresh from iCloud's bodies and the objects of ``platform/``."""
        connection = self.connection()
        addresses = frozenset(connection.addresses)
        span = default_window(int(self.clock.time))
        rows = []
        for calendar in self.in_use():
            if calendar.role not in MIRRORED or not calendar.blocks or calendar.state == "gone":
                continue
            rules = BusyRules(ZoneInfo(ZONE), addresses, all_day=calendar.all_day)
            for body in self.foreign(calendar).values():
                rows += _rows(body.data, span, rules)
        for item in self.platform_objects():
            always = item.kind == "appointment"
            rules = BusyRules(ZoneInfo(ZONE), addresses, always_busy=always)
            rows += _rows(item.body, span, rules)
        return coalesce_rows(rows, window)

    def in_use(self) -> list[calendars.UpstreamCalendar]:
        """The calendars that are read, as stored."""
        known = self.read(calendars.list_calendars, self.connection_id)
        return [calendar for calendar in known if calendar.role != "none"]

    def foreign(self, calendar: calendars.UpstreamCalendar) -> dict[str, object]:
        """What a calendar holds upstream that is not ours: {name: resource}."""
        own = {row.upstream_uid for row in self.ledger() if row.state != "deleted"}
        there = self.account.calendar(id_of(calendar)).resources
        return {name: one for name, one in there.items() if peek_uid(one.data) not in own}

    def all_foreign(self) -> list[tuple[str, str]]:
        """Every event of the mirrored calendars that is not ours, as (calendar id, name)."""
        return sorted(
            (id_of(calendar), name)
            for calendar in self.in_use()
            if calendar.role in MIRRORED
            for name in self.foreign(calendar)
        )

    def found_upstream(self, uid: str) -> list[tuple[str, str]]:
        """Where a UID is upstream: (calendar id, name), in every calendar of the account."""
        return [
            (calendar.id, name)
            for calendar in self.account.calendars.values()
            for name, resource in calendar.resources.items()
            if peek_uid(resource.data) == uid
        ]


def id_of(calendar: calendars.UpstreamCalendar) -> str:
    """The look-alike's id of a stored calendar."""
    return calendar.path.rstrip("/").rpartition("/")[2]


def _platform_objects(session: Session, principal_id: str) -> list[StoredObject]:
    platform = collections.find_collection(session, principal_id, "platform")
    names = sorted(objects.list_names(session, platform.id))
    return [objects.find_object(session, platform.id, name) for name in names]


@lru_cache(maxsize=4096)
def _rows(body: bytes, span: Interval, rules: BusyRules) -> tuple[tuple[int, int, str], ...]:
    found = expand(body, span, rules).instances
    return tuple((one.busy_start, one.busy_end, one.fbtype) for one in found)


def make_person(
    server: Lookalike,
    context: SyncContext,
    database: Database,
    clock: Clock,
    email: str = "robin@icloud.com",
) -> Person:
    """A new account with an app-specific password and a principal for it, not connected yet."""
    account = server.world.add_account(email)
    return Person(
        server=server,
        account=account,
        password=account.issue_app_password(),
        context=context,
        database=database,
        clock=clock,
        principal_id=create_principal(database, int(clock.time), name=email),
    )


def fill(person: Person) -> None:
    """Put events into ``home`` (linked) and ``work`` (conflict): single ones and a series."""
    start = person.clock.time // HOUR * HOUR + DAY
    for number in range(5):
        person.account.put("home", timed(f"home-{number}", start + number * DAY))
        person.account.put("work", timed(f"work-{number}", start + number * DAY + 2 * HOUR))
    person.account.put("home", weekly("series", start + 4 * HOUR))


# --- time ---


async def pass_time(
    worker: Worker,
    clock: Clock,
    seconds: float,
    *,
    each: Callable[[], bool | None] = lambda: None,
) -> int:
    """Let the worker run for some virtual seconds; returns how often something was due.

    ``each`` is called after every round, and ends the run early with True.
    """
    end = clock.time + seconds
    rounds = 0
    while True:
        started = await worker.tick()
        await worker.idle()
        rounds += started > 0
        if each() or clock.time >= end:
            return rounds
        clock.time = min(end, max(next_due(worker.context.store.database), clock.time + 1))


def next_due(database: Database) -> float:
    """When the worker has something to do next."""
    query = """
        SELECT min(at) FROM (
            SELECT next_sync_at AS at FROM connections WHERE state IN ('ok', 'credential-revoked')
            UNION ALL
            SELECT CASE
                WHEN failures > 0 AND next_sync_at > outbox.due_at THEN next_sync_at
                ELSE outbox.due_at END
            FROM outbox JOIN connections ON connections.id = outbox.connection_id
            WHERE outbox.state = 'pending' AND connections.state = 'ok'
                AND outbox.id IN (SELECT min(id) FROM outbox GROUP BY ledger_id)
            UNION ALL
            SELECT lease_until FROM connections WHERE lease_owner IS NOT NULL
        ) AS due
    """
    with database.read() as session:
        return float(session.exec_driver_sql(query).scalar() or 0)
