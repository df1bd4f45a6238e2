"""Who may write what, what it becomes, and what of it may go to iCloud."""

import pytest

from gateway.store import booking_tables, tables
from gateway.store.access.principals import update_principal
from gateway.store.booking.bookings import create_hold
from gateway.store.outbox.outbox import list_messages, mark_in_doubt, update_ledger
from tests.storage_plugin.conftest import DAY0, at, now
from tests.storage_plugin.dav import G, event


def noon(**kwargs) -> int:
    return int(DAY0.timestamp()) + 12 * 3600


@pytest.mark.rule("R13", "R19")
def test_a_platform_put_is_an_appointment_with_ledger_row_and_message(world):
    put = world.platform.put(f"{world.platform_path}a.ics", event("a", at(9), at(10)))
    assert put.status == 201
    (row,) = world.ledger()
    assert (row.object_id, row.upstream_calendar_id, row.upstream_path, row.account_index) == (
        world.object("a.ics").id,
        world.calendar_id,
        "/1/calendars/work/",
        world.account_index,
    )
    assert (row.state, row.upstream_uid != "a", row.upstream_name) == (
        "pending",
        True,
        f"{row.upstream_uid}.ics",
    )
    assert world.messages() == [("put", "pending", world.connection_id)]
    (appointment,) = world.appointments()
    assert (appointment.title, appointment.status, appointment.object_id) == (
        "Meeting",
        "confirmed",
        row.object_id,
    )
    assert appointment.end - appointment.start == 3600


@pytest.mark.rule("R14", "R19")
def test_a_device_put_is_a_blocked_slot_and_stays_here(world):
    world.device.put(f"{world.platform_path}d.ics", event("d", at(9), at(10)))
    marked = event("m", at(11), at(12), "X-GATEWAY-KIND:BLOCKED-SLOT")
    world.platform.put(f"{world.platform_path}m.ics", marked)
    kinds = [world.object(name).kind for name in ("d.ics", "m.ics")]
    assert kinds == ["blocked-slot", "blocked-slot"]
    assert (world.ledger(), world.messages(), world.appointments()) == ([], [], [])


@pytest.mark.rule("R19")
def test_the_kind_never_changes(world):
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    world.platform.put(path, event("a", at(9), at(10), "X-GATEWAY-KIND:BLOCKED-SLOT"))
    assert world.device.put(path, event("a", at(14), at(15))).status == 204
    assert world.object("a.ics").kind == "appointment"
    device = f"{world.platform_path}d.ics"
    world.device.put(device, event("d", at(9), at(10)))
    assert world.platform.put(device, event("d", at(9), at(10))).status == 204
    assert world.object("d.ics").kind == "blocked-slot"
    assert len(world.ledger()) == 1


@pytest.mark.rule("R16", "R19")
def test_a_device_edit_of_an_appointment_goes_up_in_one_message(world):
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    world.device.put(path, event("a", at(14), at(15), summary="Later"))
    assert world.messages() == [("put", "pending", world.connection_id)]
    (appointment,) = world.appointments()
    assert (appointment.title, appointment.start) == ("Later", int(DAY0.timestamp()) + 14 * 3600)


@pytest.mark.rule("R13", "R16")
def test_deleting_what_was_never_sent_sends_nothing(world):
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    assert world.device.delete(path).status == 204
    (row,) = world.ledger()
    assert (row.object_id, row.state, world.messages()) == (None, "deleted", [])
    (appointment,) = world.appointments()
    assert (appointment.status, appointment.object_id) == ("cancelled", None)


@pytest.mark.rule("R13", "R16")
@pytest.mark.parametrize("sent", ["pushed", "in doubt"])
def test_deleting_what_may_be_upstream_sends_a_delete(world, sent):
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    (row,) = world.ledger()
    with world.database.write() as session:
        ((message, _row),) = list_messages(session, world.principal_id)
        if sent == "pushed":
            session.execute(tables.outbox.delete().where(tables.outbox.c.id == message.id))
            update_ledger(session, row.id, now=now(), state="pushed", upstream_etag='"1"')
        else:
            mark_in_doubt(session, message.id)
    assert world.platform.delete(path).status == 204
    (after,) = world.ledger()
    assert (after.id, after.object_id) == (row.id, None)
    assert world.messages()[-1] == ("delete", "pending", world.connection_id)


