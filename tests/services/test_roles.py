"""Choosing calendars: refusals, mirrors, tracked calendars, and repeating it (R5-R8)."""

from typing import Any

import pytest

from gateway.core.errors import InvalidInput, NotFound
from gateway.services.accounts.roles import (
    change_calendar_roles,
    set_calendar_roles,
)
from gateway.store.accounts import accounts
from gateway.store.accounts.accounts import Keyring
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.engine import Database
from gateway.store.objects import collections, objects
from gateway.store.outbox import outbox
from tests.services.people import MONDAY, NOW, Person, make_person, meeting


@pytest.fixture
def person(sqlite_database: Database, keyring: Keyring) -> Person:
    """Somebody with one calendar of every kind."""
    return make_person(sqlite_database, keyring)


def choose(
    person: Person,
    linked: str | None,
    *conflicts: str,
    linked_blocks: bool | None = None,
) -> dict[str, UpstreamCalendar]:
    """Set the roles by name; returns the calendars by name."""
    with person.database.write() as session:
        found = set_calendar_roles(
            session,
            person.principal.id,
            linked=None if linked is None else person.calendar.get(linked, linked),
            conflicts=[person.calendar.get(name, name) for name in conflicts],
            linked_blocks=linked_blocks,
            now=NOW,
        )
    names = {calendar_id: name for name, calendar_id in person.calendar.items()}
    return {names[calendar.id]: calendar for calendar in found}


def change(person: Person, **parts: Any) -> dict[str, UpstreamCalendar]:
    """Change parts of the choice, calendars by name; returns the calendars by name."""

    def ids(value: Any) -> Any:
        if isinstance(value, list):
            return [person.calendar.get(name, name) for name in value]
        return person.calendar.get(value, value) if isinstance(value, str) else value

    with person.database.write() as session:
        named = {part: ids(value) for part, value in parts.items()}
        found = change_calendar_roles(session, person.principal.id, **named, now=NOW)
    names = {calendar_id: name for name, calendar_id in person.calendar.items()}
    return {names[calendar.id]: calendar for calendar in found}


def roles_of(found: dict[str, UpstreamCalendar]) -> dict[str, tuple[str, bool]]:
    """Return {name: (role, blocks)} of what is used at all."""
    return {
        name: (calendar.role, calendar.blocks)
        for name, calendar in found.items()
        if calendar.role != "none"
    }


def mirrors(person: Person) -> dict[str, str]:
    """Return {path segment: display name} of the mirrors."""
    with person.database.read() as session:
        return {
            found.name: found.display_name
            for found in collections.list_collections(session, person.principal.id)
            if found.kind == "mirror"
        }


def state(person: Person) -> tuple[int, float]:
    """Return (generation, next sync)."""
    with person.database.read() as session:
        connection = accounts.get_connection(session, person.connection.id)
        return objects.get_extent(session, person.principal.id)[0], connection.next_sync_at


@pytest.mark.rule("R6")
def test_a_choice_makes_mirrors_and_a_sync_due(database: Database, keyring: Keyring) -> None:
    person = make_person(database, keyring)
    person.set_connection(next_sync_at=float(NOW + 500))
    before, _ = state(person)
    found = choose(person, "home", "team")
    assert roles_of(found) == {"home": ("linked", True), "team": ("conflict", True)}
    assert mirrors(person) == {
        f"mirror-{person.calendar[name].removeprefix('cal_')}": name.title()
        for name in ("home", "team")
    }
    assert state(person) == (before + 1, 0.0)
    with person.database.read() as session:
        mirror = collections.find_mirror(session, person.calendar["home"])
    assert mirror is not None
    assert mirror.properties == {"{http://apple.com/ns/ical/}calendar-color": "#FF2968FF"}


@pytest.mark.rule("R6")
def test_repeating_a_choice_changes_nothing(person: Person) -> None:
    choose(person, "home", "work")
    person.set_calendar("home", sync_token="t", ctag="c", state="ok", synced_at=NOW)
    person.set_connection(next_sync_at=float(NOW + 500))
    before = state(person), mirrors(person)
    found = choose(person, "home", "work", "home")
    assert (state(person), mirrors(person)) == before
    assert (found["home"].sync_token, found["home"].state) == ("t", "ok")


@pytest.mark.rule("R6")
def test_the_linked_calendar_need_not_block(person: Person) -> None:
    assert roles_of(choose(person, "home", linked_blocks=False)) == {"home": ("linked", False)}
    assert roles_of(choose(person, "home")) == {"home": ("linked", True)}


HOME, WORK, TEAM = ("linked", True), ("conflict", True), ("conflict", True)
CHANGES: list[tuple[dict[str, Any], dict[str, tuple[str, bool]]]] = [
    ({}, {"home": ("linked", False), "work": WORK, "team": TEAM}),
    ({"linked": "work"}, {"work": HOME, "team": TEAM}),
    ({"linked": None}, {"work": WORK, "team": TEAM}),
    ({"linked": "home"}, {"home": ("linked", False), "work": WORK, "team": TEAM}),
    ({"linked_blocks": True}, {"home": HOME, "work": WORK, "team": TEAM}),
    ({"linked": "work", "linked_blocks": False}, {"work": ("linked", False), "team": TEAM}),
    ({"conflicts": ["team"]}, {"home": ("linked", False), "team": TEAM}),
    ({"conflicts": []}, {"home": ("linked", False)}),
    ({"add": ["work"]}, {"home": ("linked", False), "work": WORK, "team": TEAM}),
    ({"drop": ["work"]}, {"home": ("linked", False), "team": TEAM}),
    ({"conflicts": [], "add": ["work"]}, {"home": ("linked", False), "work": WORK}),
    ({"linked": None, "add": ["home"]}, {"home": WORK, "work": WORK, "team": TEAM}),
]


