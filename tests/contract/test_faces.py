"""Every face tells the same busy time of the same rows (R22, R23).

One person, drawn at random: objects in each kind of calendar, holds, calendars that are fresh, out
of reach or gone. Then everybody is asked: the JSON face (from memory and the long way), several
people at once, slots of one minute, the public address, Google's shape, the CalDAV report, the
scheduling outbox, and the check a booking makes.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from gateway.api.app import build_api
from gateway.core.errors import Refused
from gateway.core.intervals import Interval, complement, merge
from gateway.services.accounts.roles import set_calendar_roles
from gateway.services.availability import check_span_free
from gateway.settings import Settings, load_settings
from gateway.store.access import keys, principals
from gateway.store.accounts.accounts import Keyring
from gateway.store.booking import bookings, schedules
from gateway.store.engine import Database, lock_principal
from gateway.store.objects import collections
from storage_plugin.server import build_application
from tests.services.people import DAY, HOUR, Person, connect, event, utc
from tests.storage_plugin.dav import Dav
from tests.storage_plugin.test_scheduling import question, told

MINUTE = 60
NOW = int(time.time()) // MINUTE * MINUTE
FIRST = NOW - NOW % DAY + 3 * DAY
FBTYPE = {"busy": "BUSY", "unknown": "BUSY", "unavailable": "BUSY-UNAVAILABLE"}

AiohttpClient = Callable[..., Awaitable[TestClient[Any, Any]]]
Rows = list[tuple[int, int, str]]


@dataclass
class Faces:
    """An API and a CalDAV server over one database."""

    database: Database
    keyring: Keyring
    client: TestClient[Any, Any]
    application: object
    subaccount: str
    secret: str

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request with the key; return the JSON."""
        headers = {"Authorization": f"Bearer {self.secret}", **options.pop("headers", {})}
        answer = await self.client.request(method, path, headers=headers, **options)
        found = await answer.json(content_type=None)
        assert answer.status < 300, found
        return found


@pytest.fixture
async def faces(
    sqlite_database: Database, keyring: Keyring, aiohttp_client: AiohttpClient, tmp_path: Any
) -> Faces:
    """Both servers, and a subaccount with a key."""
    with sqlite_database.write() as session:
        subaccount = principals.create_subaccount(session, name="Acme", now=NOW)
        _, secret = keys.create_key(
            session,
            name="all",
            scopes=frozenset({"platform"}),
            subaccount_id=subaccount.id,
            now=NOW,
        )
    app = build_api(load_settings(), sqlite_database, keyring, sync=None, clock=time.time)  # type: ignore[arg-type]
    application = build_application(Settings(data_dir=tmp_path), sqlite_database)
    client = await aiohttp_client(app)
    return Faces(sqlite_database, keyring, client, application, subaccount.id, secret)


# --- somebody ---


@dataclass(frozen=True)
class Row:
    """One object to be; times in minutes after the first day's midnight."""

    where: str
    start: int
    length: int
    lines: tuple[str, ...]

    def body(self) -> str:
        """Return the object."""
        start = FIRST + self.start * MINUTE
        if "all-day" in self.lines:
            first = datetime.fromtimestamp(start, UTC)
            tail = ";VALUE=DATE:" + first.strftime("%Y%m%d")
            rest = [line for line in self.lines if line != "all-day"]
            return event(tail, tail, "TRANSP:OPAQUE", *rest).replace(f"DTEND{tail}\r\n", "")
        if "odd-zone" in self.lines:
            tail = utc(start).replace(":", ";TZID=Nowhere/Odd:").rstrip("Z")
            return event(tail, tail, "DURATION:PT1H").replace(f"DTEND{tail}\r\n", "")
        return event(utc(start), utc(start + self.length * MINUTE), *self.lines)


