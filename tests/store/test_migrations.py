"""Migrations keep the data that is there, on both databases."""

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from gateway.core.recurrence.expand import ENGINE_VERSION
from gateway.store import migrations
from gateway.store.accounts.calendars import create_calendar, get_calendar
from gateway.store.engine import Database
from gateway.store.objects.objects import save_object
from gateway.store.schema import migrate
from tests.store.conftest import NOW, Place, prepared

SPAN = (NOW, NOW + 3600)


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to a revision, with the data that is there."""
    config = Config()
    config.set_main_option("script_location", str(*migrations.__path__))
    config.attributes["engine"] = database.engine
    command.downgrade(config, revision)


def test_all_day_events_count_by_a_word_where_there_was_a_switch(place: Place) -> None:
    database: Database = place.database
    with database.write() as session:
        values = {"name": "Work", "kind": "calendar", "writable": True}
        work = create_calendar(
            session, connection_id=place.connection.id, path="/111/calendars/work/", values=values
        )
        for name in ("day.ics", "hour.ics"):
            save_object(session, place.mirror, prepared(name, SPAN), now=NOW)
        generation = session.execute(text("SELECT generation FROM generations")).scalar_one()
    downgrade(database, "0003")
    with database.write() as session:
        session.execute(text("UPDATE upstream_calendars SET all_day_blocks = (name = 'Work')"))
        first = "id = (SELECT min(id) FROM instances)"
        session.execute(
            text(f"UPDATE instances SET fbtype = 'FREE', reason = 'all-day-free' WHERE {first}")
        )
    migrate(database)
    with database.read() as session:
        assert get_calendar(session, place.calendar_id).all_day == "as-marked"
        assert get_calendar(session, work).all_day == "block"
        rows = session.execute(text("SELECT fbtype, reason FROM instances ORDER BY id")).all()
        marks = session.execute(text("SELECT expanded_by FROM objects")).scalars().all()
        after = session.execute(text("SELECT generation FROM generations")).scalar_one()
    assert set(map(tuple, rows)) == {("BUSY", "opaque")}  # nothing is sold until it is done anew
    assert len(marks) == 2
    assert all(mark < ENGINE_VERSION for mark in marks)
    assert after > generation
