"""The window moves on with the clock; zones and rules that change are seen through."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.recurrence.expand import default_window
from gateway.services.accounts.roles import set_calendar_options
from gateway.store.access import principals
from gateway.store.engine import lock_principal
from gateway.store.objects import collections, expansions, objects
from gateway.sync.run import _is_reconcile_due
from gateway.sync.windows import extend_windows
from tests.store.rows import busy_rows
from tests.sync.conftest import Site, create_principal, event

DAY = 86_400


def busy_starts(site: Site, calendar: str = "home") -> list[int]:
    mirror = site.read(collections.find_mirror, site.calendar(calendar).id)
    window = (0, 4_000_000_000)
    rows = site.read(busy_rows, site.principal_id, window, [mirror.id])
    return sorted(row[0] for row in rows)


@pytest.mark.rule("R23")
async def test_a_series_without_end_is_expanded_further_every_day(site: Site) -> None:
    rule = "RRULE:FREQ=WEEKLY;BYDAY=TH"
    site.account.put("home", event("weekly", "20261001T090000", "20261001T100000", rule))
    site.account.put("home", event("once"))
    site.account.put("home", event("far", "20280601T090000", "20280601T100000"))
    await site.sync()
    before = busy_starts(site)
    revision = site.read(collections.find_mirror, site.calendar("home").id).revision
    assert await extend_windows(site.context) == 0
    site.clock.advance(100 * DAY)
    window = default_window(int(site.clock.time))
    assert site.read(objects.get_coverage, site.principal_id)[1] < window[1]
    assert await extend_windows(site.context) == 1
    assert site.read(objects.get_coverage, site.principal_id) == window
    after = busy_starts(site)
    assert max(after) - max(before) > 90 * DAY
    # The single event stays, the far one comes into the window, the revision does not move.
    assert datetime(2028, 6, 1, 9, tzinfo=UTC).timestamp() not in after
    assert datetime(2026, 10, 1, 9, tzinfo=UTC).timestamp() in after
    assert site.read(collections.find_mirror, site.calendar("home").id).revision == revision
    site.clock.advance(200 * DAY)
    assert await extend_windows(site.context) == 1
    assert datetime(2028, 6, 1, 9, tzinfo=UTC).timestamp() in busy_starts(site)
    assert await extend_windows(site.context) == 0


async def test_many_objects_are_done_in_batches_and_none_is_left(site: Site) -> None:
    rule = "RRULE:FREQ=MONTHLY"
    for number in range(230):
        site.account.put("home", event(f"m{number}", "20261001T090000", "20261001T100000", rule))
    await site.sync()
    site.clock.advance(60 * DAY)
    assert await extend_windows(site.context) == 1
    window = default_window(int(site.clock.time))
    with site.database.read() as session:
        ends = session.exec_driver_sql("SELECT DISTINCT expanded_until FROM objects").scalars()
        assert set(ends) == {window[1]}


NO_RULE = event("odd", "20261001T090000", "20261001T100000", "RRULE:FREQ=SOMETIMES")
NO_TIME = b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:odd\r\nDTSTART:gibberish\r\n"


@pytest.mark.rule("R23", "R25")
@pytest.mark.parametrize(
    ("body", "covered"),
    [(NO_RULE, {"UNKNOWN"}), (NO_TIME, set())],
    ids=["a rule: unknown to the end of the window", "any time: blocks nothing"],
)
async def test_what_could_not_be_understood_stays_so_and_is_told_as_the_window_moves(
    site: Site, body: bytes, covered: set[str]
) -> None:
    site.account.put("home", body, "odd.ics")
    await site.sync()
    told = site.mirrored("home")["odd.ics"].problem
    assert told is not None
    mirror = site.read(collections.find_mirror, site.calendar("home").id)
    for days in (0, 50):
        site.clock.advance(days * DAY)
        assert await extend_windows(site.context) == bool(days)
        end = default_window(int(site.clock.time))[1]
        rows = site.read(busy_rows, site.principal_id, (end - DAY, end), [mirror.id])
        assert {str(row[2]) for row in rows} == covered
        (reported,) = site.read(objects.list_problems, site.principal_id)
        assert (reported.upstream_name, reported.problem) == ("odd.ics", told)


@pytest.mark.rule("R23")
async def test_a_new_zone_moves_all_day_and_floating_times_and_nothing_else(site: Site) -> None:
    day = b"DTSTART:20261001T090000Z\r\nDTEND:20261001T100000Z"
    all_day = event("day").replace(day, b"DTSTART;VALUE=DATE:20261001")
    site.account.put("home", all_day.replace(b"SUMMARY", b"TRANSP:OPAQUE\r\nSUMMARY"))
    site.account.put("home", event("fixed"))
    await site.sync()
    fixed = int(datetime(2026, 10, 1, 9, tzinfo=UTC).timestamp())
    berlin = int(datetime(2026, 9, 30, 22, tzinfo=UTC).timestamp())
    assert busy_starts(site) == [berlin, fixed]
    with site.database.write() as session:
        lock_principal(session, site.principal_id)
        principals.update_principal(session, site.principal_id, {"time_zone": "America/New_York"})
    assert site.read(objects.get_coverage, site.principal_id) == expansions.NEVER
    assert await extend_windows(site.context) == 1
    new_york = int(datetime(2026, 10, 1, 4, tzinfo=UTC).timestamp())
    assert busy_starts(site) == [new_york, fixed]
    assert site.read(objects.get_coverage, site.principal_id) == default_window(
        int(site.clock.time)
    )


@pytest.fixture
def meanwhile(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], None]:
    """Have something done once, after objects were expanded and before they are written."""

    def set_up(change: Callable) -> None:
        left = [change]
        expander = site.context.expander
        for name in ("expand", "prepare"):
            monkeypatch.setattr(expander, name, _followed(getattr(expander, name), left, site))

    return set_up


def _followed(work: Callable, left: list[Callable], site: Site) -> Callable:
    async def expand_and_change(*args):
        done = await work(*args)
        while left:
            with site.database.write() as session:
                left.pop()(session)
        return done

    return expand_and_change


ALL_DAY = event("day").replace(
    b"DTSTART:20261001T090000Z\r\nDTEND:20261001T100000Z",
    b"DTSTART;VALUE=DATE:20261001\r\nTRANSP:TRANSPARENT\r\nRRULE:FREQ=YEARLY",
)
BUSY_DAY = ALL_DAY.replace(b"TRANSPARENT", b"OPAQUE")


def to_new_york(site: Site) -> Callable:
    return lambda session: principals.update_principal(
        session, site.principal_id, {"time_zone": "America/New_York"}
    )


@pytest.mark.rule("R23")
@pytest.mark.parametrize("during", ["an extension", "a pull"])
async def test_a_zone_that_changes_under_way_is_seen_through(
    site: Site, meanwhile: Callable, during: str
) -> None:
    if during == "an extension":
        site.account.put("home", BUSY_DAY)
        await site.sync()
        site.clock.advance(10 * DAY)
        meanwhile(to_new_york(site))
        await extend_windows(site.context)
    else:
        site.account.put("home", BUSY_DAY)
        meanwhile(to_new_york(site))
        await site.sync()
    await extend_windows(site.context)
    site.clock.advance(60)
    await site.sync()
    assert site.read(objects.get_coverage, site.principal_id) != expansions.NEVER
    assert busy_starts(site)[0] == datetime(2026, 10, 1, 4, tzinfo=UTC).timestamp()


@pytest.mark.rule("R23")
@pytest.mark.parametrize("during", ["an extension", "a pull"])
async def test_a_rule_of_a_calendar_that_changes_under_way_is_seen_through(
    site: Site, meanwhile: Callable, during: str
) -> None:
    calendar = site.calendar("home").id
    if during == "an extension":
        site.account.put("home", ALL_DAY)
        await site.sync()
        assert busy_starts(site) == []
        site.clock.advance(10 * DAY)
    meanwhile(
        lambda session: set_calendar_options(session, site.principal_id, calendar, all_day="block")
    )
    if during == "an extension":
        await extend_windows(site.context)
    else:
        site.account.put("home", ALL_DAY)
        await site.sync()
    await extend_windows(site.context)
    site.clock.advance(60)
    await site.sync()
    assert busy_starts(site)[0] == datetime(2026, 9, 30, 22, tzinfo=UTC).timestamp()


@pytest.mark.rule("R10")
async def test_texts_that_are_not_wanted_any_more_under_way_do_not_stay(
    site: Site, meanwhile: Callable
) -> None:
    calendar = site.calendar("home").id
    site.account.put("home", event("a", summary="Secret"), "a.ics")
    meanwhile(
        lambda session: set_calendar_options(session, site.principal_id, calendar, detail="busy")
    )
    await site.sync()
    site.clock.advance(60)
    await site.sync()
    assert b"Secret" not in site.mirrored("home")["a.ics"].body


@pytest.mark.rule("R23")
async def test_windows_move_through_the_day_each_at_an_hour_of_its_own(site: Site) -> None:
    midnight = int(site.clock.time) // DAY * DAY + DAY
    people = [create_principal(site.database) for _ in range(96)]
    with site.database.write() as session:
        for principal_id in people:
            objects.set_coverage(session, principal_id, default_window(midnight - 1))
        objects.set_coverage(session, site.principal_id, default_window(midnight + DAY))
    moved = []
    for hour in range(25):
        site.clock.time = midnight + hour * 3600
        moved.append(0)
        while done := await extend_windows(site.context):
            moved[-1] += done
    assert sum(moved[:25]) == len(people)
    assert moved[0] == 0  # at midnight itself nothing is to do
    assert max(moved[:24]) <= 15
    assert sum(hours > 0 for hours in moved[:24]) > 15


def test_accounts_that_came_together_are_compared_at_different_hours(site: Site) -> None:
    made = site.connection()
    born = made.created_at
    crowd = [replace(made, id=f"con_{number}", reconciled_at=None) for number in range(400)]
    due = [next(h for h in range(25) if _is_reconcile_due(one, born + h * 3600)) for one in crowd]
    assert {19, 20, 21, 22, 23, 24} == set(due)
    assert max(Counter(due).values()) < 120
