"""Local calendars as a use case: what is written, what is refused, whose change is told (R18)."""

import pytest
from sqlalchemy import select

from gateway.core.errors import CalendarStays, NotFound, OverQuota, StateConflict
from gateway.services import local_calendars
from gateway.services.local_calendars import (
    CalendarChange,
    change_calendar,
    delete_calendar,
    make_calendar,
)
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.objects.collections import Collection, find_collection
from gateway.store.tables import generations
from tests.services.people import NOW, Person, make_person

pytestmark = pytest.mark.rule("R18")


@pytest.fixture
def person(sqlite_database: Database, keyring: Keyring) -> Person:
    """Somebody without a local calendar."""
    return make_person(sqlite_database, keyring)


def make(person: Person, name: str = "mine", **wanted: object) -> Collection:
    change = CalendarChange(**wanted)
    with person.database.write() as session:
        make_calendar(session, person.principal.id, name, change, components=("VEVENT",), now=NOW)
    return calendar(person, name)


def change(person: Person, known: Collection, **wanted: object) -> Collection:
    with person.database.write() as session:
        change_calendar(
            session, person.principal.id, known.id, CalendarChange(**wanted), now=NOW + 1
        )
    return calendar(person, known.name)


def calendar(person: Person, name: str) -> Collection:
    with person.database.read() as session:
        found = find_collection(session, person.principal.id, name)
    assert found is not None
    return found


def generation(person: Person) -> int:
    with person.database.read() as session:
        query = select(generations.c.generation).where(
            generations.c.principal_id == person.principal.id
        )
        return session.execute(query).scalar_one()


def test_a_calendar_is_made_and_changed_property_by_property(person: Person) -> None:
    made = make(person, properties={"{x}a": "1", "{x}b": "2", "{x}none": None})
    assert (made.kind, made.display_name, made.components) == ("local", "mine", ("VEVENT",))
    assert (made.transparent, made.properties) == (False, {"{x}a": "1", "{x}b": "2"})
    changed = change(person, made, display_name="Mine", properties={"{x}a": None, "{x}c": "3"})
    assert (changed.display_name, changed.transparent) == ("Mine", False)
    assert changed.properties == {"{x}b": "2", "{x}c": "3"}
    assert change(person, made, display_name="").display_name == "mine"


def test_only_what_may_block_counts_as_a_change_of_the_person(person: Person) -> None:
    before = generation(person)
    made = make(person)
    assert generation(person) == before + 1
    change(person, made, display_name="Mine")
    change(person, made, transparent=False)
    assert generation(person) == before + 1
    assert change(person, made, transparent=True).transparent
    assert generation(person) == before + 2


def test_an_address_is_taken_once(person: Person) -> None:
    make(person)
    for name in ("mine", "platform"):
        with pytest.raises(StateConflict) as caught:
            make(person, name)
        assert caught.value.code == "calendar-exists"


def test_calendars_and_their_properties_have_bounds(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(person, properties={"{x}a": "12345", "{x}b": "6"})
    monkeypatch.setattr(local_calendars, "MAX_LOCAL_CALENDARS", 2)
    with pytest.raises(OverQuota):
        make(person, "more")
    monkeypatch.setattr(local_calendars, "MAX_PROPERTIES", 1)
    with pytest.raises(OverQuota):
        change(person, made, properties={"{x}c": "7"})
    kept = change(person, made, properties={"{x}a": "1", "{x}b": "6"}).properties
    assert kept == {"{x}a": "1", "{x}b": "6"}
    monkeypatch.setattr(local_calendars, "MAX_PROPERTIES_SIZE", 8)
    with pytest.raises(OverQuota):
        change(person, made, properties={"{x}a": "123456"})
    assert change(person, made, properties={"{x}b": None}).properties == {"{x}a": "1"}


def test_a_local_calendar_can_be_deleted_and_no_other(person: Person) -> None:
    make(person)
    seen: list[str | None] = []

    def look(found: Collection | None) -> None:
        seen.append(found.name if found is not None else None)

    def delete(name: str) -> None:
        with person.database.write() as session:
            delete_calendar(session, person.principal.id, name, check=look)

    before = generation(person)
    for name in ("platform", "nothing"):
        with pytest.raises(CalendarStays) as caught:
            delete(name)
        assert caught.value.principal_id == person.principal.id
    assert generation(person) == before
    delete("mine")
    assert seen == ["platform", None, "mine"]
    assert generation(person) == before + 1
    with person.database.read() as session:
        assert find_collection(session, person.principal.id, "mine") is None


def test_what_the_caller_refuses_is_not_deleted(person: Person) -> None:
    make(person)

    def refuse(_found: Collection | None) -> None:
        raise NotFound("Not this one.")

    with pytest.raises(NotFound), person.database.write() as session:
        delete_calendar(session, person.principal.id, "mine", check=refuse)
    assert calendar(person, "mine").kind == "local"
