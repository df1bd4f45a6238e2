"""Erasing: out of sight at once, gone in pieces, whoever dies in between."""

from collections.abc import Callable

import pytest
from sqlalchemy import insert, update

from gateway.core.errors import NotFound
from gateway.store import tables
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.booking import agenda, bookings
from gateway.store.engine import Database, Session, lock_principal
from gateway.store.objects import collections, objects
from gateway.store.objects import instances as busy
from gateway.store.operations import checkup, erasing
from gateway.store.outbox import outbox, overview
from gateway.store.outbox.overview import Scope
from tests.store.conftest import NOW, Place, prepared

MANY = 3 * erasing.PIECE + 7


def fill(place: Place, keyring: Keyring, count: int = MANY) -> None:
    """Give the person a large mirror, some of it unreadable, a Blocked Slot and an appointment."""
    with place.database.write() as session:
        objects.save_objects(
            session,
            place.mirror,
            [prepared(f"{n}.ics", (NOW + n * 60, NOW + n * 60 + 60)) for n in range(count)],
            now=NOW,
        )
        accounts.store_secret(session, keyring, f"{place.mirror.id}/0.ics", "raw", b"odd")
        session.exec_driver_sql("UPDATE objects SET served = FALSE WHERE name = '0.ics'")
        objects.save_object(
            session,
            place.platform,
            prepared("slot.ics", (NOW, NOW + 60), kind="blocked-slot"),
            now=NOW,
        )
        made = objects.save_object(
            session,
            place.platform,
            prepared("meeting.ics", (NOW, NOW + 60), kind="appointment"),
            now=NOW,
        )
        bookings.create_appointment(
            session,
            principal_id=place.principal.id,
            object_id=made.id,
            title="Meeting",
            span=(NOW, NOW + 60),
            status="confirmed",
            now=NOW,
        )


def counts(database: Database) -> dict[str, int]:
    tables = ("subaccounts", "principals", "collections", "objects", "instances", "revisions")
    with database.read() as session:
        return {
            name: session.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()
            for name in (*tables, "secrets", "appointments")
        }


def erase_all(database: Database) -> list[int]:
    """Erase to the end; returns how many rows each unit erased."""
    sizes = []
    while True:
        with database.write() as session:
            target = erasing.next_target(session)
            if target is None:
                return sizes
            sizes.append(erasing.erase_piece(session, target))


@pytest.mark.rule("R3", "R46")
def test_what_is_being_erased_needs_nobody(place: Place) -> None:
    """``gateway doctor`` lists an odd object, a parked push and a member set aside no longer."""

    def found() -> list[str]:
        with place.database.read() as session:
            return [
                code
                for check in (
                    checkup.odd_objects,
                    checkup.parked_pushes,
                    checkup.members_set_aside,
                )
                for code, _, _ in check(session)
            ]

    with place.database.write() as session:
        made = objects.save_object(
            session, place.mirror, prepared("odd.ics", (NOW, NOW + 60)), now=NOW
        )
        session.execute(
            update(tables.objects).where(tables.objects.c.id == made.id).values(problem="bad-rule")
        )
        ledger = outbox.create_ledger_row(
            session,
            principal_id=place.principal.id,
            object_id=made.id,
            account_index=None,
            upstream_calendar_id=place.calendar_id,
            upstream_path="/111/calendars/home/",
            upstream_uid="u",
            now=NOW,
        )
        outbox.enqueue(
            session, ledger_id=ledger.id, connection_id=place.connection.id, action="put", now=NOW
        )
        outbox.park_all(session, place.connection.id, reason="push-failed", detail="It ended.")
        session.execute(
            insert(tables.unread_members).values(
                upstream_calendar_id=place.calendar_id,
                name_key=b"\1" * 32,
                name="ghost.ics",
                listed=True,
                state="set-aside",
                reason="not-found",
                attempts=9,
                first_seen_at=NOW,
                due_at=NOW,
            )
        )
    assert found() == ["bad-rule", "push-failed", "member-set-aside"]
    with place.database.write() as session:
        erasing.retire_principal(session, place.principal.id, now=NOW)
    assert found() == []


@pytest.mark.rule("R3", "R46")
def test_a_person_is_out_of_sight_at_once_and_gone_in_pieces(
    place: Place, keyring: Keyring
) -> None:
    fill(place, keyring)
    with place.database.write() as session:
        login, secret = principals.create_login(
            session, principal_id=place.principal.id, kind="device", now=NOW
        )
        erasing.retire_principal(session, place.principal.id, now=NOW)
    with place.database.read() as session:
        assert principals.list_principals(session) == []
        assert principals.find_principals(session, [place.principal.id]) == {}
        assert principals.verify_login(session, login.login, secret) is None
        assert agenda.appointments_in(session, Scope(), limit=9) == []
        assert agenda.blocked_slots_in(session, Scope(), limit=9) == []
        assert overview.count_principals(session, Scope()) == 0
        assert overview.count_connections(session, Scope()) == {}
        with pytest.raises(NotFound):
            principals.get_principal(session, place.principal.id)
        with pytest.raises(NotFound):
            accounts.load_credential(session, keyring, place.connection.id)
        assert outbox.connections_with_messages(session, now=NOW + 9) == []
    with place.database.write() as session, pytest.raises(NotFound):
        lock_principal(session, place.principal.id)

    sizes = erase_all(place.database)
    assert max(sizes) <= erasing.PIECE * 10
    assert sizes.count(erasing.PIECE) == 3
    assert counts(place.database) == {**dict.fromkeys(counts(place.database), 0), "subaccounts": 1}


