"""An appointment always blocks: what a phone leaves of its time must still be a time (R17)."""

import re

import pytest

from gateway.store.booking import conflicts
from tests.sync.conftest import Site, event
from tests.sync.test_own import at, busy_spans, name_of

pytestmark = pytest.mark.rule("R17")

SPAN = (at("20261001T090000"), at("20261001T100000"))
END = rb"DTEND[^\r]*\r\n"
START = rb"DTSTART[^\r]*\r\n"
NOWHERE = b"DTSTART;TZID=Nowhere/At All:20261001T110000\r\n"


@pytest.fixture
async def pushed(site: Site) -> Site:
    """An appointment from nine to ten that iCloud has."""
    site.book("one")
    await site.sync()
    await site.sync()
    assert busy_spans(site) == [SPAN]
    return site


def edit(site: Site, data: bytes) -> None:
    site.account.put("home", data, name_of(site))


UNUSABLE = {
    "no length": lambda data: re.sub(END, b"DTEND:20261001T090000Z\r\n", data),
    "no end": lambda data: re.sub(END, b"", data),
    "no duration": lambda data: re.sub(END, b"DURATION:PT0S\r\n", data),
    "ends before it starts": lambda data: re.sub(END, b"DTEND:20261001T080000Z\r\n", data),
    "unknown zone": lambda data: re.sub(
        END, NOWHERE.replace(b"START", b"END"), re.sub(START, NOWHERE, data)
    ),
    "no start": lambda data: re.sub(START, b"", data),
    "junk start": lambda data: re.sub(START, b"DTSTART:soon\r\n", data),
    "unreadable rule": lambda data: re.sub(
        END, b"DTEND:20261001T100000Z\r\nRRULE:FREQ=X\r\n", data
    ),
    "a task": lambda data: data.replace(b"VEVENT", b"VTODO"),
    "two events": lambda data: data.replace(
        b"END:VCALENDAR",
        data[data.index(b"BEGIN:VEVENT") : data.index(b"END:VCALENDAR")].replace(b"T09", b"T07")
        + b"END:VCALENDAR",
    ),
    "two events, ours the last": lambda data: data.replace(
        b"BEGIN:VEVENT",
        data[data.index(b"BEGIN:VEVENT") : data.index(b"END:VCALENDAR")].replace(b"T09", b"T07")
        + b"BEGIN:VEVENT",
    ),
    "no calendar": lambda data: b"<html><body>Sorry</body></html>",
    "nothing": lambda data: b"",
}


@pytest.mark.parametrize("form", UNUSABLE)
async def test_a_time_that_cannot_be_one_is_not_taken(pushed: Site, form: str) -> None:
    edit(pushed, UNUSABLE[form](pushed.account.get("home", name_of(pushed))))
    await pushed.sync()
    assert busy_spans(pushed) == [SPAN]
    (appointment,) = pushed.appointments()
    assert (appointment.status, appointment.start, appointment.end) == ("confirmed", *SPAN)
    (record,) = pushed.read(conflicts.list_conflicts, pushed.principal_id)
    assert (record.kind, record.dropped) == ("time", "upstream")
    assert record.dropped_body == pushed.account.get("home", name_of(pushed))
    if form in ("no calendar", "nothing"):
        return  # the look-alike lets nobody replace an object without a UID
    await pushed.sync()  # its own time goes back up
    await pushed.sync()
    assert pushed.messages() == []
    there = pushed.account.get("home", name_of(pushed))
    assert b"20261001T090000Z" in there or b"T110000" in there
    assert busy_spans(pushed) == [SPAN]
    assert [row.state for row in pushed.ledger()] == ["pushed"]
    assert len(pushed.read(conflicts.list_conflicts, pushed.principal_id)) == 1


SERIES = event("one", "20261001T090000", "20261001T100000", "RRULE:FREQ=DAILY;COUNT=3")
LEFT = b"EXDATE:20261001T090000Z,20261002T090000Z,20261003T090000Z\r\n"


