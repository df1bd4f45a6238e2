"""One request computes at a time; waiting for the database lets others compute."""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from gateway.settings import Settings
from gateway.store.access.principals import create_principal, create_subaccount
from gateway.store.engine import Database, lock_principal
from gateway.store.schema import migrate
from storage_plugin import processes
from storage_plugin.http.gate import Gate
from tests.storage_plugin.test_processes import children_of, until

NEVER = 1e9


class Crowd:
    """Threads that are joined at the end; what one raised fails the test."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work, *args) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()
        return thread

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_) -> None:
        for thread in self._threads:
            thread.join(20)
        assert not [thread for thread in self._threads if thread.is_alive()]
        assert self._errors == []


def waiting(gate: Gate) -> int:
    return len(gate._beginning) + len(gate._returning) + len(gate._long)


def test_one_computes_at_a_time_in_the_order_they_came():
    gate, inside, most, order = Gate(overtake_s=NEVER), 0, 0, []

    def work(number: int) -> None:
        nonlocal inside, most
        with gate.inside():
            inside += 1
            most = max(most, inside)
            order.append(number)
            time.sleep(0.002)
            inside -= 1

    with Crowd() as crowd, gate.inside():
        for number in range(8):
            crowd.start(work, number)
            assert until(lambda: waiting(gate) == number + 1)  # noqa: B023
    assert (most, order) == (1, list(range(8)))


def test_whoever_waits_outside_comes_back_before_those_who_have_not_begun():
    gate, order, come_back = Gate(overtake_s=NEVER), [], threading.Event()
    stay, began = threading.Event(), threading.Event()

    def writer() -> None:
        with gate.inside():
            with gate.outside():
                began.set()
                come_back.wait(20)
            order.append("writer")

    def other(name: str) -> None:
        with gate.inside():
            order.append(name)
            if name == "first":
                stay.wait(20)

    with Crowd() as crowd:
        crowd.start(writer)
        assert began.wait(20)
        crowd.start(other, "first")
        assert until(lambda: order == ["first"])
        crowd.start(other, "second")
        assert until(lambda: waiting(gate) == 1)
        come_back.set()
        assert until(lambda: waiting(gate) == 2)
        stay.set()
    assert order == ["first", "writer", "second"]


def test_a_long_one_lets_others_in_when_it_is_asked():
    gate, order = Gate(slice_s=0.0, overtake_s=NEVER), []

    def short() -> None:
        with gate.inside():
            order.append("short")

    with Crowd() as crowd, gate.inside():
        gate.checkpoint()  # nobody waits: it goes on
        crowd.start(short)
        assert until(lambda: waiting(gate) == 1)
        gate.checkpoint()
        order.append("long")
    assert order == ["short", "long"]


def test_one_that_is_never_asked_is_overtaken_and_queues_when_it_is():
    gate, order = Gate(overtake_s=0.05), []
    leave = threading.Event()

    def short(name: str) -> None:
        with gate.inside():
            order.append(name)
            leave.wait(20)

    with Crowd() as crowd, gate.inside():
        crowd.start(short, "short")
        assert until(lambda: order == ["short"])
        threading.Timer(0.02, leave.set).start()
        gate.checkpoint()
        order.append("long")
    assert order == ["short", "long"]
    with gate.inside():  # nobody is left in it
        pass


@pytest.fixture(params=["sqlite", "postgresql"])
def waiting_writer(request, tmp_path):
    """A database in which a write has to wait, until ``release`` is called."""
    database: Database = request.getfixturevalue(f"{request.param}_database")
    with database.write() as session:
        tenant = create_subaccount(session, name="Practice", now=1).id
        person = create_principal(
            session, subaccount_id=tenant, name="A", email=None, time_zone="UTC", now=1
        )
    other = Database(database.url.render_as_string(hide_password=False))
    with ExitStack() as stack:
        stack.callback(other.close)
        holder = stack.enter_context(ExitStack())
        lock_principal(holder.enter_context(other.write()), person.id)
        yield database, person.id, holder.close


def test_waiting_for_the_database_lets_others_compute(waiting_writer):
    """Nobody is overtaken here: only leaving the gate lets the other one in."""
    database, principal_id, release = waiting_writer
    gate = Gate(overtake_s=NEVER)
    database.waits = gate.outside
    order, asked = [], threading.Event()

    def write() -> None:
        with gate.inside():
            asked.set()
            with database.write() as session:
                lock_principal(session, principal_id)
                order.append("written")

    def read() -> None:
        with gate.inside(), database.read():
            order.append("read")

    with Crowd() as crowd:
        crowd.start(write)
        assert asked.wait(20)
        crowd.start(read).join(20)
        assert order == ["read"]
        release()
    assert order == ["read", "written"]


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("", 4)]
)
def test_cores_are_those_we_may_use(tmp_path, monkeypatch, quota, cores):
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    monkeypatch.setattr(processes, "CPU_QUOTA", path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 2, 3, 9})
    assert processes.usable_cores() == cores


@pytest.mark.parametrize(("setting", "children"), [("0", None), ("1", 0), ("3", 3)])
def test_the_server_runs_as_many_processes_as_cores_unless_told(tmp_path, setting, children):
    database = Database(Settings(data_dir=tmp_path).database)
    migrate(database)
    database.close()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    started = subprocess.Popen(
        [sys.executable, "-c", "from gateway.cli.main import main; main()", "caldav", "--json"],
        stdout=subprocess.PIPE,
        env={
            **clean,
            "GATEWAY_DATA_DIR": str(tmp_path),
            "GATEWAY_CALDAV_BIND": "127.0.0.1:0",
            "GATEWAY_CALDAV_PROCESSES": setting,
        },
    )
    try:
        assert started.stdout.readline().startswith(b'{"caldav"')
        cores = processes.usable_cores()
        expected = (cores if cores > 1 else 0) if children is None else children
        assert len(children_of(started.pid)) == expected
    finally:
        started.terminate()
        started.wait(30)
        started.stdout.close()


def test_a_long_one_goes_after_those_who_begin_but_not_for_ever(monkeypatch):
    gate, order, stay = Gate(slice_s=0.0, overtake_s=NEVER), [], threading.Event()

    def long() -> None:
        with gate.inside():
            order.append("asked")
            gate.checkpoint()
            order.append("long")

    def short(name: str) -> None:
        with gate.inside():
            order.append(name)
            if name == "first":
                stay.wait(20)

    with Crowd() as crowd:
        with gate.inside():
            crowd.start(long)
            assert until(lambda: waiting(gate) == 1)
            crowd.start(short, "first")
            assert until(lambda: waiting(gate) == 2)
        assert until(lambda: order == ["asked", "first"])
        assert until(lambda: waiting(gate) == 1)
        crowd.start(short, "second")
        assert until(lambda: waiting(gate) == 2)
        monkeypatch.setattr("storage_plugin.http.gate.PATIENCE_S", 0.0)
        stay.set()
    assert order == ["asked", "first", "long", "second"]
