"""Whatever is wrong with an installation: one sentence, the thing and the next step in it."""

import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.commands.setup import initialise
from gateway.cli.options import opened
from gateway.cli.output import describe_os_error
from gateway.settings import Settings
from tests.e2e.conftest import plain_environment, run_gateway


@dataclass
class Case:
    """What is spoilt, which commands notice, and what they say."""

    code: str
    says: tuple[str, ...]
    spoil: Callable[[Path], dict[str, str]]
    commands: tuple[str, ...] = ("doctor",)


def in_database(statement: str) -> Callable[[Path], dict[str, str]]:
    """Return what changes the database by hand."""

    def spoil(folder: Path) -> dict[str, str]:
        with sqlite3.connect(folder / "gateway.sqlite3") as connection:
            connection.execute(statement)
        connection.close()
        return {}

    return spoil


def in_file(name: str, content: bytes | None) -> Callable[[Path], dict[str, str]]:
    """Return what replaces or removes a file of the data folder."""

    def spoil(folder: Path) -> dict[str, str]:
        for beside in folder.glob(f"{name}-*"):
            beside.unlink()
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        return {}

    return spoil


def named(**variables: str) -> Callable[[Path], dict[str, str]]:
    """Return what names something else; ``{folder}`` in a value is the data folder."""
    return lambda folder: {
        f"GATEWAY_{name}": value.format(folder=folder) for name, value in variables.items()
    }


def toml(content: bytes) -> Callable[[Path], dict[str, str]]:
    """Return what writes and names a settings file."""

    def spoil(folder: Path) -> dict[str, str]:
        (folder / "gateway.toml").write_bytes(content)
        return {"GATEWAY_CONFIG": str(folder / "gateway.toml")}

    return spoil


KEY = ("keyring.json", "copy")
CASES = {
    "the key file is {}": Case(
        "key-malformed", KEY, in_file("keyring.json", b"{}"), ("serve", "api", "worker", "init")
    ),
    "the key file is no JSON": Case("key-malformed", KEY, in_file("keyring.json", b"k1 = x")),
    "the key file is gone": Case(
        "key-missing", KEY, in_file("keyring.json", None), ("serve", "api", "worker", "doctor")
    ),
    "the named key file is not there": Case(
        "key-missing", ("/nowhere/key", "keyring_file"), named(KEYRING_FILE="/nowhere/key")
    ),
    "the database is MySQL": Case(
        "database-url-unusable",
        ("mysql:", "postgresql://"),
        named(DATABASE_URL="mysql://admin:secret@db/gateway"),
        ("doctor", "migrate", "caldav", "init"),
    ),
    "the database is junk": Case(
        "store-corrupt",
        ("gateway.sqlite3", "restore a backup"),
        in_file("gateway.sqlite3", b"junk" * 4096),
        ("doctor", "migrate", "caldav"),
    ),
    "the schema is newer": Case(
        "schema-newer",
        ("9999", "newer"),
        in_database("UPDATE alembic_version SET version_num = '9999'"),
        ("doctor", "migrate", "serve", "init"),
    ),
    "the schema is older": Case(
        "schema-outdated",
        ("0003", "gateway migrate"),
        in_database("UPDATE alembic_version SET version_num = '0003'"),
        ("doctor", "worker"),
    ),
    "a column is missing": Case(
        "schema-edited",
        ("principals.email", "restore a backup"),
        in_database("ALTER TABLE principals DROP COLUMN email"),
        ("doctor", "migrate", "caldav"),
    ),
    "PostgreSQL is down": Case(
        "store-unreachable",
        ("127.0.0.1", "refused", "database_url"),
        named(DATABASE_URL="postgresql://ann:secret@127.0.0.1:9/gateway"),
        ("doctor", "caldav", "init"),
    ),
    "the named settings file is not there": Case(
        "file-problem", ("/nowhere.toml", "GATEWAY_CONFIG"), named(CONFIG="/nowhere.toml")
    ),
    "the settings file is no TOML": Case(
        "invalid-value", ("gateway.toml", "TOML"), toml(b"log_level: INFO")
    ),
    "the settings file is no text": Case(
        "invalid-value", ("gateway.toml", "TOML"), toml(b"\xff\xfe\x00")
    ),
    "the data folder is a file": Case(
        "file-problem",
        ("keyring.json", "name another place"),
        named(DATA_DIR="{folder}/keyring.json"),
        ("init",),
    ),
}


