"""A change that fails half way keeps nothing: whatever is raised leaves the write unit.

The database itself fails here, by a trigger on the last row that a change writes: everything
before it has been written.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select, text

from gateway.store import booking_tables, tables
from tests.storage_plugin.conftest import World, at
from tests.storage_plugin.dav import Answer, G, event

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


def put(world: World) -> Answer:
    return world.platform.put(f"{world.platform_path}new.ics", event("new", at(12), at(13)))


def delete(world: World) -> Answer:
    return world.platform.delete(f"{world.platform_path}known.ics")


def move(world: World) -> Answer:
    return world.device.move(f"{world.platform_path}slot.ics", f"{world.home}own/moved.ics")


def copy(world: World) -> Answer:
    target = f"{world.platform_path}copy.ics"
    return world.device.move(f"{world.mirror_path}theirs.ics", target, method="COPY")


def make(world: World) -> Answer:
    return world.device.mkcalendar(f"{world.home}more/", "<d:displayname>More</d:displayname>")


def change(world: World) -> Answer:
    transparent = "<c:schedule-calendar-transp><c:transparent/></c:schedule-calendar-transp>"
    inner = f"<d:set><d:prop><d:displayname>B</d:displayname>{transparent}</d:prop></d:set>"
    return world.device.proppatch(f"{world.home}own/", inner)


def drop(world: World) -> Answer:
    return world.device.delete(f"{world.home}own/")


CHANGES = {
    "put": (put, "INSERT ON outbox"),
    "delete": (delete, "INSERT ON outbox"),
    "move": (move, "INSERT ON instances"),
    "copy": (copy, "UPDATE ON generations"),
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
    world.mirror_put("theirs.ics", event("theirs", at(17), at(18)))
    with world.database.write() as session:
        session.execute(tables.outbox.delete())
    return world


@pytest.mark.rule("R16")
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_that_fails_half_way_keeps_nothing_and_can_be_repeated(filled, what):
    world, (act, last_row) = filled, CHANGES[what]
    before = rows(world)
    with failing(world, last_row):
        refused = act(world)
    assert (refused.status, refused.conditions) == (507, ["{DAV:}quota-not-exceeded"])
    assert rows(world) == before
    assert act(world).status in (201, 204, 207)
    assert rows(world) != before


def test_a_refused_booking_keeps_nothing(filled):
    """Refused under the lock, by the rule and not by the database."""
    world = filled
    assert put(world).status == 201
    before = rows(world)
    taken = world.platform.put(f"{world.platform_path}b.ics", event("b", at(12), at(13)))
    assert (taken.status, taken.conditions[0]) == (409, f"{G}slot-taken")
    assert rows(world) == before