LINES = st.sampled_from(
    [
        (),
        (),
        ("STATUS:TENTATIVE",),
        ("STATUS:CANCELLED",),
        ("TRANSP:TRANSPARENT",),
        ("RRULE:FREQ=DAILY;COUNT=3",),
        ("RRULE:FREQ=HOURLY;INTERVAL=7;COUNT=9",),
        ("RRULE:FREQ=WEEKLY",),
        ("X-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT25M",),
        ("ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:ann@icloud.example", "ORGANIZER:mailto:x@y.z"),
        ("all-day",),
        ("odd-zone",),
    ]
)
ROW = st.builds(
    Row,
    st.sampled_from(["home", "work", "team", "platform", "local"]),
    st.integers(-DAY // MINUTE, 3 * DAY // MINUTE),
    st.integers(0, 400),
    LINES,
)
STATES = st.sampled_from(["fresh", "fresh", "fresh", "stale", "lost", "never", "gone"])
SPAN = st.tuples(st.integers(-600, 2000) | st.just(398 * DAY // MINUTE), st.integers(1, 2500))


def somebody(faces: Faces, rows: Iterable[Row], state: str, blocks: bool) -> Person:
    """Create a person whose Work calendar is in the given state."""
    with faces.database.write() as session:
        made = principals.create_principal(
            session,
            subaccount_id=faces.subaccount,
            name="Ann",
            time_zone="America/New_York",
            now=NOW,
        )
    person = connect(faces.database, faces.keyring, made, number=uuid4().hex[:9])
    with faces.database.write() as session:
        set_calendar_roles(
            session,
            made.id,
            linked=person.calendar["home"],
            conflicts=[person.calendar["work"], person.calendar["team"]],
            linked_blocks=blocks,
            now=NOW,
        )
        collections.create_collection(
            session, principal_id=made.id, name="local", kind="local", display_name="L", now=NOW
        )
    for row in rows:
        person.put(row.where, row.body(), now=NOW)
    for name in ("home", "work", "team"):
        person.set_calendar(name, state="ok", synced_at=NOW)
    changes: dict[str, dict[str, Any]] = {
        "stale": {"synced_at": NOW - 2 * HOUR},
        "lost": {"state": "failed", "synced_at": NOW - 3 * DAY},
        "never": {"state": "never", "synced_at": None},
        "gone": {"state": "gone"},
    }
    person.set_calendar("work", **changes.get(state, {"state": "ok"}))
    return person


# --- the faces ---


def text(epoch: int) -> str:
    """Write a time as the API takes it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(value: str) -> int:
    """Read a time the API wrote."""
    return int(datetime.fromisoformat(value).timestamp())


def read_rows(found: Iterable[dict[str, str]]) -> Rows:
    """Read JSON periods."""
    return [(epoch(row["start"]), epoch(row["end"]), row["status"]) for row in found]


def read_calendar(body: bytes) -> Rows:
    """Read a VFREEBUSY with a foreign parser, as (start, end, FBTYPE)."""
    (component,) = Calendar.from_ical(body).walk("VFREEBUSY")
    found = component.get("FREEBUSY", [])
    return sorted(
        (int(item.start.timestamp()), int(item.end.timestamp()), item.params["FBTYPE"])
        for item in (found if isinstance(found, list) else [found])
    )


def by_fbtype(rows: Rows) -> Rows:
    """Rewrite statuses as iCalendar says them, merged."""
    kinds: dict[str, list[Interval]] = {}
    for start, end, status in rows:
        kinds.setdefault(FBTYPE.get(status, "BUSY-TENTATIVE"), []).append((start, end))
    return sorted((a, b, kind) for kind, spans in kinds.items() for a, b in merge(spans))


async def ask_json(faces: Faces, person: Person, window: Interval) -> list[Rows]:
    """Ask the JSON faces: from memory, the long way, together with others, behind the address."""
    asked = {"start": text(window[0]), "end": text(window[1])}
    who = person.principal.id
    path = f"/v1/principals/{who}/freebusy"
    quick = await faces.call("GET", path, params=asked)
    again = await faces.call("GET", path, params=asked)
    long = await faces.call("GET", path, params={**asked, "time_zone": "Asia/Tokyo"})
    many = await faces.call("POST", "/v1/freebusy", json={"principals": [who], **asked})
    public = open_address(faces, person)
    behind = await faces.call("GET", public, params={**asked, "format": "application/json"})
    answers = [quick, again, long, many["principals"][who], behind]
    assert len({answer["complete"] for answer in answers}) == 1
    return [read_rows(answer["busy"]) for answer in answers]


def open_address(faces: Faces, person: Person) -> str:
    """Make an exact public address."""
    with faces.database.write() as session:
        _, secret = schedules.create_token(
            session, person.principal.id, label="", detail="exact", now=NOW
        )
    return f"/freebusy/{secret}"


async def ask_calendars(faces: Faces, person: Person, window: Interval) -> list[Rows]:
    """Ask the faces that speak iCalendar: the public address, the CalDAV report, the outbox."""
    public = open_address(faces, person)
    params = {"start": text(window[0]), "end": text(window[1])}
    answer = await faces.client.get(public, params=params)
    with faces.database.write() as session:
        login, secret = principals.create_login(
            session, principal_id=person.principal.id, kind="device", now=NOW
        )
        me = f"mailto:{min(bookings.owner_addresses(session, person.principal.id))}"
    span = f'start="{utc(window[0])[1:]}" end="{utc(window[1])[1:]}"'
    device = Dav(faces.application, login.login, secret)
    report = device.request(
        "REPORT",
        f"/{person.principal.id}/",
        f'<free-busy-query xmlns="urn:ietf:params:xml:ns:caldav"><time-range {span}/>'
        "</free-busy-query>",
        depth="1",
    )
    start, end = utc(window[0])[1:], utc(window[1])[1:]
    outbox = f"/{person.principal.id}/outbox/"
    whom = f"/{person.principal.id}/"
    reply = device.post(outbox, question(whom, organizer=me, start=start, end=end))
    assert (answer.status, report.status, reply.status) == (200, 200, 200)
    _, calendar = told(reply)[whom]
    return [read_calendar(body) for body in (await answer.read(), report.body, calendar.encode())]


async def ask_google(faces: Faces, person: Person, window: Interval) -> list[Interval]:
    """Ask in Google's shape."""
    who = person.principal.id
    body = {"timeMin": text(window[0]), "timeMax": text(window[1]), "items": [{"id": who}]}
    found = await faces.call("POST", "/v1/compat/google/freeBusy", json=body)
    busy = found["calendars"][who]["busy"]
    return [(epoch(row["start"]), epoch(row["end"])) for row in busy]


async def ask_slots(faces: Faces, person: Person, window: Interval) -> list[list[Interval]]:
    """Return what the slots of one minute leave out: of a schedule and of a single question."""
    asked = {"start": text(window[0]), "end": text(window[1])}
    rules = {"principals": [person.principal.id], "duration_minutes": 1}
    one = await faces.call("POST", "/v1/availability", json={**rules, **asked})
    made = await faces.call("POST", "/v1/schedules", json={"name": "Minutes", **rules})
    two = await faces.call("GET", f"/v1/schedules/{made['id']}/slots", params=asked)
    offered = [
        merge((epoch(slot["start"]), epoch(slot["end"])) for slot in found["slots"])
        for found in (one, two)
    ]
    return [complement(spans, window) for spans in offered]


def is_bookable(faces: Faces, person: Person, span: Interval) -> bool:
    """Ask what a booking asks inside its unit."""
    with faces.database.read() as session:
        try:
            check_span_free(session, person.principal.id, [span], now=int(time.time()))
        except Refused:
            return False
    return True


@pytest.mark.rule("R22", "R23", "R25")
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rows=st.lists(ROW, max_size=8),
    held=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 90)), max_size=2),
    state=STATES,
    blocks=st.booleans(),
    span=SPAN,
)
async def test_all_faces_agree(
    faces: Faces,
    rows: list[Row],
    held: list[tuple[int, int]],
    state: str,
    blocks: bool,
    span: tuple[int, int],
) -> None:
    person = somebody(faces, rows, state, blocks)
    with faces.database.write() as session:
        lock_principal(session, person.principal.id)
        for start, length in held:
            begin = FIRST + start * MINUTE
            bookings.create_hold(
                session,
                person.principal.id,
                (begin, begin + length * MINUTE),
                expires_at=NOW + 900,
                now=NOW,
            )
    window = (FIRST + span[0] * MINUTE, FIRST + (span[0] + span[1]) * MINUTE)
    expected, *others = await ask_json(faces, person, window)
    assert others == [expected] * 4
    assert await ask_calendars(faces, person, window) == [by_fbtype(expected)] * 3
    taken = merge((start, end) for start, end, _ in expected)
    assert await ask_google(faces, person, window) == taken
    assert await ask_slots(faces, person, window) == [taken, taken]
    edges = {moment for pair in taken for moment in pair} | {window[0]}
    for moment in sorted(edges)[:8]:
        for probe in ((moment, moment + MINUTE), (moment - MINUTE, moment)):
            if window[0] <= probe[0] and probe[1] <= window[1]:
                free = not any(a < probe[1] and probe[0] < b for a, b in taken)
                assert is_bookable(faces, person, probe) == free
