"""Several processes on one address: any may die, none outlives its parent, all know the same."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.store.access.principals import delete_login, list_logins
from gateway.store.engine import Database
from gateway.store.schema import migrate
from tests.storage_plugin.conftest import at, make_world
from tests.storage_plugin.dav import Dav, event, wrap
from tests.storage_plugin.served import OverHttp, serving

COUNT = 3


def children_of(pid: int) -> list[int]:
    """The living processes a process started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split() if is_alive(int(child))]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def until(condition, seconds: float = 20) -> bool:
    """Poll a condition; tell whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def crew(tmp_path_factory):
    """A world served by three processes, and the parent of these."""
    folder = tmp_path_factory.mktemp("crew")
    settings = Settings(data_dir=folder, caldav_bind="127.0.0.1:0")
    database = Database(settings.database)
    migrate(database)
    with serving(settings, COUNT) as (url, parent):
        application = OverHttp(url)
        yield make_world(database, settings, application), parent
        application.close_all()
    database.close()


def ask(world, client: Dav) -> int:
    """Ask over a connection of its own, which any process may take."""
    world.application.close()
    return client.propfind(world.home, "d:displayname").status


def test_a_process_that_dies_is_replaced_and_nobody_notices(crew):
    world, parent = crew
    before = children_of(parent.pid)
    assert len(before) == COUNT
    os.kill(before[0], signal.SIGKILL)
    assert [ask(world, world.device) for _ in range(20)] == [207] * 20
    path = f"{world.platform_path}a.ics"
    assert world.device.put(path, event("a", at(9), at(10))).status == 201
    assert until(lambda: len(set(children_of(parent.pid)) - {before[0]}) == COUNT)
    assert world.device.get(path).status == 200


def test_a_revoked_login_is_out_in_every_process(crew):
    world, _parent = crew
    login = world.new_login("device")
    assert [ask(world, login) for _ in range(30)] == [207] * 30
    with world.database.write() as session:
        (row,) = (r for r in list_logins(session, world.principal_id) if r.login == login.login)
        delete_login(session, world.principal_id, row.id)
    assert {ask(world, login) for _ in range(8)} == {401}
    assert ask(world, world.device) == 207


def test_guesses_at_one_process_count_in_every_other(crew):
    """Another server on the same database: what failed there is refused here, and back."""
    world, _parent = crew
    settings = world.settings.model_copy(update={"caldav_bind": "127.0.0.1:0"})
    login = world.new_login("device")
    with serving(settings, 1) as (url, _process), contextlib.ExitStack() as stack:
        other = OverHttp(url)
        stack.callback(other.close_all)
        there = Dav(other, login.login, "wrong")
        here = Dav(world.application, login.login, "wrong")
        answers = [ask(world, client) for client in [there, here] * 5]
        assert answers == [401] * 10
        right = Dav(other, login.login, login.secret)
        assert until(lambda: right.get(world.home).status == 429)
        # A process learns of the failures of others within a second.
        assert until(lambda: {ask(world, login) for _ in range(8)} == {429})
        assert ask(world, world.device) == 207


def test_a_reader_that_does_not_read_holds_no_thread(tmp_path):
    """One process, one thread, and somebody who asks for 5 MB and reads none of it."""
    settings = Settings(data_dir=tmp_path, caldav_bind="127.0.0.1:0", caldav_threads=1)
    database = Database(settings.database)
    migrate(database)
    with serving(settings, 1) as (url, _parent), contextlib.ExitStack() as stack:
        stack.callback(database.close)
        application, slow = OverHttp(url), OverHttp(url)
        stack.callback(application.close_all)
        stack.callback(slow.close_all)
        world = make_world(database, settings, application)
        for n in range(6):
            body = event(str(n), at(9), at(10), f"X-BIG:{'x' * 900_000}")
            assert world.device.put(f"{world.platform_path}{n}.ics", body).status == 201
        connection = slow._connection()
        report = wrap("c:calendar-query", "<d:prop><c:calendar-data/></d:prop>").encode()
        credentials = {"Authorization": f"Basic {world.device.credentials}"}
        connection.request("REPORT", world.platform_path, report, credentials)
        connection.getresponse().read(1000)
        begin = time.monotonic()
        assert [ask(world, world.device) for _ in range(5)] == [207] * 5
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_parent(tmp_path, how):
    settings = Settings(data_dir=tmp_path, caldav_bind="127.0.0.1:0")
    database = Database(settings.database)
    migrate(database)
    database.close()
    with serving(settings, 2) as (_url, parent):
        running = children_of(parent.pid)
        assert len(running) == 2
        parent.send_signal(how)
        status = parent.wait(30)
        assert status == (0 if how == signal.SIGTERM else -signal.SIGKILL)
        assert until(lambda: not any(map(is_alive, running)))


def test_processes_that_cannot_start_are_an_error(tmp_path):
    """An unreadable database is told once, not tried for ever."""
    settings = Settings(
        data_dir=tmp_path, caldav_bind="127.0.0.1:0", database_url="sqlite:////proc/none/x.sqlite3"
    )
    with contextlib.ExitStack() as stack, pytest.raises(AssertionError, match="did not start"):
        stack.enter_context(serving(settings, 2))