@pytest.mark.rule("R7")
def test_without_a_linked_calendar_nothing_is_allowed_up(world):
    world.change(tables.upstream_calendars, role="conflict")
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    world.change(tables.upstream_calendars, role="linked")
    world.platform.put(path, event("a", at(11), at(12)))
    assert (world.ledger(), world.messages(), len(world.appointments())) == ([], [], 1)


@pytest.mark.rule("R3")
def test_an_edit_while_disconnected_parks(world):
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    world.change(tables.connections, state="disconnected")
    world.platform.put(path, event("a", at(11), at(12)))
    assert world.messages() == [("put", "parked", world.connection_id)]
    world.platform.put(f"{world.platform_path}b.ics", event("b", at(13), at(14)))
    assert len(world.ledger()) == 1


@pytest.mark.rule("R3", "R13")
def test_an_edit_after_reconnecting_another_account_goes_nowhere(world):
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    world.change(tables.connections, account_index=world.principal_id.encode())
    world.change(tables.outbox, attempts=1)
    world.platform.put(path, event("a", at(11), at(12)))
    assert world.messages()[-1] == ("put", "pending", None)


@pytest.mark.rule("R27")
def test_an_appointment_never_lands_on_busy_time(world):
    world.mirror_put("busy.ics", event("busy", at(9), at(10)))
    path = f"{world.platform_path}a.ics"
    refused = world.platform.put(path, event("a", at(9.5), at(10.5)))
    assert (refused.status, refused.conditions) == (409, [f"{G}slot-taken"])
    gaps = [dict(node.attrib) for node in refused.xml.iter(f"{G}next-free")]
    assert gaps[0] == {"start": at(10), "end": at(11)}
    assert world.platform.get(path).status == 404
    assert world.platform.put(path, event("a", at(10), at(11))).status == 201
    assert world.platform.put(path, event("a", at(10.5), at(11.5))).status == 204
    assert world.platform.put(path, event("a", at(9.5), at(10.5))).status == 409
    assert world.platform.get(path).body == event("a", at(10.5), at(11.5))


@pytest.mark.rule("R27")
def test_a_persons_own_slot_may_overlap_and_then_text_can_still_change(world):
    path = f"{world.platform_path}a.ics"
    world.platform.put(path, event("a", at(9), at(10)))
    own = world.device.put(f"{world.platform_path}own.ics", event("own", at(9), at(10)))
    assert own.status == 201
    assert world.platform.put(path, event("a", at(9), at(10), summary="Renamed")).status == 204
    assert world.device.put(path, event("a", at(9.5), at(10))).status == 204
    assert world.platform.put(path, event("a", at(9), at(10))).status == 409


@pytest.mark.rule("R27")
def test_the_platform_can_insist(world):
    world.mirror_put("busy.ics", event("busy", at(9), at(10)))
    body = event("a", at(9), at(10))
    headers = {"X-Gateway-Allow-Overlap": "T"}
    assert world.platform.put(f"{world.platform_path}a.ics", body, **headers).status == 201


@pytest.mark.rule("R30")
def test_a_hold_counts_until_it_expires(world):
    with world.database.write() as session:
        create_hold(
            session,
            world.principal_id,
            (noon(), noon() + 3600),
            expires_at=now() + 300,
            now=now(),
        )
    path = f"{world.platform_path}a.ics"
    body = event("a", at(12), at(13))
    assert world.platform.put(path, body).status == 409
    world.change(booking_tables.holds, expires_at=now() - 1)
    assert world.platform.put(path, body).status == 201


@pytest.mark.rule("R25")
def test_unknown_time_is_not_sold(world):
    world.change(tables.upstream_calendars, synced_at=None, state="never")
    refused = world.platform.put(f"{world.platform_path}a.ics", event("a", at(9), at(10)))
    assert (refused.status, refused.conditions) == (409, [f"{G}availability-unknown"])
    far = event("far", at(9, day=900), at(10, day=900))
    world.change(tables.upstream_calendars, synced_at=now(), state="ok")
    world.platform.put(f"{world.platform_path}near.ics", event("near", at(9), at(10)))
    refused = world.platform.put(f"{world.platform_path}far.ics", far)
    assert refused.conditions == [f"{G}availability-unknown"]