def test_the_account_of_an_erased_person_may_be_connected_elsewhere(
    place: Place, keyring: Keyring
) -> None:
    with place.database.write() as session:
        erasing.retire_principal(session, place.principal.id, now=NOW)
        other = principals.create_principal(
            session,
            subaccount_id=place.principal.subaccount_id,
            name="Ann again",
            time_zone="UTC",
            now=NOW,
        )
        connected = accounts.create_connection(
            session,
            keyring,
            principal_id=other.id,
            credential=Credential("ann@icloud.example", "abcd-efgh-ijkl-mnop"),
            account_number="111",
            principal_path="/111/principal/",
            home_path="/111/calendars/",
            addresses=[],
            trust_for_s=86_400,
            now=NOW,
        )
    erase_all(place.database)
    with place.database.read() as session:
        assert accounts.get_connection(session, connected.id).principal_id == other.id


def test_a_subaccount_goes_with_everybody_in_it(place: Place, keyring: Keyring) -> None:
    fill(place, keyring)
    with place.database.write() as session:
        for number in range(5):
            principals.create_principal(
                session,
                subaccount_id=place.principal.subaccount_id,
                name=str(number),
                time_zone="UTC",
                now=NOW,
            )
        kept = principals.create_subaccount(session, name="Kept", now=NOW)
        erasing.retire_subaccount(session, place.principal.subaccount_id, now=NOW)
        assert [found.id for found in principals.list_subaccounts(session)] == [kept.id]
        assert principals.list_principals(session) == []
        with pytest.raises(NotFound):
            erasing.retire_subaccount(session, place.principal.subaccount_id, now=NOW)
        with pytest.raises(NotFound):
            principals.get_subaccount(session, place.principal.subaccount_id)
    erase_all(place.database)
    assert counts(place.database) == {**dict.fromkeys(counts(place.database), 0), "subaccounts": 1}


def unchoose(session: Session, place: Place) -> None:
    lock_principal(session, place.principal.id)
    erasing.retire_collections(session, [place.mirror.id])


def disconnect(session: Session, place: Place) -> None:
    lock_principal(session, place.principal.id)
    erasing.retire_mirrors(session, place.connection.id)
    calendars.delete_calendars(session, place.connection.id)


@pytest.mark.parametrize("hide", [unchoose, disconnect])
@pytest.mark.rule("R3", "R6")
def test_a_mirror_is_out_of_sight_at_once_and_its_name_free(
    place: Place, keyring: Keyring, hide: Callable[[Session, Place], None]
) -> None:
    fill(place, keyring)
    person = place.principal.id
    with place.database.write() as session:
        session.exec_driver_sql("UPDATE objects SET problem = 'odd' WHERE name = '0.ics'")
        assert overview.count_problems(session, Scope()) == 1
        hide(session, place)
    with place.database.read() as session:
        assert [c.name for c in collections.list_collections(session, person)] == ["platform"]
        assert collections.find_collection(session, person, place.mirror.name) is None
        assert collections.find_collection(session, person, place.mirror.id) is None
        assert [s.role for s in busy.list_sources(session, person)] == ["platform"]
        assert objects.list_problems(session, person) == []
        assert overview.count_problems(session, Scope(principal_id=person)) == 0
        assert len(agenda.blocked_slots_in(session, Scope(), limit=9)) == 1
        with pytest.raises(NotFound):
            collections.get_collection(session, place.mirror.id)
        with pytest.raises(NotFound):
            collections.lock_collection(session, place.mirror.id)
    with place.database.write() as session:
        again = collections.create_collection(
            session,
            principal_id=person,
            name=place.mirror.name,
            kind="mirror",
            display_name="Home",
            now=NOW,
        )
    erase_all(place.database)
    with place.database.read() as session:
        left = collections.list_collections(session, person)
        assert [c.id for c in left] == [place.platform.id, again]
    left_over = counts(place.database)
    assert (left_over["objects"], left_over["instances"]) == (2, 2)
    assert left_over["secrets"] == 2  # the credential


def test_what_cannot_be_erased_keeps_nothing_else(place: Place) -> None:
    with place.database.write() as session:
        second = collections.create_collection(
            session,
            principal_id=place.principal.id,
            name="second",
            kind="local",
            display_name="Second",
            now=NOW,
        )
        erasing.retire_collections(session, [place.mirror.id, second])
        first = erasing.next_target(session)
        assert first is not None
        other = erasing.next_target(session, but={first.id})
        assert other is not None
        assert {first.id, other.id} == {place.mirror.id, second}
        assert erasing.next_target(session, but={first.id, other.id}) is None
