"""``gateway doctor --as-client``: a running server tried from outside, and left as it was."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.cli.doctor import as_client
from gateway.cli.doctor.as_client import try_server
from gateway.cli.doctor.command import CLIENT_PASSWORD
from gateway.core.errors import Refused
from gateway.settings import Settings
from gateway.store.engine import Database
from gateway.store.schema import migrate
from tests.e2e.conftest import GATEWAY, plain_environment, run_gateway
from tests.storage_plugin.conftest import World, make_world
from tests.storage_plugin.served import serving

LAST = "Everything is as it was"
NOT_TRIED = "not tried"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    """A running CalDAV face with one person, a mirror, a device and a platform login."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("server"), caldav_bind="127.0.0.1:0")
    database = Database(settings.database)
    migrate(database)
    world = make_world(database, settings)
    with serving(settings, 1) as (url, _process):
        yield world, url
    database.close()


@contextmanager
def radicale(folder: Path, rights: str = "") -> Iterator[str]:
    """A stock Radicale that lets everybody in; ``rights`` are the lines of its rights file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = ["[auth]", "type = none", "[storage]", f"filesystem_folder = {folder / 'files'}"]
    if rights:
        (folder / "rights").write_text(rights)
        lines += ["[rights]", "type = from_file", f"file = {folder / 'rights'}"]
    (folder / "config").write_text("\n".join([*lines, "[server]", f"hosts = 127.0.0.1:{port}\n"]))
    process = subprocess.Popen(
        [sys.executable, "-m", "radicale", "--config", str(folder / "config")],
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(10)


def left_behind(world: World) -> list[object]:
    """What is in ``platform/``, and what waits to be written to iCloud or ever was."""
    found = world.device.propfind(world.platform_path, "d:getetag", depth="1")
    members = [href for href in found.hrefs if href.endswith(".ics")]
    return [*members, *world.appointments(), *world.ledger(), *world.messages()]


@pytest.mark.rule("R14", "R18", "R20", "R21")
@pytest.mark.parametrize("kind", ["device", "platform"])
def test_every_promise_of_the_caldav_face_holds_from_outside(server, kind: str) -> None:
    world, url = server
    login = getattr(world, kind)
    steps = try_server(url, login.login, login.secret)
    assert [step for step in steps if not step.ok] == []
    assert len(steps) == 7
    assert steps[0].seen == f"calendar home {world.home}"
    assert steps[1].seen == "1 calendars to write in, 1 to read only"
    assert "platform/" in steps[2].seen
    assert "403" in steps[5].seen
    assert left_behind(world) == []


def test_it_works_where_no_gateway_is_installed_and_takes_the_password_from_two_places(
    server, tmp_path: Path
) -> None:
    world, url = server
    arguments = ("doctor", "--as-client", url, world.device.login)
    environment = plain_environment(GATEWAY_DATA_DIR=str(tmp_path / "nowhere"))
    code, document, said = run_gateway(
        *arguments, "--password-stdin", environment=environment, stdin=world.device.secret + "\n"
    )
    assert (code, document["ok"], said) == (0, True, "")
    assert [step["ok"] for step in document["steps"]] == [True] * 7
    assert world.device.secret not in str(document)
    environment[CLIENT_PASSWORD] = world.device.secret
    assert run_gateway(*arguments, environment=environment)[0] == 0
    del environment[CLIENT_PASSWORD]
    code, document, _ = run_gateway(*arguments, environment=environment)
    assert (code, document["error"]["code"]) == (1, "password-needed")
    assert not (tmp_path / "nowhere").exists()


def test_a_wrong_password_is_said_once_and_nothing_else_is_tried(server) -> None:
    world, url = server
    steps = try_server(url, world.device.login, "wrong")
    assert "401" in steps[0].seen
    assert {step.seen for step in steps[1:-1]} == {NOT_TRIED}
    assert (steps[-1].what, steps[-1].ok) == (LAST, True)


def test_where_nobody_answers_it_says_so() -> None:
    steps = try_server("http://127.0.0.1:1/", "somebody", "secret")
    assert (steps[0].ok, "nobody answers" in steps[0].seen) == (False, True)


def test_a_stock_radicale_passes_and_keeps_nothing(tmp_path: Path) -> None:
    with radicale(tmp_path) as url:
        steps = try_server(url, "anna", "x")
    assert [step for step in steps if not step.ok] == []
    kept = [path for path in (tmp_path / "files").rglob("*.ics") if ".Radicale" not in str(path)]
    assert kept == []


def test_a_server_that_refuses_what_it_should_allow_is_found_out(tmp_path: Path) -> None:
    homes = "[homes]\nuser: .*\ncollection: [^/]*\npermissions: RW\n"
    rights = f"{homes}[calendars]\nuser: .*\ncollection: .*\npermissions: r\n"
    with radicale(tmp_path, rights) as url:
        code, document, _ = run_gateway(
            "doctor",
            *("--as-client", url, "anna", "--password-stdin"),
            environment=plain_environment(),
            stdin="x\n",
        )
    assert (code, document["ok"]) == (1, False)
    assert [step["ok"] for step in document["steps"]] == [True, False] + [False] * 4 + [True]
    assert "403" in document["steps"][1]["seen"]


@pytest.mark.parametrize("at", range(2, 6))
def test_whatever_interrupts_it_the_event_is_deleted(
    server, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    world, url = server
    names = list(as_client._STEPS)
    act = as_client._STEPS[names[at]]

    def interrupted(visit: as_client.Visit) -> str:
        act(visit)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        return "never"

    monkeypatch.setitem(as_client._STEPS, names[at], interrupted)
    with pytest.raises(KeyboardInterrupt):
        try_server(url, world.device.login, world.device.secret)
    assert left_behind(world) == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://caldav.icloud.com/", "icloud-is-not-tested"),
        ("https://P42-caldav.iCloud.com.:443/1/", "icloud-is-not-tested"),
        ("caldav.example.org", "not-an-address"),
        ("ftp://caldav.example.org/", "not-an-address"),
        ("https://anna:secret@caldav.example.org/", "not-an-address"),
    ],
)
def test_what_is_no_address_and_icloud_itself_are_refused(url: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        try_server(url, "anna", "secret")
    assert refused.value.code == code
    assert "secret" not in refused.value.detail


def test_what_serves_loads_no_foreign_client() -> None:
    """caldav and what it brings are loaded by the commands that act as a client alone."""
    program = (
        "import sys; from gateway.cli.main import build_app; build_app();"
        "print(sorted({'caldav', 'niquests', 'urllib3_future'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [GATEWAY[0], "-c", program], capture_output=True, text=True, env=plain_environment()
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
