"""Says in the database that this CalDAV process runs, so that ``gateway doctor`` knows."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gateway.core.errors import GatewayError
from gateway.isolation import Isolation
from gateway.store.engine import Database
from gateway.store.operations import heartbeats

PART = "caldav"


@contextmanager
def beating(database: Database) -> Iterator[None]:
    """Beat in a thread as long as the block runs; a busy database costs nothing but a beat."""
    stopped = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(database, stopped), name="heartbeats", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        with suppress(GatewayError), database.write(repeatable=True) as session:
            heartbeats.end(session, PART)


def _beat(database: Database, stopped: threading.Event) -> None:
    itself = Isolation("heartbeats")
    while not stopped.is_set():
        try:
            with database.write(repeatable=True) as session:
                heartbeats.beat(session, PART, now=int(time.time()))
            itself.succeeded(PART)
        except Exception as error:
            itself.failed(PART, error)
        stopped.wait(heartbeats.BEAT_EVERY_S)
