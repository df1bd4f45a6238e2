"""Free/busy from stored rows: merging, sources, the third value, policies (R22-R26)."""

import pytest

from gateway.core.availability.policy import OnTentative, OnUnknown, Policy
from gateway.core.availability.timeline import FreeBusy
from gateway.core.errors import StateConflict
from gateway.services.accounts.roles import set_calendar_roles
from gateway.services.availability import explain, free_busy
from gateway.store.accounts.accounts import Keyring
from gateway.store.booking import bookings
from gateway.store.engine import Database
from gateway.store.objects import collections
from tests.services.people import DAY, HOUR, MONDAY, NOW, Person, event, make_person, meeting

WEEK = (MONDAY, MONDAY + 7 * DAY)


def choose(person: Person, linked: str | None, *conflicts: str, blocks: bool = True) -> None:
    """Choose calendars by name and call them synced now."""
    with person.database.write() as session:
        set_calendar_roles(
            session,
            person.principal.id,
            linked=person.calendar[linked] if linked else None,
            conflicts=[person.calendar[name] for name in conflicts],
            linked_blocks=blocks,
            now=NOW,
        )
    for name in (linked, *conflicts):
        if name:
            person.set_calendar(name, state="ok", synced_at=NOW)


@pytest.fixture
def person(sqlite_database: Database, keyring: Keyring) -> Person:
    """Somebody with Home linked and Work as conflict calendar, both just synced and empty."""
    made = make_person(sqlite_database, keyring)
    choose(made, "home", "work")
    return made


def ask(
    person: Person,
    window: tuple[int, int] = WEEK,
    *,
    now: int = NOW,
    on_unknown: OnUnknown = "block",
    on_tentative: OnTentative = "block",
) -> FreeBusy:
    """Ask for free/busy."""
    with person.database.read() as session:
        return free_busy(
            session,
            person.principal,
            window,
            Policy(on_unknown, on_tentative),
            now=now,
        )


def states(found: FreeBusy) -> dict[str, tuple[str, int | None, str | None]]:
    """Return {role: (state, age, problem)}."""
    return {source.role: (source.state, source.age_s, source.problem) for source in found.sources}


@pytest.mark.rule("R23")
def test_everything_that_blocks_is_merged(database: Database, keyring: Keyring) -> None:
    person = make_person(database, keyring)
    choose(person, "home", "work")
    person.put("home", meeting(MONDAY + 9 * HOUR))
    person.put("work", meeting(MONDAY + 9 * HOUR + 1800))
    person.put("work", meeting(MONDAY + 15 * HOUR, 1, "STATUS:TENTATIVE"))
    person.put("platform", meeting(MONDAY + 12 * HOUR))
    person.put("platform", meeting(MONDAY + 20 * HOUR, 1, "TRANSP:TRANSPARENT"))
    found = ask(person)
    assert found.busy == (
        (MONDAY + 9 * HOUR, MONDAY + 10 * HOUR + 1800, "busy"),
        (MONDAY + 12 * HOUR, MONDAY + 13 * HOUR, "busy"),
        (MONDAY + 15 * HOUR, MONDAY + 16 * HOUR, "tentative"),
    )
    assert found.complete
    assert states(found) == {
        "platform": ("fresh", 0, None),
        "linked": ("fresh", 0, None),
        "conflict": ("fresh", 0, None),
    }


@pytest.mark.rule("R23", "R24")
def test_the_window_is_half_open_and_clips(person: Person) -> None:
    start = MONDAY + 9 * HOUR
    person.put("home", meeting(start, 2))
    assert ask(person, (start - HOUR, start)).busy == ()
    assert ask(person, (start + 2 * HOUR, start + 3 * HOUR)).busy == ()
    assert ask(person, (start + HOUR, start + 5 * HOUR)).busy == (
        (start + HOUR, start + 2 * HOUR, "busy"),
    )


@pytest.mark.rule("R6")
def test_a_linked_calendar_told_not_to_block_does_not(person: Person) -> None:
    person.put("home", meeting(MONDAY))
    choose(person, "home", "work", blocks=False)
    found = ask(person)
    assert found.busy == ()
    assert sorted(states(found)) == ["conflict", "platform"]


