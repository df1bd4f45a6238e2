"""The gateway lives with iCloud's oddities: a test for each row of the look-alike's page.

Rows with tests of their own elsewhere carry the mark ``row`` there; the last test counts them.
"""

import re
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.lookalike.world.fixtures import BY_NAME, fixture_day, put_fixtures
from gateway.services.availability import free_busy
from gateway.store.access import principals
from gateway.store.booking import conflicts
from tests.sync.conftest import ZONE, Site, event

DAY = 86_400
BERLIN = ZoneInfo(ZONE)


async def whole_life(site: Site) -> None:
    """All that the gateway ever asks: both sides edit, a day passes, tokens are lost."""
    series = event("series", "20261001T090000", "20261001T100000", "RRULE:FREQ=WEEKLY")
    for number in range(260):
        site.account.put("home", event(f"home{number}"))
    for number in range(5):
        site.account.put("work", event(f"work{number}"))
    await site.connect()
    site.roles()
    await site.sync()
    site.book("one")
    site.book("two", body=series.replace(b"series", b"two"))
    await site.sync()
    site.book("one", body=event("one", "20261003T090000", "20261003T100000"))
    site.account.phone.reschedule("work", "work3.ics", seconds=3600)
    site.account.delete("work", "work4.ics")
    await site.sync()
    site.cancel("one")
    site.account.calendar("home").contents.drop_tokens()
    await site.sync()
    site.clock.advance(DAY + 3600)
    await site.sync()
    site.roles(linked="work", conflicts=("home",))
    site.book("three")
    await site.sync()


@pytest.mark.row(4, 8, 9, 17, 26, 27, 34)
@pytest.mark.rule("R13")
async def test_a_whole_life_sends_nothing_that_icloud_refuses(fresh_site: Site) -> None:
    site = fresh_site
    await whole_life(site)
    log = site.server.world.journal.entries
    # The one 403 is the lost token; nothing was refused for its form.
    assert {entry.status for entry in log} == {200, 201, 204, 207, 403}
    assert [e.report for e in log if e.status == 403] == ["sync-collection"]
    assert {(e.method, e.report) for e in log} == {
        ("PROPFIND", ""),
        ("REPORT", "sync-collection"),
        ("REPORT", "calendar-multiget"),
        ("REPORT", "calendar-query"),
        ("PUT", ""),
        ("GET", ""),
        ("DELETE", ""),
    }
    assert {e.path.endswith(".ics") for e in log if e.method in ("PUT", "GET", "DELETE")} == {True}
    assert "*" not in {e.if_match for e in log}
    assert {e.depth for e in log if e.method in ("PUT", "GET", "DELETE")} == {None}
    assert max(e.body_size for e in log if e.report == "calendar-multiget") < 20_000
    for calendar in ("home", "work"):
        site.assert_mirror_equals(calendar)


@pytest.mark.row(6)
@pytest.mark.rule("R4")
async def test_a_refusal_in_one_header_is_understood_too(site: Site) -> None:
    site.fault("joined-challenges")
    site.account.revoke()
    report = await site.sync()
    assert report.state == "credential-revoked"
    assert site.requests() == ["PROPFIND"]


@pytest.mark.row(18)
@pytest.mark.rule("R23")
@pytest.mark.parametrize("variant", [None, "expand-empty"])
async def test_a_series_that_began_long_ago_is_expanded_here(
    site: Site, variant: str | None
) -> None:
    if variant:
        site.fault(variant)
    rule = "RRULE:FREQ=DAILY;UNTIL=20270101T000000Z"
    site.account.put("work", event("old", "20250101T090000", "20250101T100000", rule))
    assert (await site.sync()).ok
    assert busy_of(site, date(2026, 10, 1)) == [("11:00", "12:00", "busy")]


@pytest.mark.row(19)
@pytest.mark.rule("R16")
@pytest.mark.parametrize("every", [0, 1])
async def test_a_rewritten_copy_is_not_taken_for_an_edit(site: Site, every: int) -> None:
    site.fault("put-etag-missing", every=every)
    site.book()
    await site.sync()
    (row,) = site.ledger()
    stored = site.account.calendar("home").resources[row.upstream_name]
    assert row.upstream_etag == stored.etag
    site.requests()
    for _ in range(3):
        site.clock.advance(300)
        assert (await site.sync()).ok
    assert site.requests() == ["PROPFIND"] * 3
    assert [e.method for e in site.log() if e.method == "PUT"] == ["PUT"]
    assert site.read(conflicts.list_conflicts, site.principal_id) == []


@pytest.mark.row(21)
@pytest.mark.rule("R16")
async def test_a_uid_held_by_something_invisible_ends_with_a_new_one(site: Site) -> None:
    site.book()
    (row,) = site.ledger()
    site.server.world.ledger(site.account.email).hidden.add(row.upstream_uid)
    for _ in range(3):
        await site.sync()
        site.clock.advance(120)
    (renamed,) = site.ledger()
    assert (renamed.state, site.messages()) == ("pushed", [])
    assert site.upstream_names("home") == {renamed.upstream_name}
    assert renamed.upstream_uid != row.upstream_uid


