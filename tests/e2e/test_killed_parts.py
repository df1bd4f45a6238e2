"""Parts that are killed are started again, giving up is loud, and no part runs foreign modules."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.children import FIRST_PAUSE_S, LONG_LIFE_S, LONGEST_PAUSE_S, MOST_DEATHS, Deaths
from tests.e2e.conftest import Process, plain_environment, run_gateway
from tests.storage_plugin.test_processes import children_of, until

PATIENCE_S = 120.0
ANY_PORTS = ["--api-port", "0", "--caldav-port", "0", "--lookalike-port", "0"]
SAFE = [sys.executable, "-P", "-c", "from gateway.cli.main import main; main()"]


def initialised(folder: Path, **more: str) -> dict[str, str]:
    """Make an installation and return the environment to run it in."""
    environment = plain_environment(
        GATEWAY_DATA_DIR=str(folder / "data"),
        GATEWAY_API_BIND="127.0.0.1:0",
        GATEWAY_CALDAV_BIND="127.0.0.1:0",
        GATEWAY_METRICS_BIND="127.0.0.1:0",
        **{"GATEWAY_CALDAV_PROCESSES": "2", **more},
    )
    code, _, problem = run_gateway("init", environment=environment)
    assert code == 0, problem
    return environment


@contextmanager
def running(*arguments: str, environment: dict[str, str]) -> Iterator[Process]:
    process = Process(list(arguments), environment)
    yield process
    process.stop()


def answers(url: str) -> bool:
    """Whether anybody answers at all, be it with a refusal."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def part(parent: int, name: str) -> int:
    """The process of a part: a child with its name among its arguments."""
    found = [pid for pid in children_of(parent) if name in arguments_of(pid)]
    assert len(found) == 1, found
    return found[0]


def arguments_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def is_another(parent: int, name: str, before: int) -> Callable[[], bool]:
    def look() -> bool:
        found = [pid for pid in children_of(parent) if name in arguments_of(pid)]
        return bool(found) and found != [before]

    return look


def test_a_killed_caldav_server_is_started_again_where_it_was(tmp_path: Path) -> None:
    with running("serve", environment=initialised(tmp_path)) as serve:
        for _ in range(2):
            before = part(serve.popen.pid, "caldav")
            os.kill(before, signal.SIGKILL)
            assert answers(f"{serve.ready['api']}healthz")
            assert until(is_another(serve.popen.pid, "caldav", before), PATIENCE_S)
            assert until(lambda: answers(serve.ready["caldav"]), PATIENCE_S)
            assert serve.popen.poll() is None


def test_giving_up_is_loud(tmp_path: Path) -> None:
    environment = initialised(tmp_path, GATEWAY_CALDAV_PROCESSES="1")
    process = subprocess.Popen(
        [*SAFE, "serve", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    try:
        caldav = part(process.pid, "caldav")
        database = tmp_path / "data" / "gateway.sqlite3"
        database.rename(database.with_name("gone"))  # none that is started now will find it
        os.kill(caldav, signal.SIGKILL)
        _, said = process.communicate(timeout=2 * PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 1
    last = " ".join(said.decode().split()).partition("part-failed")[2]
    assert "gateway caldav" in last
    assert "gateway init" in last  # what the part itself said


def test_a_demo_starts_a_killed_gateway_and_a_killed_lookalike_again(tmp_path: Path) -> None:
    environment = plain_environment(GATEWAY_METRICS_BIND="127.0.0.1:0")
    with running(
        "demo", "--data", str(tmp_path / "demo"), *ANY_PORTS, environment=environment
    ) as demo:
        for name, url in (("serve", f"{demo.ready['api']}healthz"), ("lookalike", "lookalike")):
            before = part(demo.popen.pid, name)
            os.kill(before, signal.SIGKILL)
            assert until(is_another(demo.popen.pid, name, before), PATIENCE_S)
            assert until(lambda url=url: answers(demo.ready.get(url, url)), PATIENCE_S)
            assert demo.popen.poll() is None
        assert until(lambda: answers(demo.ready["caldav"]), PATIENCE_S)


def test_a_part_that_does_not_start_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = initialised(tmp_path) | {"GATEWAY_CALDAV_BIND": bind}
        code, _, said = run_gateway("serve", environment=environment)
    assert code == 1
    said = " ".join(said.split())
    assert "gateway caldav" in said
    assert "in use" in said or "taken" in said


@pytest.mark.parametrize("name", ["secrets", "gateway", "sqlite3"])
def test_no_process_imports_from_where_it_was_started(tmp_path: Path, name: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    trap = f"open({str(tmp_path / 'stolen')!r}, 'a').write(str(__import__('sys').argv))\n"
    (here / f"{name}.py").write_text(trap + "raise SystemExit('a foreign module ran')\n")
    done = subprocess.run(
        [*SAFE, "demo", "--once", "--json", *ANY_PORTS],
        env=plain_environment(GATEWAY_METRICS_BIND="127.0.0.1:0"),
        cwd=here,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert not (tmp_path / "stolen").exists(), (tmp_path / "stolen").read_text()
    assert done.returncode == 0, done.stderr


def test_pauses_grow_and_a_long_life_is_forgiven() -> None:
    now = [0.0]
    deaths = Deaths(lambda: now[0])
    pauses = [deaths.pause_s() for _ in range(MOST_DEATHS)]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses[-1] is None
    assert sorted(pauses[:-1]) == pauses[:-1]
    deaths = Deaths(lambda: now[0])
    for _ in range(MOST_DEATHS - 1):
        assert deaths.pause_s() is not None
        now[0] += LONG_LIFE_S  # a start that fails slowly is no long life
    assert deaths.pause_s() is None
    assert max(pauses[:-1]) <= LONGEST_PAUSE_S
    deaths = Deaths(lambda: now[0])
    for _ in range(3 * MOST_DEATHS):
        deaths.lives()
        now[0] += LONG_LIFE_S
        assert deaths.pause_s() == FIRST_PAUSE_S
