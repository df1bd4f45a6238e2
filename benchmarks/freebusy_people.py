"""GET free/busy of 1,000 people in random order against one person asked again and again; and of
100 people in one POST.

Each has four calendars and the merged busy time of 2,000 events, written into the store as rows, so
that in memory everybody weighs what a person with 2,000 events weighs. The memory for timelines is
bounded to 64 MiB; what it holds at the end is told.
"""

import json
import random
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.events import ZONE
from benchmarks.fill import Filled, fill
from benchmarks.freebusy import CALENDARS, COUNT, ask, bearer, calendars, cost_of, question
from benchmarks.load import request_bytes
from benchmarks.measure import Ratio, in_turns, median_ratio
from benchmarks.servers import Server, gateway_part
from gateway.core.availability.merge import STATUS_OF, BusyRow
from gateway.core.availability.timeline import Timeline
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import Expansion, Instance
from gateway.core.status import FBType
from gateway.services.availability import load_to_keep
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.engine import Database, Session, chunks
from gateway.store.objects import collections
from gateway.store.objects.objects import PreparedObject, save_objects

PART = "freebusy_people"
PEOPLE, SEVERAL = 1_000, 100
CAPACITY = 64 * 1024 * 1024


def run(*, quick: bool) -> Iterator[Ratio]:
    """Measure, with fewer people when ``quick``."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        one = fill(Path(name) / "data", calendars(COUNT))
        everybody = _people(one, 200 if quick else PEOPLE)
        limit = {"timeline_cache_bytes": str(CAPACITY)}
        api = stack.enter_context(gateway_part("api", one.folder, **limit))
        chance = random.Random(1)
        asked = [question(one, 7, person=chance.choice(everybody)) for _ in range(4 * PEOPLE)]
        ask(api, asked[0])
        work = {
            "people": cost_of(api, "api", asked, len(asked)),
            "one": cost_of(api, "api", [question(one, 7)], 1_500),
        }
        found = in_turns(work, rounds=5)
        case = f"GET 1 week, {len(everybody):,} people in random order"
        yield Ratio(
            part=PART,
            case=case,
            against=f"one person with {COUNT:,} events",
            value=median_ratio(found["one"], found["people"]),
            ours=min(found["people"]) * 1000,
            theirs=min(found["one"]) * 1000,
            target=0.5,
            at_least=True,
            unit="share",
        )
        yield from _several(api, one, everybody[:SEVERAL])
        yield Ratio(
            part=PART,
            case=case,
            against="memory for timelines, MiB",
            value=_timeline_bytes(api) / 2**20,
            target=CAPACITY / 2**20,
        )


def _several(api: Server, one: Filled, people: Sequence[str]) -> Iterator[Ratio]:
    """Compare one question about many people with the same one that no timeline answers."""
    plain, other = (_post(one, people, on_tentative=policy) for policy in ("block", "free"))
    ask(api, plain)
    work = {"memory": cost_of(api, "api", [plain], 40), "rows": cost_of(api, "api", [other], 8)}
    found = in_turns(work, rounds=3)
    yield Ratio(
        part=PART,
        case=f"POST 1 week, {len(people)} people",
        against="the same with on_tentative=free, from the rows",
        value=median_ratio(found["rows"], found["memory"]),
        ours=min(found["memory"]) * 1000,
        theirs=min(found["rows"]) * 1000,
        target=4.0,
        at_least=True,
    )


def _post(filled: Filled, people: Sequence[str], **more: str) -> bytes:
    """Return the request about many people for a week from now on."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    times = {"start": start.isoformat(), "end": (start + timedelta(days=7)).isoformat()}
    body = json.dumps({"principals": list(people), **times, **more}).encode()
    headers = {**bearer(filled), "Content-Type": "application/json"}
    return request_bytes("POST", "/v1/freebusy", body, headers)


def _timeline_bytes(api: Server) -> float:
    text = ask(api, request_bytes("GET", "/metrics")).decode()
    found = re.search(r"^gateway_timeline_bytes (\S+)", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def _people(filled: Filled, count: int) -> list[str]:
    """Give ``count`` more people the merged busy time of the one there is; return their ids."""
    settings = Settings(data_dir=filled.folder)
    database, now = Database(settings.database), int(time.time())
    with database.read() as session:
        owner, timeline = load_to_keep(session, filled.principal_id, now=now)
    ids = []
    for part in chunks(range(count), 50):
        with database.write() as session:
            for number in part:
                made = principals.create_principal(
                    session,
                    subaccount_id=owner.subaccount_id,
                    name=f"N{number}",
                    time_zone=ZONE,
                    now=now,
                )
                _give(session, made.id, timeline, now)
                ids.append(made.id)
    database.close()
    return ids


def _give(session: Session, principal_id: str, timeline: Timeline, now: int) -> None:
    """Write the busy time of a timeline as that of another person, in four calendars."""
    for number in range(CALENDARS):
        rows = [timeline.row(at) for at in range(number, len(timeline.starts), CALENDARS)]
        collection_id = collections.create_collection(
            session,
            principal_id=principal_id,
            name=f"calendar-{number}",
            kind="local",
            display_name=f"Calendar {number}",
            now=now,
        )
        found = collections.lock_collection(session, collection_id)
        save_objects(session, found, [_one_object(rows, timeline.coverage)], now=now)


def _one_object(rows: Sequence[BusyRow], window: Interval) -> PreparedObject:
    return PreparedObject(
        name="busy.ics",
        uid="busy",
        kind="blocked-slot",
        component="VEVENT",
        etag='"1"',
        body=b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
        expansion=Expansion(
            instances=tuple(
                Instance(start, end, _FBTYPES[status], start, end, "opaque", None)
                for start, end, status in rows
            ),
            problems=(),
            window=window,
            recurring=True,
            open_ended=False,
            zone_dependent=False,
            component="VEVENT",
            first_start=rows[0][0],
            last_end=rows[-1][1],
        ),
    )


_FBTYPES = {status: FBType(fbtype) for fbtype, status in STATUS_OF.items()}