@pytest.mark.rule("R45")
@pytest.mark.parametrize(
    ("name", "command"),
    [(name, command) for name, case in CASES.items() for command in case.commands],
)
def test_one_sentence_says_what_is_wrong_and_what_to_do(
    tmp_path: Path, name: str, command: str
) -> None:
    case, folder = CASES[name], tmp_path / "data"
    initialise(Settings(data_dir=folder))
    environment = plain_environment(
        **{
            "GATEWAY_DATA_DIR": str(folder),
            "GATEWAY_API_BIND": "127.0.0.1:0",
            "GATEWAY_CALDAV_BIND": "127.0.0.1:0",
        }
        | case.spoil(folder)
    )
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, document, problem = run_gateway(command, environment=environment)
    told = document["error"]["detail"]
    assert (code, document["error"]["code"]) == (1, case.code), problem
    assert [word for word in case.says if word not in told] == []
    assert "Traceback" not in problem
    assert "Errno" not in told
    assert "secret" not in problem
    assert len(problem.strip().splitlines()) <= 6  # wrapped, and nothing but the sentence
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {n: b for n, b in after.items() if not n.endswith(("-wal", "-shm"))} == {
        n: b for n, b in before.items() if not n.endswith(("-wal", "-shm"))
    }


@contextmanager
def taken_port() -> Iterator[str]:
    """Yield an address that somebody else listens at."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


@pytest.mark.parametrize("part", ["api", "caldav"])
@pytest.mark.parametrize("how", ["taken", "not ours"])
def test_the_part_that_cannot_listen_says_why(tmp_path: Path, part: str, how: str) -> None:
    initialise(Settings(data_dir=tmp_path / "data"))
    with taken_port() as taken:
        address = taken if how == "taken" else "192.0.2.1:8080"
        environment = plain_environment(
            **{
                "GATEWAY_DATA_DIR": str(tmp_path / "data"),
                f"GATEWAY_{part.upper()}_BIND": address,
            }
        )
        code, document, problem = run_gateway(part, environment=environment)
    wanted = "address-taken" if how == "taken" else "address-unusable"
    assert (code, document["error"]["code"]) == (1, wanted), problem
    assert address in document["error"]["detail"]
    assert f"{part}_bind" in document["error"]["detail"]
    assert "Traceback" not in problem


@pytest.mark.parametrize("part", ["api", "caldav"])
def test_serve_gives_the_reason_of_the_part_that_cannot_listen(tmp_path: Path, part: str) -> None:
    """The one that knows is a child, for CalDAV a child of a child; the parent tells it."""
    initialise(Settings(data_dir=tmp_path / "data"))
    binds = {f"GATEWAY_{name}_BIND": "127.0.0.1:0" for name in ("API", "CALDAV", "METRICS")}
    with taken_port() as taken:
        environment = plain_environment(
            **binds
            | {
                "GATEWAY_DATA_DIR": str(tmp_path / "data"),
                f"GATEWAY_{part.upper()}_BIND": taken,
                "GATEWAY_CALDAV_PROCESSES": "2",
            }
        )
        code, document, problem = run_gateway("serve", environment=environment)
    told = document["error"]
    assert (code, told["code"]) == (1, "address-taken"), problem
    assert f"{taken} is taken by another program" in told["detail"]
    assert f"{part}_bind" in told["detail"]
    assert "Traceback" not in problem


def test_no_command_chats_about_the_schema(tmp_path: Path) -> None:
    environment = plain_environment(GATEWAY_DATA_DIR=str(tmp_path / "data"))
    for command in ("init", "migrate", "keys"):
        code, document, chat = run_gateway(command, environment=environment)
        assert (code, chat) == (0, ""), json.dumps(document)


@pytest.mark.parametrize("number", [2, 13, 17, 20, 21, 28, 30, 98, 122, 5])
def test_an_error_of_the_system_names_the_thing(number: int) -> None:
    error = OSError(number, os.strerror(number), "/srv/thing")
    code, sentence = describe_os_error(error)
    assert code in ("file-problem", "disk-full", "address-taken", "system-refused")
    assert ("/srv/thing" in sentence) != (code == "address-taken")
    assert "Errno" not in sentence
    assert sentence.endswith(".")


def test_a_good_installation_opens(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    initialise(settings)
    with opened(settings) as gateway:
        assert gateway.key.key_ids
