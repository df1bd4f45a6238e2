"""A demo touches only folders it made, goes on with one it kept, and reads no setting (R46)."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.commands.setup import initialise
from gateway.cli.demo.folder import MARKER, DemoFolder, demo_folder
from gateway.core.errors import Refused
from gateway.settings import Settings
from tests.e2e.conftest import Process, plain_environment, run_gateway

ANY_PORTS = ["--api-port", "0", "--caldav-port", "0", "--lookalike-port", "0"]


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every file in a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in files}


def marked(folder: Path) -> None:
    """Have a demo make a folder."""
    with demo_folder(folder):
        pass


def linked_database(folder: Path) -> None:
    """Put a link to something outside into a folder that a demo made."""
    marked(folder)
    (folder / "gateway.sqlite3").symlink_to(folder.parent / "real.sqlite3")


def odd_memory(folder: Path) -> None:
    """Have a demo make a folder, and write rubbish where it remembers things."""
    marked(folder)
    (folder / "demo.json").write_text("[]")


def linked_marker(folder: Path) -> None:
    """Make a folder whose marker is that of another."""
    marked(folder.parent / "other")
    folder.mkdir()
    (folder / MARKER).symlink_to(folder.parent / "other" / MARKER)


def written(name: str) -> Callable[[Path], None]:
    """Return what makes a folder with one file of this name."""

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / name).write_text("mine")

    return make


FOREIGN: dict[str, Callable[[Path], object]] = {
    "an installation": lambda folder: initialise(Settings(data_dir=folder)),
    "a database": written("gateway.sqlite3"),
    "a hidden file": written(".profile"),
    "a marker of somebody": written(MARKER),
    "a link for a marker": linked_marker,
    "a memory that is none": odd_memory,
    "a link among its files": linked_database,
    "a file": lambda folder: folder.write_text("mine"),
    "a link to nowhere": lambda folder: folder.symlink_to(folder.parent / "nowhere"),
}


@pytest.mark.rule("R46")
@pytest.mark.parametrize("case", FOREIGN)
def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "folder"
    FOREIGN[case](folder)
    before = contents(tmp_path)
    with pytest.raises(Refused) as refused, demo_folder(folder):
        pass
    assert (refused.value.code, contents(tmp_path)) == ("not-a-demo", before)


@pytest.mark.rule("R46")
def test_a_folder_is_kept_and_a_temporary_one_is_not(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "deep", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        with demo_folder(folder) as kept:
            kept.memory["admin_key"] = "gw_x"
            kept.save()
            with pytest.raises(Refused) as refused, demo_folder(folder):
                pass
            assert refused.value.code == "demo-running"
        assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
            MARKER: 0o600,
            "demo.json": 0o600,
        }
        with demo_folder(folder) as again:
            assert again.memory["admin_key"] == "gw_x"
    with demo_folder(None) as temporary:
        assert temporary.path.exists()
    assert not temporary.path.exists()


@pytest.mark.rule("R46")
def test_an_interrupted_start_is_gone_on_with(tmp_path: Path) -> None:
    """Whatever was made before the interruption stays; nothing is deleted."""
    with demo_folder(tmp_path / "demo") as folder:
        first = folder.admin_key()
    (tmp_path / "demo" / "demo.json").unlink()
    keyring = (tmp_path / "demo" / "keyring.json").read_text()
    with demo_folder(tmp_path / "demo") as folder:
        second = folder.admin_key()
        assert DemoFolder(folder.path).admin_key() == second != first
    assert (tmp_path / "demo" / "keyring.json").read_text() == keyring


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real installation, and an environment that names it in every way there is."""
    settings = Settings(data_dir=tmp_path / "real")
    initialise(settings)
    config = tmp_path / "gateway.toml"
    config.write_text('log_level = "DEBUG"\n')
    before = contents(tmp_path / "real")
    yield plain_environment(
        GATEWAY_DATA_DIR=str(settings.data_dir),
        GATEWAY_DATABASE_URL=settings.database,
        GATEWAY_KEYRING_FILE=str(settings.keyring),
        GATEWAY_KEYRING=settings.keyring.read_text(),
        GATEWAY_CONFIG=str(config),
        GATEWAY_UPSTREAM_URL="https://caldav.icloud.example/",
        GATEWAY_UPSTREAM_DOMAINS="icloud.example",
        GATEWAY_API_BIND="127.0.0.1:1",
        GATEWAY_CALDAV_BIND="127.0.0.1:1",
        GATEWAY_PUBLIC_URL="https://real.example/",
    )
    assert contents(tmp_path / "real") == before


@pytest.mark.rule("R46")
def test_a_kept_demo_goes_on_and_hears_of_no_setting(
    tmp_path: Path, victim: dict[str, str]
) -> None:
    arguments = ["demo", "--data", str(tmp_path / "demo"), *ANY_PORTS]
    ready, told = [], []
    for _ in range(2):
        demo = Process(arguments, victim)
        try:
            ready.append(without_ports(demo.ready))
            told.append(settings_of_children(demo.popen.pid))
        finally:
            demo.stop()
    assert ready[0] == ready[1]
    for settings in told:
        assert settings["GATEWAY_DATA_DIR"] == {str(tmp_path / "demo")}
        assert {"GATEWAY_DATABASE_URL", "GATEWAY_KEYRING", "GATEWAY_CONFIG"} & set(
            settings
        ) == set()
        assert all("icloud" not in value for values in settings.values() for value in values)
    code, found, _ = run_gateway(
        "calendars",
        ready[1]["principals"][0]["id"],
        environment=plain_environment(GATEWAY_DATA_DIR=str(tmp_path / "demo")),
    )
    assert code == 0
    states = {one["state"] for one in found["calendars"] if one["role"] != "none"}
    assert states == {"ok"}  # the look-alike knows the tokens and the passwords of before


def without_ports(ready: dict[str, Any]) -> dict[str, Any]:
    """Return what must not change from one start to the next."""
    people = [{k: v for k, v in one.items() if k != "caldav_home"} for one in ready["principals"]]
    assert all(one["device"]["password"] for one in people)
    return {"admin_key": ready["admin_key"], "principals": people}


def settings_of_children(pid: int) -> dict[str, set[str]]:
    """Return the gateway's settings in the environments of all processes below one."""
    found: dict[str, set[str]] = {}
    for child in descendants(pid):
        for pair in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            name, _, value = pair.decode().partition("=")
            if name.startswith("GATEWAY_"):
                found.setdefault(name, set()).add(value)
    return found


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below one."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield int(child)
            yield from descendants(int(child))
