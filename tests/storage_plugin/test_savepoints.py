"""A change that fails half way keeps nothing, even where the caller answers inside the lock.

Radicale's own handlers turn errors into answers *before* they leave the lock, which then commits:
only the savepoint around each change undoes the half that was written. The database itself fails
here, by a trigger on the last row that a change writes: everything before it has been written.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from gateway.core.errors import SlotTaken
from gateway.services.objects import read_draft
from gateway.store import booking_tables, tables
from gateway.store.access.principals import verify_login
from storage_plugin.http.state import fresh_state
from storage_plugin.resources.calendars import Wanted, change_calendar, make_local_calendar
from tests.storage_plugin.conftest import World, at
from tests.storage_plugin.dav import event

WATCHED = (
    tables.collections,
    tables.objects,
    tables.instances,
    tables.revisions,
    tables.generations,
    tables.push_ledger,
    tables.outbox,
    booking_tables.appointments,
)


def rows(world: World) -> dict[str, list[tuple]]:
    """All that a change could leave behind."""
    with world.database.read() as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table)).all())) for table in WATCHED
        }


@contextmanager
def failing(world: World, event_: str) -> Iterator[None]:
    """Let the database refuse a row at the end of a change."""
    with world.database.write() as session:
        session.execute(
            text(
                f"CREATE TRIGGER refuse BEFORE {event_} "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        )
    try:
        yield
    finally:
        with world.database.write() as session:
            session.execute(text("DROP TRIGGER refuse"))


def put(world: World, storage, name: str = "new.ics") -> None:
    (calendar,) = storage.discover(world.platform_path)
    calendar.put(name, read_draft(event(name, at(12), at(13))), None)


def delete(world: World, storage) -> None:
    (calendar,) = storage.discover(world.platform_path)
    calendar.delete("known.ics")


def move(world: World, storage) -> None:
    (source,) = storage.discover(world.platform_path)
    (target,) = storage.discover(f"{world.home}own/")
    source.move_to("slot.ics", target, "moved.ics")


def make(world: World, storage) -> None:
    make_local_calendar(storage, world.principal_id, "more", Wanted(display_name="More"))


def change(world: World, storage) -> None:
    (calendar,) = storage.discover(f"{world.home}own/")
    change_calendar(storage.session(), calendar.row, Wanted(display_name="B", transparent=True))


def drop(world: World, storage) -> None:
    (calendar,) = storage.discover(f"{world.home}own/")
    calendar.delete()


CHANGES = {
    "put": (put, "INSERT ON outbox"),
    "delete": (delete, "INSERT ON outbox"),
    "move": (move, "INSERT ON instances"),
    "make a calendar": (make, "UPDATE ON generations"),
    "change a calendar": (change, "UPDATE ON generations"),
    "delete a calendar": (drop, "UPDATE ON generations"),
}


@pytest.fixture
def filled(local_world: World) -> World:
    """A person with an appointment that went upstream, a slot and a local calendar."""
    world = local_world
    assert world.platform.put(f"{world.platform_path}known.ics", event("known", at(9), at(10)))
    world.change(tables.push_ledger, state="pushed", upstream_etag='"1"')
    assert world.device.mkcalendar(f"{world.home}own/").status == 201
    slot = world.device.put(f"{world.platform_path}slot.ics", event("slot", at(15), at(16)))
    assert slot.status == 201
    with world.database.write() as session:
        session.execute(tables.outbox.delete())
    return world


@pytest.mark.rule("R16")
@pytest.mark.parametrize("what", CHANGES)
def test_an_answer_given_inside_the_lock_keeps_nothing_of_a_failed_change(filled, what):
    world, (act, last_row) = filled, CHANGES[what]
    storage = world.application._application._storage
    before = rows(world)
    with failing(world, last_row), fresh_state() as state:
        with world.database.read() as session:
            state.login = verify_login(session, world.platform.login, world.platform.secret)
        # The lock is left without an exception, as behind an error answer of Radicale's.
        with (
            storage.acquire_lock("w", world.principal_id),
            pytest.raises(DBAPIError, match="disk is full"),
        ):
            act(world, storage)
    assert rows(world) == before


def test_a_refusal_inside_the_lock_leaves_what_was_changed_before_it(filled):
    """A savepoint undoes its own change and no other of the same lock."""
    world = filled
    storage = world.application._application._storage
    with fresh_state() as state:
        with world.database.read() as session:
            state.login = verify_login(session, world.platform.login, world.platform.secret)
        with storage.acquire_lock("w", world.principal_id):
            put(world, storage, "first.ics")
            with pytest.raises(SlotTaken):  # it lies on the first one's time
                put(world, storage, "second.ics")
    assert [world.object(name) is not None for name in ("first.ics", "second.ics")] == [True, False]


def test_a_full_database_is_told_and_nothing_is_kept(filled):
    """The same through HTTP, where the error leaves the lock."""
    world = filled
    before = rows(world)
    path = f"{world.platform_path}new.ics"
    with failing(world, "INSERT ON outbox"):
        refused = world.platform.put(path, event("new", at(12), at(13)))
    assert (refused.status, refused.conditions) == (507, ["{DAV:}quota-not-exceeded"])
    assert rows(world) == before
    assert world.platform.put(path, event("new", at(12), at(13))).status == 201