def cancelled_override(data: bytes, day: bytes) -> bytes:
    event_of = data[data.index(b"BEGIN:VEVENT") : data.index(b"END:VCALENDAR")]
    event_of = re.sub(rb"(RRULE|STATUS)[^\r]*\r\n", b"", event_of)
    event_of = re.sub(START, b"DTSTART:%sT090000Z\r\n" % day, event_of)
    event_of = re.sub(END, b"DTEND:%sT100000Z\r\n" % day, event_of)
    line = b"RECURRENCE-ID:%sT090000Z\r\nSTATUS:CANCELLED\r\nEND:VEVENT" % day
    return event_of.replace(b"END:VEVENT", line)


def all_cancelled(data: bytes) -> bytes:
    more = b"".join(cancelled_override(data, b"2026100%d" % day) for day in (1, 2, 3))
    return data.replace(b"END:VCALENDAR", more + b"END:VCALENDAR")


EMPTIED = {
    "every instance excluded": lambda data: data.replace(b"RRULE", LEFT + b"RRULE"),
    "ended before it began": lambda data: data.replace(b"COUNT=3", b"UNTIL=20260930T235959Z"),
    "ended the moment before": lambda data: data.replace(b"COUNT=3", b"UNTIL=20261001T065959Z"),
    "every instance cancelled": all_cancelled,
}


@pytest.mark.parametrize("form", EMPTIED)
async def test_a_series_without_instances_is_cancelled(site: Site, form: str) -> None:
    site.book("one", SERIES)
    await site.sync()
    await site.sync()
    assert len(busy_spans(site)) == 3
    data = site.account.get("home", name_of(site))
    edit(site, EMPTIED[form](data))
    await site.sync()
    assert [one.status for one in site.appointments()] == ["cancelled"]
    assert busy_spans(site) == []
    assert site.messages() == []


@pytest.mark.parametrize("start", ["20291001", "20240101"])
async def test_a_time_far_off_is_no_empty_series(pushed: Site, start: str) -> None:
    data = pushed.account.get("home", name_of(pushed))
    data = re.sub(START, b"DTSTART:%sT090000Z\r\n" % start.encode(), data)
    edit(pushed, re.sub(END, b"DTEND:%sT100000Z\r\n" % start.encode(), data))
    await pushed.sync()
    (appointment,) = pushed.appointments()
    assert (appointment.status, appointment.start) == ("confirmed", at(f"{start}T090000"))


async def test_an_instance_without_length_keeps_the_whole_time(site: Site) -> None:
    site.book("one", SERIES)
    await site.sync()
    await site.sync()
    before = busy_spans(site)
    data = site.account.get("home", name_of(site))
    short = cancelled_override(data, b"20261002").replace(b"STATUS:CANCELLED\r\n", b"")
    short = re.sub(END, b"DTEND:20261002T090000Z\r\n", short)
    edit(site, data.replace(b"END:VCALENDAR", short + b"END:VCALENDAR"))
    await site.sync()
    assert busy_spans(site) == before


@pytest.mark.parametrize("line", ["TRANSP:TRANSPARENT", "STATUS:CANCELLED", "STATUS:TENTATIVE"])
async def test_it_blocks_whatever_it_says_of_itself(pushed: Site, line: str) -> None:
    data = pushed.account.get("home", name_of(pushed))
    data = re.sub(rb"(TRANSP|STATUS)[^\r]*\r\n", b"", data)
    edit(pushed, data.replace(b"END:VEVENT", line.encode() + b"\r\nEND:VEVENT"))
    await pushed.sync()
    assert busy_spans(pushed) == [SPAN]


async def test_what_icloud_itself_makes_unusable_is_not_written_for_ever(pushed: Site) -> None:
    for _ in range(12):
        data = pushed.account.get("home", name_of(pushed))
        edit(pushed, UNUSABLE["no length"](data))
        await pushed.sync()
        pushed.clock.advance(60)
        await pushed.sync()
    assert len(pushed.log(method="PUT")) <= 4
    assert busy_spans(pushed) == [SPAN]
