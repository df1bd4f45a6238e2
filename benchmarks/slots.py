"""POST /v1/availability for 100 people against 100 single free/busy questions.

``gateway api`` on SQLite; every person has four calendars with 200 events in all. The question is
for half-hour slots in office hours over 31 days, of all people and of any; the single questions
ask the same 31 days, one person each. Warm is asked again and again; cold is asked after
everybody's busy time has changed, so that every timeline is built anew.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from benchmarks.events import ZONE, Mix, make_events
from benchmarks.fill import blocked_slot
from benchmarks.load import Connection, Refused, request_bytes
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import Server, gateway_part
from gateway.cli.commands.setup import initialise
from gateway.settings import Settings
from gateway.store.access import keys, principals
from gateway.store.access.principals import Principal
from gateway.store.engine import Database, Session
from gateway.store.objects import collections
from gateway.store.objects.objects import PreparedObject, save_objects
from gateway.store.tables import generations

DAYS = 31
CALENDARS = 4
TARGET = 1.5
WARM, COLD = "warm", "cold"
_OFFICE = [["09:00", "17:00"]]


@dataclass(frozen=True, slots=True)
class People:
    """An installation with many people."""

    database: Database
    ids: tuple[str, ...]
    key: str


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure both questions, warm and cold; with fewer people when ``quick``."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        people = _fill(Path(folder), 20 if quick else 100)
        try:
            with gateway_part("api", Path(folder)) as api:
                for require in ("all", "any"):
                    for state in (WARM, COLD):
                        yield _compare(api, people, require, state, quick=quick)
        finally:
            people.database.close()


def _compare(api: Server, people: People, require: str, state: str, *, quick: bool) -> Ratio:
    connection = Connection(api.address("api"))
    together, singles = _together(people, require), _singles(people)
    times = 1 if state == COLD else 5
    costs = in_turns(
        {
            "together": _cost(api, connection, people, [together] * times, state),
            "singles": _cost(api, connection, people, singles * times, state),
        },
        rounds=3 if quick else 5,
    )
    connection.close()
    count = len(people.ids)
    return Ratio(
        part="slots",
        case=f"POST availability, {count} people × {DAYS} days, {require}, {state}",
        against=f"{count} × GET free/busy",
        value=median_ratio(costs["together"], costs["singles"]),
        ours=min(costs["together"]) / times * 1000,
        theirs=min(costs["singles"]) / times * 1000,
        target=TARGET,
    )


def _cost(
    api: Server, connection: Connection, people: People, requests: Sequence[bytes], state: str
) -> Callable[[], float]:
    """Return a function that says what the requests cost the server, in CPU seconds."""

    def cost() -> float:
        if state == COLD:
            with people.database.write() as session:
                changed = generations.c.generation + 1
                session.execute(update(generations).values(generation=changed))
            time.sleep(0.05)
        began = api.cpu_s()
        for request in requests:
            answer = connection.send(request)
            if answer.status != 200:
                raise Refused(answer.body.decode())
        time.sleep(0.02)
        return api.cpu_s() - began

    return cost


def _window() -> dict[str, str]:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    end = start + timedelta(days=DAYS)
    return {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{end:%Y-%m-%dT%H:%M:%SZ}"}


def _together(people: People, require: str) -> bytes:
    days = ("monday", "tuesday", "wednesday", "thursday", "friday")
    body = {
        **_window(),
        "principals": list(people.ids),
        "duration_minutes": 30,
        "working_hours": dict.fromkeys(days, _OFFICE),
        "require": require,
    }
    headers = {"Authorization": f"Bearer {people.key}", "Content-Type": "application/json"}
    return request_bytes("POST", "/v1/availability", json.dumps(body).encode(), headers)


def _singles(people: People) -> list[bytes]:
    query = "&".join(f"{name}={value}" for name, value in _window().items())
    headers = {"Authorization": f"Bearer {people.key}"}
    return [
        request_bytes("GET", f"/v1/principals/{one}/freebusy?{query}", headers=headers)
        for one in people.ids
    ]


def _fill(folder: Path, count: int) -> People:
    settings = Settings(data_dir=folder)
    initialise(settings)
    database = Database(settings.database)
    made = make_events(Mix(count=200, days=200, open_ended=12), today=datetime.now(UTC).date())
    now = int(time.time())
    with database.write() as session:
        subaccount = principals.create_subaccount(session, name="Practice", now=now)
        _, key = keys.create_key(
            session,
            name="booking page",
            scopes=frozenset({"freebusy:read"}),
            subaccount_id=subaccount.id,
            now=now,
        )
        people = [
            principals.create_principal(
                session, subaccount_id=subaccount.id, name=f"N{number}", time_zone=ZONE, now=now
            )
            for number in range(count)
        ]
    prepared = [blocked_slot(one, people[0], now) for one in made]
    for person in people:
        with database.write() as session:
            _calendars(session, person, prepared, now)
    return People(database, tuple(person.id for person in people), key)


def _calendars(
    session: Session, person: Principal, prepared: Sequence[PreparedObject], now: int
) -> None:
    for number in range(CALENDARS):
        collection_id = collections.create_collection(
            session,
            principal_id=person.id,
            name=f"calendar-{number}",
            kind="local",
            display_name=f"Calendar {number}",
            now=now,
        )
        found = collections.lock_collection(session, collection_id)
        save_objects(session, found, prepared[number::CALENDARS], now=now)
