"""Free/busy reads rows: nothing on its way parses iCalendar or expands a rule (R23)."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from icalendar import Calendar

from gateway.core.ical.objects import parse_calendar_object
from gateway.core.recurrence.expand import default_window, expand
from gateway.core.recurrence.model import BusyRules
from gateway.store.objects.collections import list_collections
from gateway.store.objects.objects import PreparedObject, save_objects
from tests.api.conftest import NOW, Place
from tests.parsing import parsing

MONDAY = datetime.fromtimestamp(NOW, UTC).replace(hour=0, minute=0, second=0)
RULES = BusyRules(ZoneInfo("Europe/Berlin"))


def weekly(number: int) -> bytes:
    """An event of half an hour every week, with one week left out."""
    start = MONDAY - timedelta(weeks=10) + timedelta(hours=2 * number)
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//EN",
        "BEGIN:VEVENT",
        f"UID:weekly-{number}",
        "DTSTAMP:20260101T000000Z",
        f"DTSTART:{start:%Y%m%dT%H%M%SZ}",
        "DURATION:PT30M",
        "RRULE:FREQ=WEEKLY",
        f"EXDATE:{start + timedelta(weeks=1):%Y%m%dT%H%M%SZ}",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    )
    return "\r\n".join(lines).encode()


def store(place: Place, bodies: list[bytes]) -> None:
    """Write objects into Ann's own collection, expanded as every writer does it."""
    prepared = []
    for body in bodies:
        parsed = parse_calendar_object(body)
        prepared.append(
            PreparedObject(
                name=f"{parsed.uid}.ics",
                uid=parsed.uid,
                kind="blocked-slot",
                component=parsed.component,
                etag=parsed.etag,
                body=parsed.body,
                expansion=expand(body, default_window(NOW), RULES),
            )
        )
    with place.database.write() as session:
        [own] = list_collections(session, place.ann.id)
        save_objects(session, own, prepared, now=NOW)


@pytest.mark.rule("R23")
async def test_no_free_busy_request_reads_icalendar(place: Place) -> None:
    store(place, [weekly(number) for number in range(6)])
    path = f"/v1/principals/{place.ann.id}"
    start = f"{MONDAY:%Y-%m-%dT%H:%M:%SZ}"
    found = {}
    with parsing() as seen:
        for days in (7, 28, 366):
            end = f"{MONDAY + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
            status, answer = await place.reader.get(f"{path}/freebusy", start=start, end=end)
            found[days] = (status, len(answer["busy"]), answer["complete"])
            body = {"principals": [place.ann.id], "start": start, "end": end}
            status, several = await place.reader.post("/v1/freebusy", body)
            assert (status, several["principals"][place.ann.id]["busy"]) == (200, answer["busy"])
        end = f"{MONDAY + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
        status, reasons = await place.platform.get(f"{path}/explain", start=start, end=end)
        assert (status, len(reasons["reasons"])) == (200, 6)
    assert found == {7: (200, 6, True), 28: (200, 24, True), 366: (200, 6 * 53, True)}
    assert dict(seen) == {}


def test_the_probe_notices_our_engine_and_the_libraries() -> None:
    with parsing() as seen:
        expand(weekly(1), default_window(NOW), RULES)
    assert dict(seen) == {"unfold": 1, "read": 1, "expand": 1}
    with parsing() as seen:
        Calendar.from_ical(weekly(1))
    assert set(seen) == {"icalendar"}