@pytest.mark.rule("R6", "R46")
@pytest.mark.parametrize(("parts", "wanted"), CHANGES, ids=[str(parts) for parts, _ in CHANGES])
def test_a_change_touches_nothing_but_what_it_names(
    person: Person, parts: dict[str, Any], wanted: dict[str, tuple[str, bool]]
) -> None:
    choose(person, "home", "work", "team", linked_blocks=False)
    assert roles_of(change(person, **parts)) == wanted


@pytest.mark.rule("R46")
def test_a_vanished_conflict_calendar_does_not_stand_in_the_way_of_another_change(
    person: Person,
) -> None:
    choose(person, None, "work", "team")
    person.set_calendar("team", state="gone")
    assert roles_of(change(person, linked="home")) == {"home": HOME, "work": WORK, "team": TEAM}
    with pytest.raises(InvalidInput) as refused:
        change(person, conflicts=["holidays"])
    assert (refused.value.code, refused.value.pointer) == ("calendar-subscribed", "/conflicts/0")


def test_an_unknown_calendar_lists_those_that_may_be_chosen(person: Person) -> None:
    with pytest.raises(InvalidInput) as refused:
        change(person, linked="cal_foreign")
    for name in ("Home", "Work", "Team"):
        assert f"“{name}” ({person.calendar[name.lower()]})" in refused.value.detail
    assert "Holidays" not in refused.value.detail


@pytest.mark.rule("R6")
def test_nothing_may_be_chosen(person: Person) -> None:
    choose(person, "home", "work")
    assert roles_of(choose(person, None)) == {}
    assert mirrors(person) == {}


@pytest.mark.rule("R5", "R8")
@pytest.mark.parametrize(
    ("name", "as_linked", "as_conflict"),
    [
        ("team", "calendar-read-only", None),
        ("holidays", "calendar-subscribed", "calendar-subscribed"),
        ("todo", "calendar-no-events", "calendar-no-events"),
        ("inbox", "calendar-scheduling", "calendar-scheduling"),
        ("cal_foreign", "calendar-unknown", "calendar-unknown"),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(
    person: Person, name: str, as_linked: str, as_conflict: str | None
) -> None:
    choose(person, "home")
    with pytest.raises(InvalidInput) as refused:
        choose(person, name, "work")
    assert (refused.value.code, refused.value.pointer) == (as_linked, "/linked")
    if as_conflict is None:
        choose(person, "home", name)
    else:
        with pytest.raises(InvalidInput) as refused:
            choose(person, "work", "work", name)
        assert (refused.value.code, refused.value.pointer) == (as_conflict, "/conflicts/1")
    assert "work" not in roles_of(choose(person, "home"))


@pytest.mark.rule("R5")
def test_a_vanished_calendar_cannot_be_chosen(person: Person) -> None:
    person.set_calendar("work", state="gone")
    with pytest.raises(InvalidInput) as refused:
        choose(person, "work")
    assert refused.value.code == "calendar-gone"


@pytest.mark.rule("R7")
@pytest.mark.parametrize(("pushed", "role"), [(True, "tracked"), (False, "none")])
def test_a_formerly_linked_calendar_is_tracked_while_it_holds_appointments(
    person: Person, pushed: bool, role: str
) -> None:
    choose(person, "home")
    person.put("home", meeting(MONDAY))
    own = person.put("platform", meeting(MONDAY + 7200))
    person.set_calendar("home", sync_token="t", ctag="c", state="ok", synced_at=NOW)
    with person.database.write() as session:
        row = outbox.create_ledger_row(
            session,
            principal_id=person.principal.id,
            object_id=own,
            account_index=None,
            upstream_calendar_id=person.calendar["home"],
            upstream_path="/111/calendars/home/",
            upstream_uid="u-1",
            now=NOW,
        )
        outbox.update_ledger(session, row.id, now=NOW, state="pushed" if pushed else "deleted")
    found = choose(person, "work", linked_blocks=True)
    assert (found["home"].role, found["home"].blocks) == (role, False)
    assert found["work"].role == "linked"
    assert found["home"].sync_token is None
    assert found["home"].state == "never"
    assert list(mirrors(person).values()) == ["Work"]
    back = choose(person, "home")
    assert (back["home"].role, back["home"].state) == ("linked", "never")


@pytest.mark.rule("R6")
def test_a_mirror_survives_a_change_between_linked_and_conflict(person: Person) -> None:
    choose(person, "home", "work")
    person.put("work", meeting(MONDAY))
    person.set_calendar("work", sync_token="t", state="ok", synced_at=NOW)
    found = choose(person, "work", "home")
    assert roles_of(found) == {"work": ("linked", True), "home": ("conflict", True)}
    assert (found["work"].sync_token, found["work"].state) == ("t", "ok")
    with person.database.read() as session:
        mirror = collections.find_mirror(session, person.calendar["work"])
        assert mirror is not None
        assert len(objects.list_objects(session, mirror.id)) == 1


@pytest.mark.rule("R25")
def test_what_a_first_sync_had_reached_is_forgotten_with_the_mirror(person: Person) -> None:
    choose(person, "home")
    person.set_calendar("home", state="syncing", reached_from=NOW, reached_until=NOW + 500)
    choose(person, None)
    found = choose(person, "home")["home"]
    assert (found.state, found.reached_from, found.reached_until) == ("never", None, None)


def test_without_a_connection_there_is_nothing_to_choose(person: Person) -> None:
    person.set_connection(state="disconnected")
    with pytest.raises(NotFound) as refused:
        choose(person, None)
    assert refused.value.code == "not-connected"