@pytest.mark.rule("R17", "R27")
def test_an_appointment_blocks_whatever_it_says(world):
    free = event("a", at(9), at(10), "TRANSP:TRANSPARENT")
    world.platform.put(f"{world.platform_path}a.ics", free)
    taken = world.platform.put(f"{world.platform_path}b.ics", event("b", at(9), at(10)))
    assert taken.status == 409
    cancelled = event("a", at(9), at(10), "STATUS:CANCELLED")
    world.platform.put(f"{world.platform_path}a.ics", cancelled)
    assert [row.status for row in world.appointments()] == ["cancelled"]
    again = world.platform.put(f"{world.platform_path}b.ics", event("b", at(9), at(10)))
    assert again.status == 201


@pytest.mark.rule("R27")
def test_a_series_is_checked_in_every_instance(world):
    world.mirror_put("busy.ics", event("busy", at(9, day=3), at(10, day=3)))
    series = event("s", at(9), at(10), "RRULE:FREQ=DAILY")
    assert world.platform.put(f"{world.platform_path}s.ics", series).status == 409
    clear = event("s", at(11), at(12), "RRULE:FREQ=DAILY")
    assert world.platform.put(f"{world.platform_path}s.ics", clear).status == 201


@pytest.mark.rule("R13", "R19")
def test_moving_keeps_kind_ledger_and_body(world):
    path, new = f"{world.platform_path}a.ics", f"{world.platform_path}b.ics"
    body = event("a", at(9), at(10))
    world.platform.put(path, body)
    (row,) = world.ledger()
    token = world.device.sync(world.platform_path).xml.findtext("{DAV:}sync-token")
    assert world.device.move(path, new).status == 201
    assert world.device.get(new).body == body
    assert world.device.get(path).status == 404
    assert (world.ledger()[0].object_id, world.object("b.ics").id) == (
        row.object_id,
        row.object_id,
    )
    assert world.device.sync(world.platform_path, token).hrefs == [path, new]


@pytest.mark.rule("R19")
def test_an_appointment_cannot_leave_platform_a_blocked_slot_can(world):
    local = f"{world.home}mine/"
    world.device.mkcalendar(local)
    world.platform.put(f"{world.platform_path}a.ics", event("a", at(9), at(10)))
    world.device.put(f"{world.platform_path}d.ics", event("d", at(11), at(12)))
    refused = world.device.move(f"{world.platform_path}a.ics", f"{local}a.ics")
    assert (refused.status, refused.conditions) == (403, [f"{G}appointment-stays"])
    assert world.device.move(f"{world.platform_path}d.ics", f"{local}d.ics").status == 201
    assert world.device.move(f"{local}d.ics", f"{world.platform_path}e.ics").status == 201
    assert world.object("e.ics").kind == "blocked-slot"
    copied = world.device.move(f"{world.platform_path}a.ics", f"{local}c.ics", "COPY")
    assert (copied.status, world.object("c.ics", "mine").kind) == (201, "blocked-slot")
    assert len(world.ledger()) == 1


@pytest.mark.rule("R20")
def test_mirrored_events_can_be_copied_out_but_not_moved(world):
    world.mirror_put("m.ics", event("m", at(9), at(10)))
    source = f"{world.mirror_path}m.ics"
    assert world.device.move(source, f"{world.platform_path}m.ics").status == 403
    assert world.device.move(source, f"{world.platform_path}m.ics", "COPY").status == 201
    assert world.object("m.ics").kind == "blocked-slot"
    into = world.device.move(f"{world.platform_path}m.ics", f"{world.mirror_path}x.ics")
    assert into.conditions == ["{DAV:}need-privileges"]
    assert world.device.get(source).status == 200


def test_overwrite_and_uid_rules_of_moves(world):
    for name in ("a", "b"):
        world.device.put(f"{world.platform_path}{name}.ics", event(name, at(9), at(10)))
    a, b = (f"{world.platform_path}{name}.ics" for name in ("a", "b"))
    assert world.device.move(a, b, Overwrite="F").status == 412
    assert world.device.move(a, b).conditions == ["{urn:ietf:params:xml:ns:caldav}no-uid-conflict"]
    assert world.device.move(a, a).status == 403
    assert world.device.move(a, "/somebody/platform/a.ics").status == 403
    assert world.device.move(a, f"{world.home}none/a.ics").status == 409
    assert world.device.request("MOVE", a).status == 400
    assert world.device.move(a, f"{world.platform_path}c.ics", **{"If-Match": '"x"'}).status == 412


