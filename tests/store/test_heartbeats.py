"""Which processes run: the youngest beat of a part counts, one that ended as told is forgotten."""

import socket

from gateway.store.engine import Database
from gateway.store.operations import heartbeats
from gateway.store.tables import generations
from gateway.store.tables import heartbeats as rows
from tests.store.conftest import NOW, Place


def test_the_youngest_beat_counts_and_an_end_is_no_death(place: Place, database: Database) -> None:
    with database.read() as session:
        before = session.execute(generations.select()).all()
        assert heartbeats.last_beat(session, "worker") is None
    with database.write() as session:
        for at in (NOW, NOW + 15):
            heartbeats.beat(session, "worker", now=at)
        session.execute(
            rows.insert().values(id="x", part="worker", host="other", pid=1, beat_at=NOW + 99)
        )
    with database.read() as session:
        assert session.execute(generations.select()).all() == before  # nobody reads anew for it
        assert heartbeats.last_beat(session, "worker") == NOW + 99
        assert heartbeats.last_beat(session, "worker", host=socket.gethostname()) == NOW + 15
        assert heartbeats.last_beat(session, "api") is None
    with database.write() as session:
        heartbeats.end(session, "worker")
        assert heartbeats.last_beat(session, "worker", host=socket.gethostname()) is None
        heartbeats.beat(session, "api", now=NOW + 99 + heartbeats.FORGET_AFTER_S + 1)
        assert [row.part for row in session.execute(rows.select())] == ["api"]