@pytest.mark.rule("R18")
def test_a_local_calendar_blocks_unless_it_is_transparent(person: Person) -> None:
    with person.database.write() as session:
        for name, transparent in (("mine", False), ("ideas", True)):
            collections.create_collection(
                session,
                principal_id=person.principal.id,
                name=name,
                kind="local",
                display_name=name,
                transparent=transparent,
                now=NOW,
            )
    person.put("mine", meeting(MONDAY))
    person.put("ideas", meeting(MONDAY + 5 * HOUR))
    found = ask(person)
    assert found.busy == ((MONDAY, MONDAY + HOUR, "busy"),)
    assert states(found)["local"] == ("fresh", 0, None)


@pytest.mark.rule("R27", "R30")
def test_a_hold_blocks_until_it_expires(person: Person) -> None:
    with person.database.write() as session:
        bookings.create_hold(
            session, person.principal.id, (MONDAY, MONDAY + HOUR), expires_at=NOW + 300, now=NOW
        )
    assert ask(person).busy == ((MONDAY, MONDAY + HOUR, "busy"),)
    assert ask(person, now=NOW + 300).busy == ()


# --- the third value ---

BUSY = (MONDAY + 9 * HOUR, MONDAY + 10 * HOUR)

SOURCE_STATES = {
    # what the calendar row says, its age -> (state, problem, unknown outside known busy time)
    "fresh": ({"state": "ok"}, 900, ("fresh", None, False)),
    "stale": ({"state": "ok"}, 901, ("stale", "stale", False)),
    "stale to the last second": ({"state": "ok"}, DAY, ("stale", "stale", False)),
    "stale too long": ({"state": "ok"}, DAY + 1, ("stale", "stale", True)),
    "failed just now": (
        {"state": "failed", "problem": "upstream-unreachable"},
        60,
        ("fresh", "upstream-unreachable", False),
    ),
    "failing": (
        {"state": "failed", "problem": "upstream-unreachable"},
        3_600,
        ("failed", "upstream-unreachable", False),
    ),
    "failing too long": (
        {"state": "failed", "problem": "upstream-unreachable"},
        DAY + 1,
        ("failed", "upstream-unreachable", True),
    ),
    "reading again": ({"state": "syncing"}, 60, ("fresh", None, False)),
    "first sync": ({"state": "syncing"}, None, ("syncing", "first-sync", True)),
    "never": ({"state": "never"}, None, ("never", "never-synced", True)),
    "never, failed": (
        {"state": "failed", "problem": "upstream-forbidden"},
        None,
        ("failed", "upstream-forbidden", True),
    ),
    "gone": ({"state": "gone"}, 5 * DAY, ("failed", "calendar-gone", False)),
}


@pytest.mark.rule("R25")
@pytest.mark.parametrize("on_unknown", ["block", "tentative", "ignore", "fail"])
@pytest.mark.parametrize("case", SOURCE_STATES)
def test_each_state_under_each_policy(person: Person, case: str, on_unknown: OnUnknown) -> None:
    columns, age, (state, problem, unknown) = SOURCE_STATES[case]
    person.put("work", meeting(BUSY[0]))
    person.set_calendar("work", **columns, synced_at=None if age is None else NOW - age)
    if unknown and on_unknown == "fail":
        with pytest.raises(StateConflict) as refused:
            ask(person, on_unknown="fail")
        assert refused.value.code == "availability-unknown"
        return
    found = ask(person, on_unknown=on_unknown)
    assert states(found)["conflict"] == (state, age, problem)
    assert found.complete is not unknown
    known = (*BUSY, "busy")
    around = {"block": "unknown", "tentative": "tentative"}.get(on_unknown)
    if not unknown or around is None:
        assert found.busy == (known,)
    else:
        assert found.busy == ((WEEK[0], BUSY[0], around), known, (BUSY[1], WEEK[1], around))