@pytest.mark.row(22)
@pytest.mark.rule("R15")
async def test_what_icloud_would_refuse_is_made_fit_before_it_is_sent(site: Site) -> None:
    long_uid = "u" * 120
    lines = [
        "DESCRIPTION:<html><body><b>Bring</b> papers</body></html>",
        "STATUS:BUSY",
        "X-ODD:\\n",
    ]
    body = event(long_uid, "20261001T090000", "20261001T100000", *lines)
    site.book("odd", body=body.replace(b"DTEND:20261001T100000Z\r\n", b"DURATION:PT1H\r\n"))
    await site.sync()
    assert [e.status for e in site.log(method="PUT")] == [201]
    (row,) = site.ledger()
    sent = site.account.get("home", row.upstream_name)
    assert b"DTEND" in sent
    assert b"<b>" not in sent
    assert len(row.upstream_uid) <= 36


@pytest.mark.row(23)
@pytest.mark.rule("R15")
async def test_a_weekly_series_keeps_its_rule(site: Site) -> None:
    site.book("w", event("w", "20261001T090000", "20261001T100000", "RRULE:FREQ=WEEKLY;COUNT=4"))
    await site.sync()
    (row,) = site.ledger()
    stored = site.account.get("home", row.upstream_name)
    assert b"BYDAY=TH" in stored
    assert b"COUNT=4" in stored


@pytest.mark.row(25)
@pytest.mark.rule("R16")
async def test_moving_an_appointment_tells_sharers_of_no_deletion(site: Site) -> None:
    site.server.world.notifications.clear()
    site.book()
    await site.sync()
    assert [note.action for note in site.server.world.notifications] == ["created"]
    for hour in (11, 12, 13):
        site.book(body=event("local-1", f"20261001T{hour}0000", f"20261001T{hour + 1}0000"))
        await site.sync()
    assert [note.action for note in site.server.world.notifications] == ["created"]
    site.cancel()
    await site.sync()
    assert [note.action for note in site.server.world.notifications] == ["created", "deleted"]


@pytest.mark.row(32)
async def test_colours_come_down_with_six_digits(site: Site) -> None:
    there = site.account.calendar("home").color
    assert len(there) == 9
    assert site.calendar("home").color == there[:7]


@pytest.mark.row(33)
@pytest.mark.rule("R10")
async def test_an_organizer_that_is_a_path_changes_nothing(site: Site) -> None:
    (name,) = put_fixtures(site.account, "work", ["organizer-path"])["organizer-path"]
    assert (await site.sync()).ok
    site.assert_mirror_equals("work")
    assert b"ORGANIZER" not in site.mirrored("work")[name].body


HOUR = [("10:00", "11:00", "busy")]
COUNTS: dict[str, list[tuple[str, str, str]]] = {
    "all-day-transparent": [],
    "all-day-plain": [("00:00", "00:00", "busy")],
    "all-day-opaque": [("00:00", "00:00", "busy")],
    "needs-action": [("10:00", "11:00", "tentative")],
    "travel-time": [("09:30", "11:20", "busy")],
    "split-series": [("14:00", "15:00", "busy")],
    "far-override": [],
    "floating": HOUR,
    "offset-zone": [("07:00", "08:00", "busy")],
    "windows-zone": HOUR,
    "customized-zone": [("17:00", "18:00", "busy")],
    "prefixed-zone": HOUR,
    "double-stamp": HOUR,
    "iana-undefined": HOUR,
    "undefined-zone": [("00:00", "00:00", "unknown")],
    "date-exdate": HOUR,
    "organizer-path": HOUR,
    "declined": [],
    "confidential": HOUR,
    "zero-length": [],
    "no-end": [],
    "trailing-blanks": HOUR,
    "broken": [("10:00", "11:00", "busy"), ("11:00", "00:00", "unknown")],
}
"""What each fixture blocks on its own day, in wall time of the owner's zone."""


@pytest.mark.row(31)
@pytest.mark.rule("R9", "R23", "R25")
async def test_odd_events_count_as_their_owner_would_say(site: Site) -> None:
    seen = {}
    for name in COUNTS:
        names = put_fixtures(site.account, "work", [name])[name]
        assert (await site.sync()).ok
        site.assert_mirror_equals("work")
        seen[name] = busy_of(site, fixture_day(site.account, name))
        for made in names:
            site.account.delete("work", made)
    assert seen == COUNTS
    assert list(COUNTS) == list(BY_NAME)


def busy_of(site: Site, day: date) -> list[tuple[str, str, str]]:
    """The principal's busy time on one day as (HH:MM, HH:MM, type) in its zone."""
    start = datetime.combine(day, time(), BERLIN)
    window = (int(start.timestamp()), int((start + timedelta(days=1)).timestamp()))
    with site.database.read() as session:
        principal = principals.get_principal(session, site.principal_id)
        answer = free_busy(session, principal, window, now=int(site.clock.time))
    return [
        (
            f"{datetime.fromtimestamp(begin, BERLIN):%H:%M}",
            f"{datetime.fromtimestamp(end, BERLIN):%H:%M}",
            kind,
        )
        for begin, end, kind in answer.busy
    ]


def test_every_row_is_lived_with() -> None:
    here = Path(__file__).parents[1]
    rows: set[int] = set()
    for path in sorted(here.rglob("test_*.py")):
        for found in re.findall(r"mark\.row\(([\d, ]+)\)", path.read_text()):
            rows.update(int(number) for number in found.split(","))
    assert sorted(rows) == list(range(1, 35))
