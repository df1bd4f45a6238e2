"""A phone moves an appointment: PUT elsewhere and DELETE here, in either order (R19)."""

import pytest

from gateway.services.moves import WITHIN_S
from gateway.store.booking import bookings
from gateway.store.booking.bookings import Appointment
from gateway.store.outbox import outbox
from gateway.store.outbox.outbox import LedgerRow
from storage_plugin.requests import Request
from tests.storage_plugin.conftest import World, at, now
from tests.storage_plugin.dav import G, event

pytestmark = pytest.mark.rule("R19")


@pytest.fixture
def booked(local_world: World) -> World:
    """An appointment of the platform, and a local calendar of the device."""
    body = event("ap1", at(9), at(10), "SUMMARY:Client")
    assert local_world.platform.put(f"{local_world.platform_path}ap1.ics", body).status == 201
    assert local_world.device.mkcalendar(f"{local_world.home}mine/").status == 201
    return local_world


def rows(world: World) -> tuple[list[Appointment], list[LedgerRow]]:
    """The appointments of the person, and what was ever to go to iCloud."""
    with world.database.read() as session:
        ledger = outbox.list_ledger(session, world.principal_id)
        return bookings.list_appointments(session, [world.principal_id]), ledger


def elsewhere(world: World) -> list[str]:
    """Places an appointment may be dragged to."""
    return [f"{world.home}mine/ap1.ics", f"{world.mirror_path}ap1.ics"]


def fetched(world: World) -> bytes:
    """The appointment as a phone has it, with what a phone changes when it moves an event."""
    body = world.device.get(f"{world.platform_path}ap1.ics").body
    return body.replace(
        b"END:VEVENT", b"X-APPLE-CREATOR-IDENTITY:com.apple.mobilecal\r\nEND:VEVENT"
    )


@pytest.mark.parametrize("place", [0, 1], ids=["local", "mirror"])
def test_put_then_delete_leaves_the_appointment_where_it_is(booked, place):
    path, before = f"{booked.platform_path}ap1.ics", rows(booked)
    copy = booked.device.put(elsewhere(booked)[place], fetched(booked), If_None_Match="*")
    assert (copy.status, copy.conditions) == (403, [f"{G}appointment-stays"])
    gone = booked.device.delete(path)
    assert (gone.status, gone.conditions) == (403, [f"{G}appointment-stays"])
    assert rows(booked) == before
    assert booked.device.get(path).status == 200


@pytest.mark.parametrize("place", [0, 1], ids=["local", "mirror"])
def test_delete_then_put_brings_the_appointment_back(booked, place):
    path, (before, ledger) = f"{booked.platform_path}ap1.ics", rows(booked)
    original, copy = booked.device.get(path).body, fetched(booked)
    assert booked.device.delete(path).status == 204
    assert rows(booked)[0][0].status == "cancelled"
    answer = booked.device.put(elsewhere(booked)[place], copy, If_None_Match="*")
    assert (answer.status, answer.conditions) == (403, [f"{G}appointment-stays"])
    assert booked.device.get(path).body == original
    (after,), after_ledger = rows(booked)
    assert (after.id, after.status) == (before[0].id, "confirmed")
    assert after.object_id is not None
    with booked.database.read() as session:
        found = outbox.find_ledger_by_object(session, after.object_id)
        assert (found is None) == (not ledger)
        if found is not None:
            assert outbox.has_message(session, found.id)
    assert [row.state for row in after_ledger if row.state != "deleted"] == [
        row.state for row in ledger
    ]
    again = booked.device.put(elsewhere(booked)[place], copy, If_None_Match="*")
    assert again.status == 403
    assert booked.device.delete(path).status == 403  # a client that tries it all once more


def test_after_some_minutes_a_deletion_is_a_deletion(booked, monkeypatch):
    path, copy = f"{booked.platform_path}ap1.ics", fetched(booked)
    assert booked.device.put(elsewhere(booked)[0], copy).status == 403
    monkeypatch.setattr(Request, "now", lambda _: now() + WITHIN_S + 1)
    assert booked.device.delete(path).status == 204
    monkeypatch.setattr(Request, "now", lambda _: now() + 2 * WITHIN_S + 2)
    assert booked.device.put(elsewhere(booked)[0], copy).status == 201
    assert rows(booked)[0][0].status == "cancelled"


def test_what_is_no_appointment_moves_as_before(booked):
    path = f"{booked.platform_path}own.ics"
    body = event("own", at(14), at(15))
    assert booked.device.put(path, body).status == 201
    assert booked.device.put(f"{booked.home}mine/own.ics", body).status == 201
    assert booked.device.delete(path).status == 204
    assert booked.device.delete(f"{booked.platform_path}ap1.ics").status == 204


def test_a_platform_cancels_whatever_a_phone_tried(booked):
    assert booked.device.put(elsewhere(booked)[0], fetched(booked)).status == 403
    assert booked.platform.delete(f"{booked.platform_path}ap1.ics").status == 204
    assert rows(booked)[0][0].status == "cancelled"