@pytest.mark.rule("R4", "R25")
@pytest.mark.parametrize("state", ["credential-revoked", "paused"])
def test_a_dead_connection_keeps_its_last_busy_time_and_says_so(person: Person, state: str) -> None:
    person.put("work", meeting(BUSY[0]))
    person.set_connection(state=state)
    found = ask(person, now=NOW + 3_600)
    assert found.busy == ((*BUSY, "busy"),)
    assert found.complete
    assert states(found)["conflict"] == ("stale", 3_600, state)
    later = ask(person, now=NOW + DAY + 1)
    assert not later.complete
    assert [status for _, _, status in later.busy] == ["unknown", "busy", "unknown"]


@pytest.mark.rule("R25")
def test_a_connection_may_be_trusted_longer(person: Person) -> None:
    person.set_connection(trust_for_s=3 * DAY)
    assert ask(person, now=NOW + 3 * DAY).complete
    assert not ask(person, now=NOW + 3 * DAY + 1).complete


@pytest.mark.rule("R25")
def test_complete_is_false_only_when_something_stays_unknown(person: Person) -> None:
    person.put("platform", meeting(MONDAY, 24 * 7))
    person.set_calendar("work", state="never", synced_at=None)
    found = ask(person)
    assert found.busy == ((*WEEK, "busy"),)
    assert found.complete


@pytest.mark.rule("R25")
def test_unknown_covers_tentative_time_of_the_same_source(person: Person) -> None:
    person.put("work", meeting(BUSY[0], 1, "STATUS:TENTATIVE"))
    person.set_calendar("work", state="never", synced_at=None)
    assert ask(person, on_tentative="free").busy == ((*WEEK, "unknown"),)
    assert ask(person, on_unknown="ignore").busy == ((*BUSY, "tentative"),)
    assert ask(person, on_unknown="ignore", on_tentative="free").busy == ()


@pytest.mark.rule("R25")
def test_an_object_nobody_understands_is_unknown_and_its_neighbours_are_not(
    person: Person,
) -> None:
    person.put("home", meeting(MONDAY))
    odd = event(";TZID=Nowhere/Land:20261103T090000", ";TZID=Nowhere/Land:20261103T100000")
    person.put("home", odd)
    found = ask(person)
    assert not found.complete
    assert found.busy[0] == (MONDAY, MONDAY + HOUR, "busy")
    assert [status for _, _, status in found.busy[1:]] == ["unknown"]
    low, high, _ = found.busy[1]
    assert low <= MONDAY + DAY + 9 * HOUR < high
    assert high - low < 2 * DAY


@pytest.mark.rule("R25")
def test_time_beyond_the_expanded_window_is_unknown(person: Person) -> None:
    far = (NOW + 390 * DAY, NOW + 420 * DAY)
    assert ask(person, far).complete  # there is nothing that could be expanded
    person.put("home", meeting(MONDAY))
    found = ask(person, far)
    assert not found.complete
    edge = NOW - NOW % DAY + 400 * DAY
    assert found.busy == ((edge, far[1], "unknown"),)
    assert {problem for _, _, problem in states(found).values()} == {"beyond-window"}
    assert ask(person, (NOW - 60 * DAY, NOW - 40 * DAY)).busy == (
        (NOW - 60 * DAY, NOW - 40 * DAY, "unknown"),
    )


# --- why ---


@pytest.mark.rule("R26")
def test_the_explanation_names_rules_and_sources_but_no_title(person: Person) -> None:
    busy = person.put("home", meeting(MONDAY))
    free = person.put("work", meeting(MONDAY, 1, "TRANSP:TRANSPARENT"))
    with person.database.read() as session:
        found = explain(session, person.principal, (MONDAY, MONDAY + 60), now=NOW)
    shown = {
        row.object_id: (row.reason, str(row.fbtype), found.collections[row.collection_id].role)
        for row in found.reasons
    }
    assert shown[busy][1:] == ("BUSY", "linked")
    assert shown[free][1:] == ("FREE", "conflict")
    assert shown[busy][0] != shown[free][0]
    assert "secret" not in repr(found).lower()
    assert not found.truncated