@pytest.mark.rule("R13", "R19")
def test_a_put_where_something_was_deleted_is_a_new_object(world):
    """The kind is decided anew, and what goes up has an identity of its own (UID tombstones)."""
    path, body = f"{world.platform_path}a.ics", event("a", at(9), at(10))
    world.platform.put(path, body)
    (first,) = world.ledger()
    world.platform.delete(path)
    assert world.device.put(path, body).status == 201
    assert world.object("a.ics").kind == "blocked-slot"
    assert len(world.ledger()) == 1
    world.device.delete(path)
    assert world.platform.put(path, body).status == 201
    assert world.object("a.ics").kind == "appointment"
    old, new = sorted(world.ledger(), key=lambda row: row.id != first.id)
    assert (old.id, old.object_id, new.object_id) == (
        first.id,
        None,
        world.object("a.ics").id,
    )
    assert len({old.upstream_uid, new.upstream_uid, "a"}) == 3


@pytest.mark.rule("R13", "R14", "R20")
def test_the_uid_of_a_mirrored_event_makes_nothing_of_it_writable(world):
    """A client drags an event out of a mirror: the same UID, but another calendar and object."""
    body = event("m", at(9), at(10))
    world.mirror_put("m.ics", body)
    assert world.device.put(f"{world.mirror_path}m.ics", body).status == 403
    assert world.device.put(f"{world.mirror_path}other.ics", body).status == 403
    assert world.device.put(f"{world.platform_path}m.ics", body).status == 201
    assert (world.object("m.ics").kind, world.ledger()) == ("blocked-slot", [])
    later = event("m2", at(12), at(13))
    world.mirror_put("m2.ics", later)
    moved = event("m2", at(14), at(15))
    assert world.platform.put(f"{world.platform_path}m2.ics", moved).status == 201
    (row,) = world.ledger()
    assert row.upstream_uid != "m2"
    assert world.device.get(f"{world.mirror_path}m2.ics").body == later


@pytest.mark.rule("R25", "R27")
def test_a_series_is_not_booked_while_everything_is_expanded_anew(world):
    """Between a change of zone and the end of its expansion nothing is known for sure."""
    day = DAY0.strftime("%Y%m%d")
    all_day = event("d", "X", "", "TRANSP:OPAQUE").replace(
        b"DTSTART:X", f"DTSTART;VALUE=DATE:{day}".encode()
    )
    world.mirror_put("a.ics", event("a", at(9, day=1), at(10, day=1)))
    assert world.device.put(f"{world.platform_path}d.ics", all_day).status == 201
    with world.database.write() as session:
        update_principal(session, world.principal_id, {"time_zone": "Asia/Tokyo"})
    path = f"{world.platform_path}s.ics"
    for hour, code in ((9, "slot-taken"), (11, "availability-unknown")):
        series = event("s", at(hour, day=1), at(hour + 1, day=1), "RRULE:FREQ=DAILY")
        refused = world.platform.put(path, series)
        assert (refused.status, refused.conditions) == (409, [f"{G}{code}"])


@pytest.mark.rule("R25", "R27")
def test_far_ahead_nothing_is_booked_unseen_and_what_is_there_can_be_renamed(world):
    times = at(9, day=900), at(10, day=900)
    path, headers = f"{world.platform_path}far.ics", {"X-Gateway-Allow-Overlap": "T"}
    rules = ("RRULE:FREQ=DAILY;COUNT=2",), ()
    world.mirror_put("near.ics", event("near", at(9), at(10)))
    for rule in rules:
        refused = world.platform.put(path, event("far", *times, *rule))
        assert (refused.status, refused.conditions) == (409, [f"{G}availability-unknown"])
    for rule in rules:
        assert world.platform.put(path, event("far", *times, *rule), **headers).status in (201, 204)
        again = event("far", *times, *rule, summary="Another title")
        assert world.platform.put(path, again).status == 204
    moved = world.platform.put(path, event("far", at(9, day=901), at(10, day=901)))
    assert moved.conditions == [f"{G}availability-unknown"]
    cancelled = event("far", *times, "STATUS:CANCELLED")
    assert world.platform.put(path, cancelled).status == 204
    refused = world.platform.put(path, event("far", *times))
    assert refused.conditions == [f"{G}availability-unknown"]
