"""What one write by CalDAV costs the database: statements, transactions, locks and parsings."""

import pytest

from gateway.core.ical import objects as ical_objects
from gateway.store import tables
from storage_plugin.http import throttle
from tests.counting import Counted, counting
from tests.parsing import parsing
from tests.storage_plugin.conftest import World, at
from tests.storage_plugin.dav import event


@pytest.fixture(autouse=True)
def _without_the_look_at_failed_logins(monkeypatch):
    """Once a second a process reads what others counted; that is no part of a request."""
    monkeypatch.setattr(throttle, "READ_EVERY_S", 3600.0)


@pytest.fixture
def warm(local_world: World) -> World:
    """A person whose logins were seen already, with an appointment and a Blocked Slot."""
    world = local_world
    path = world.platform_path
    assert world.platform.put(f"{path}known.ics", event("known", at(9), at(10))).status == 201
    assert world.device.put(f"{path}slot.ics", event("slot", at(20), at(21))).status == 201
    return world


def counted(world: World, act, *statuses: int) -> Counted:
    """Count what one request asks; the principal is locked exactly once."""
    with counting(world.database) as found:
        answer = act()
    assert answer.status in statuses, answer.text
    assert found.of("FROM principals WHERE principals.id = ? AND principals.erased_at") == 1
    assert found.of("SAVEPOINT") == 0
    return found


def put(world: World, name: str, body: bytes, login: str = "platform") -> Counted:
    path = f"{world.platform_path}{name}"
    return counted(world, lambda: getattr(world, login).put(path, body), 201, 204)


def cost(found: Counted) -> tuple[int, int]:
    return len(found.statements), found.transactions


def at_most(found: Counted, statements: int) -> None:
    """The login is read with the rest, and all is written at once."""
    assert (len(found.statements) <= statements, found.transactions) == (True, 2), str(found)


def test_a_new_appointment(warm):
    at_most(put(warm, "new.ics", event("new", at(12), at(13))), 20)


def test_an_appointment_that_moves(warm):
    at_most(put(warm, "known.ics", event("known", at(14), at(15))), 22)


def test_an_appointment_that_keeps_its_time(warm):
    at_most(put(warm, "known.ics", event("known", at(9), at(10), summary="Other")), 22)


def test_blocked_slots(warm):
    at_most(put(warm, "b.ics", event("b", at(12), at(13)), "device"), 12)
    at_most(put(warm, "b.ics", event("b", at(14), at(15)), "device"), 13)


@pytest.mark.parametrize("state", ["pending", "pushed"])
def test_a_deleted_appointment(warm, state):
    warm.change(tables.push_ledger, state=state, upstream_etag='"1"' if state == "pushed" else None)
    path = f"{warm.platform_path}known.ics"
    at_most(counted(warm, lambda: warm.platform.delete(path), 204), 12)


def test_a_deletion_by_a_device(warm):
    path = f"{warm.platform_path}known.ics"
    at_most(counted(warm, lambda: warm.device.delete(path), 204), 16)
    path = f"{warm.platform_path}slot.ics"
    at_most(counted(warm, lambda: warm.device.delete(path), 204), 8)


def test_a_move(warm):
    own = f"{warm.home}own/"
    assert warm.device.mkcalendar(own).status == 201
    source = f"{warm.platform_path}slot.ics"
    at_most(counted(warm, lambda: warm.device.move(source, f"{own}slot.ics"), 201), 15)


def test_a_refused_put_costs_no_more(warm):
    path = f"{warm.platform_path}new.ics"
    body = event("new", at(9), at(10))
    found = counted(warm, lambda: warm.platform.put(path, body), 409)
    assert found.transactions == 2
    assert len(found.statements) <= 16, str(found)


@pytest.mark.parametrize("name", ["new", "known"])
def test_a_body_is_parsed_and_expanded_once(warm, name, monkeypatch):
    checked = []
    parse = ical_objects.parse_calendar_object
    monkeypatch.setattr(
        "gateway.services.objects.parse_calendar_object",
        lambda body: checked.append(body) or parse(body),
    )
    with parsing() as seen:
        put(warm, f"{name}.ics", event(name, at(16), at(17)))
    assert len(checked) == 1
    assert seen == {"unfold": 1, "read": 1, "expand": 1}
