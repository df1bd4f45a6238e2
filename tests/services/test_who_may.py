"""Whoever is bound to a subaccount reaches nobody of another, by whichever use case."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway import services
from gateway.core.availability.policy import Policy
from gateway.core.errors import InvalidInput, NotAllowed, NotFound, ReferenceNotFound
from gateway.services.access import keys, people, subaccounts
from gateway.services.access.people import PersonRef
from gateway.services.schedules.schedules import find_named_people
from gateway.store.access import principals
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from tests.services.people import DAY, NOW, Person, make_person

MADE_UP: dict[str, Any] = {
    "all_day": None,
    "by_day": False,
    "calendar_id": "cal_x",
    "changes": {},
    "conflicts": [],
    "detail": "exact",
    "kind": "device",
    "label": "",
    "linked": None,
    "linked_blocks": None,
    "login_id": "login_x",
    "make_week": None,
    "now": NOW,
    "policy": Policy(),
    "show_mirrors": True,
    "token_id": "fb_x",
    "trust_for_s": DAY,
    "window": (NOW, NOW + DAY),
}


def use_cases() -> Iterator[Any]:
    """Yield each function of the services that is told who the caller means."""
    for module in pkgutil.walk_packages(services.__path__, "gateway.services."):
        loaded = importlib.import_module(module.name)
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            is_own = function.__module__ == module.name and not name.startswith("_")
            if is_own and "who" in inspect.signature(function).parameters:
                yield pytest.param(function, id=f"{module.name.rpartition('.')[2]}.{name}")


@pytest.fixture
def person(sqlite_database: Database, keyring: Keyring) -> Person:
    """Somebody with an account."""
    return make_person(sqlite_database, keyring)


def test_all_that_name_a_person_are_found() -> None:
    assert len(list(use_cases())) > 20


@pytest.mark.parametrize("function", list(use_cases()))
@pytest.mark.parametrize("is_there", [True, False], ids=["foreign", "unknown"])
def test_somebody_of_another_subaccount_is_not_there(
    person: Person, function: Callable[..., Any], is_there: bool
) -> None:
    who = PersonRef(person.principal.id, "sub_other") if is_there else PersonRef("p_x")
    parameters = list(inspect.signature(function).parameters)[2:]
    with person.database.write() as session, pytest.raises(NotFound) as refused:
        function(session, who, **{name: MADE_UP[name] for name in parameters})
    assert (type(refused.value), refused.value.code) == (NotFound, "not-found")


def test_a_bound_caller_makes_people_and_keys_only_where_it_belongs(person: Person) -> None:
    bound = person.principal.subaccount_id
    one: dict[str, Any] = {"name": "Bea", "time_zone": "UTC", "now": NOW}
    with person.database.write() as session:
        other = principals.create_subaccount(session, name="Other", now=NOW).id
        assert (
            people.create_person(session, subaccount_id=None, bound=bound, **one).subaccount_id
            == bound
        )
        for elsewhere in (other, "sub_x"):
            with pytest.raises(ReferenceNotFound):
                people.create_person(session, subaccount_id=elsewhere, bound=bound, **one)
        made, _ = keys.create_key(
            session, name="k", scopes=["admin"], subaccount_id=None, bound=bound, now=NOW
        )
        assert made.subaccount_id == bound
        with pytest.raises(ReferenceNotFound):
            keys.create_key(
                session, name="k", scopes=["admin"], subaccount_id=other, bound=bound, now=NOW
            )
        assert people.list_people(session, bound=bound, subaccount_id=other) == []


def test_an_unbound_caller_says_where_and_it_must_be_there(person: Person) -> None:
    one: dict[str, Any] = {"name": "Bea", "time_zone": "UTC", "bound": None, "now": NOW}
    with person.database.write() as session:
        with pytest.raises(InvalidInput, match="Name the subaccount") as nowhere:
            people.create_person(session, subaccount_id=None, **one)
        assert nowhere.value.code == "subaccount-required"
        with pytest.raises(ReferenceNotFound):
            people.create_person(session, subaccount_id="sub_x", **one)
        with pytest.raises(InvalidInput) as unbound:
            keys.create_key(
                session, name="k", scopes=["platform"], subaccount_id=None, bound=None, now=NOW
            )
        assert unbound.value.code == "subaccount-required"


def test_only_an_unbound_caller_makes_and_erases_subaccounts(person: Person) -> None:
    own = person.principal.subaccount_id
    with person.database.write() as session:
        with pytest.raises(NotAllowed):
            subaccounts.create_subaccount(session, name="x", bound=own, now=NOW)
        with pytest.raises(NotAllowed):
            subaccounts.retire_subaccount(session, own, bound=own, now=NOW)
        for act in (subaccounts.get_subaccount, subaccounts.retire_subaccount):
            extra = {"now": NOW} if act is subaccounts.retire_subaccount else {}
            with pytest.raises(NotFound):
                act(session, own, bound="sub_other", **extra)
        with pytest.raises(NotFound):
            subaccounts.change_subaccount(session, own, {"name": "y"}, bound="sub_other")


def test_somebody_at_the_machine_gets_the_first_subaccount(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        first = people.create_person_at_home(session, name="Ann", time_zone="UTC", now=NOW)
        second = people.create_person_at_home(session, name="Bea", time_zone="UTC", now=NOW)
        made = principals.list_subaccounts(session)
    assert [one.name for one in made] == ["default"]
    assert first.subaccount_id == second.subaccount_id == made[0].id


def test_named_people_are_of_one_subaccount_and_the_fault_says_which(person: Person) -> None:
    ann = person.principal.id
    with person.database.write() as session:
        other = principals.create_subaccount(session, name="Other", now=NOW).id
        bea = principals.create_principal(
            session, subaccount_id=other, name="Bea", time_zone="UTC", now=NOW
        ).id
        with pytest.raises(InvalidInput) as mixed:
            find_named_people(session, {ann: "/principals/0", bea: "/principals/1"}, bound=None)
        assert (mixed.value.code, mixed.value.pointer) == ("subaccounts-mixed", "/principals/1")
        with pytest.raises(ReferenceNotFound) as foreign:
            find_named_people(session, {ann: "/principals/0", bea: "/principals/1"}, bound=other)
        assert foreign.value.pointer == "/principals/0"
        found = find_named_people(session, {bea: "/principals/0"}, bound=None)
    assert [one.id for one in found] == [bea]
