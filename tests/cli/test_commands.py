"""The command line as scripts see it: exit codes, JSON, messages; each command as a process."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.simulation import connect_many
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from tests.e2e.conftest import GATEWAY, plain_environment, run_gateway

ICS = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:1
DTSTAMP:20260101T000000Z
DTSTART:20261120T090000Z
DTEND:20261120T100000Z
SUMMARY:Secret title
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose data folder does not exist yet."""
    return plain_environment(GATEWAY_DATA_DIR=str(tmp_path / "data"))


def test_init_makes_a_private_installation_once(environment: dict[str, str]) -> None:
    code, made, _ = run_gateway("init", environment=environment)
    assert code == 0
    folder = Path(environment["GATEWAY_DATA_DIR"])
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (folder, *folder.iterdir())
        if not path.name.endswith(("-wal", "-shm"))
    }
    assert modes == {"data": 0o700, "keyring.json": 0o600, "gateway.sqlite3": 0o600}
    assert made["admin_key"].startswith("gw_")
    code, again, _ = run_gateway("init", environment=environment)
    assert (code, again["error"]["code"]) == (1, "already-initialised")
    code, migrated, _ = run_gateway("migrate", environment=environment)
    assert (code, migrated) == (0, {"schema": made["schema"]})
    assert run_gateway("doctor", environment=environment)[:2] == (0, {"ok": True, "findings": []})


@pytest.mark.parametrize(
    "arguments",
    [["serve"], ["caldav"], ["calendars", "p_x"], ["freebusy", "p_x"], ["sync"], ["doctor"]],
    ids=lambda arguments: arguments[0],
)
def test_without_an_installation_every_command_says_what_to_do(
    environment: dict[str, str], arguments: list[str]
) -> None:
    code, document, problem = run_gateway(*arguments, environment=environment)
    assert (code, document["error"]["code"]) == (1, "not-initialised")
    assert "gateway init" in problem
    assert not os.path.exists(environment["GATEWAY_DATA_DIR"])


def test_wrong_usage_is_exit_code_2(environment: dict[str, str]) -> None:
    for arguments in (["no-such-command"], ["freebusy"], ["busy"], ["logins", "p", "--add", "x"]):
        assert run_gateway(*arguments, environment=environment)[0] == 2


def test_a_wrong_setting_is_named(environment: dict[str, str]) -> None:
    wrong = environment | {"GATEWAY_POLL_IDLE_S": "soon"}
    code, document, _ = run_gateway("doctor", environment=wrong)
    assert (code, document["error"]["code"]) == (1, "invalid-value")
    assert document["error"]["detail"].startswith("poll_idle_s:")


def test_an_unknown_principal_is_not_found(environment: dict[str, str]) -> None:
    run_gateway("init", environment=environment)
    for arguments in (["freebusy", "p_x"], ["calendars", "p_x"], ["logins", "p_x"], ["sync", "p"]):
        code, document, _ = run_gateway(*arguments, environment=environment)
        assert (code, document["error"]["code"]) == (1, "not-found"), arguments


@pytest.mark.rule("R23")
def test_busy_prints_periods_with_reasons_and_no_titles(
    environment: dict[str, str], tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.ics", tmp_path / "bad.ics"
    good.write_text(ICS)
    bad.write_text("this is no calendar")
    window = ["--start", "2026-11-20T00:00:00Z", "--end", "2026-11-21T00:00:00Z"]
    code, answer, _ = run_gateway(
        "busy", str(good), *window, "--zone", "Europe/Berlin", environment=environment
    )
    assert code == 0
    assert answer == {
        "start": "2026-11-20T01:00:00+01:00",
        "end": "2026-11-21T01:00:00+01:00",
        "time_zone": "Europe/Berlin",
        "busy": [
            {
                "start": "2026-11-20T10:00:00+01:00",
                "end": "2026-11-20T11:00:00+01:00",
                "status": "busy",
                "reasons": ["opaque"],
            }
        ],
        "problems": [],
    }
    code, answer, _ = run_gateway("busy", str(bad), *window, environment=environment)
    assert code == 0
    assert [(p["file"], p["code"]) for p in answer["problems"]] == [(str(bad), "not-icalendar")]
    assert answer["busy"] == []  # no readable time: it cannot be placed


@pytest.mark.rule("R24")
def test_busy_refuses_nonsense(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.ics"
    path.write_text(ICS)
    for arguments, wanted in (
        ([str(path), "--zone", "Mars/Base"], "unknown-time-zone"),
        ([str(path), "--start", "tomorrow"], "invalid-time"),
        ([str(path), "--start", "2026-11-21", "--end", "2026-11-20"], "window-reversed"),
        ([str(tmp_path / "missing.ics")], "file-problem"),
    ):
        code, document, _ = run_gateway("busy", *arguments, environment=environment)
        assert (code, document["error"]["code"]) == (1, wanted)


@pytest.mark.rule("R1", "R8")
def test_connect_refuses_before_any_network_call(environment: dict[str, str]) -> None:
    run_gateway("init", environment=environment)
    unreachable = environment | {
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9/",
        "GATEWAY_UPSTREAM_ALLOW_LOOPBACK": "true",
    }
    for email, password, wanted in (
        ("a@icloud.com", "my apple password", "credential-not-app-specific"),
        (
            "webcal://p01-caldav.icloud.com/published/2/x",
            "abcd-efgh-ijkl-mnop",
            "calendar-subscribed",
        ),
        ("feed:me@x.example", "abcd-efgh-ijkl-mnop", "calendar-subscribed"),
        ("mailto:A@icloud.com", "ABCD–EFGH–IJKL–MNOP", "upstream-unreachable"),
    ):
        code, document, _ = run_gateway(
            "connect", email, "--password-stdin", environment=unreachable, stdin=password + "\n"
        )
        assert (code, document["error"]["code"]) == (1, wanted)
    code, document, _ = run_gateway("sync", environment=environment)
    assert (code, document) == (0, {"accounts": []})


def test_logs_and_errors_never_show_the_password(environment: dict[str, str]) -> None:
    run_gateway("init", environment=environment)
    secret = "zzzz-yyyy-xxxx-wwww"
    unreachable = environment | {
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9/",
        "GATEWAY_UPSTREAM_ALLOW_LOOPBACK": "true",
        "GATEWAY_LOG_LEVEL": "DEBUG",
    }
    _, document, problem = run_gateway(
        "connect", "a@icloud.com", "--password-stdin", environment=unreachable, stdin=secret
    )
    assert secret not in json.dumps(document) + problem


@pytest.fixture
def connected(environment: dict[str, str]) -> Iterator[tuple[Database, str]]:
    """A connected person with the calendars Home, Work and Fixtures (read-only), none chosen."""
    assert run_gateway("init", environment=environment)[0] == 0
    settings = Settings(data_dir=Path(environment["GATEWAY_DATA_DIR"]))
    database = Database(settings.database)
    with database.write() as session:
        connect_many(session, Keyring.load(settings.keyring), hot=0, idle=1, now=1_790_000_000)
        (principal,) = principals.list_principals(session)
        connection = accounts.find_connection(session, principal.id)
        assert connection is not None
        calendars.delete_calendars(session, connection.id)
        for name, writable in (("Home", True), ("Work", True), ("Fixtures", False)):
            values = {"name": name, "kind": "calendar", "writable": writable}
            path = f"/1/calendars/{name}/"
            calendars.create_calendar(
                session, connection_id=connection.id, path=path, values=values
            )
    yield database, principal.id
    database.close()


@pytest.mark.rule("R46")
def test_roles_shows_and_changes_nothing_but_what_is_named(
    environment: dict[str, str], connected: tuple[Database, str]
) -> None:
    person = connected[1]
    for options, wanted in (
        (["--linked", "home", "--conflict", "Work"], {"Home": "linked", "Work": "conflict"}),
        ([], {"Home": "linked", "Work": "conflict"}),
        (["--no-linked"], {"Work": "conflict"}),
        (["--linked", "Home"], {"Home": "linked", "Work": "conflict"}),
        (
            ["--conflict", "Fixtures"],
            {"Home": "linked", "Work": "conflict", "Fixtures": "conflict"},
        ),
        (["--no-conflict", "Work"], {"Home": "linked", "Fixtures": "conflict"}),
        (["--no-conflicts", "--conflict", "Work"], {"Home": "linked", "Work": "conflict"}),
        (["--no-linked-blocks"], {"Home": "linked", "Work": "conflict"}),
        (["--no-conflicts"], {"Home": "linked"}),
        ([], {"Home": "linked"}),
    ):
        code, shown, problem = run_gateway("roles", person, *options, environment=environment)
        used = {row["name"]: row["role"] for row in shown["calendars"] if row["role"] != "none"}
        assert (code, used) == (0, wanted), (options, problem)
    assert not shown["calendars"][0]["blocks"]
    code, shown, _ = run_gateway("roles", person, "--linked", "Hom", environment=environment)
    assert (code, shown["error"]["code"]) == (1, "unknown-calendar")
    for name in ("Home", "Work", "Fixtures"):
        assert f"“{name}”" in shown["error"]["detail"]
    code, shown, _ = run_gateway("roles", person, "--linked", "Fixtures", environment=environment)
    assert (code, shown["error"]["code"]) == (1, "calendar-read-only")
    for address in ("feed:me@x.example", "webcal%3A//example.org"):
        _, shown, _ = run_gateway("roles", person, "--conflict", address, environment=environment)
        assert shown["error"]["code"] == "calendar-subscribed"
    both = ("--linked", "Home", "--no-linked")
    assert run_gateway("roles", person, *both, environment=environment)[0] == 2


def test_calendars_says_what_each_may_be_and_freebusy_names_its_sources(
    environment: dict[str, str], connected: tuple[Database, str]
) -> None:
    person = connected[1]
    run_gateway("roles", person, "--conflict", "Fixtures", environment=environment)
    code, shown, _ = run_gateway("calendars", person, environment=environment)
    may = {row["name"]: (row["linkable"], row["conflictable"]) for row in shown["calendars"]}
    assert (code, may["Home"], may["Fixtures"]) == (0, (True, True), (False, True))
    code, answer, _ = run_gateway("freebusy", person, environment=environment)
    names = {source["role"]: source["name"] for source in answer["sources"]}
    assert (code, names) == (0, {"platform": "Appointments", "conflict": "Fixtures"})
    printed = subprocess.run(
        [*GATEWAY, "calendars", person], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "may be linked" in printed
    assert "may block" in printed


@pytest.mark.rule("R3")
def test_disconnect_erases_the_secret_and_leaves_the_person(
    environment: dict[str, str], connected: tuple[Database, str]
) -> None:
    database, person = connected
    code, shown, _ = run_gateway("disconnect", person, environment=environment)
    assert (code, shown) == (0, {"principal": person, "state": "disconnected"})
    with database.read() as session:
        connection = accounts.find_connection(session, person)
        assert connection is not None
        assert connection.state == "disconnected"
    for command in ("disconnect", "password", "calendars"):
        code, shown, _ = run_gateway(command, person, environment=environment)
        assert (code, shown["error"]["code"]) == (1, "not-connected"), command


@pytest.mark.rule("R1")
def test_the_zone_of_a_new_person_is_never_assumed_silently(environment: dict[str, str]) -> None:
    run_gateway("init", environment=environment)
    unreachable = environment | {
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9/",
        "GATEWAY_UPSTREAM_ALLOW_LOOPBACK": "true",
        "TZ": "Europe/Lisbon",
    }
    arguments = ("connect", "a@icloud.com", "--password-stdin")
    secret = "abcd-efgh-ijkl-mnop\n"
    _, shown, said = run_gateway(*arguments, environment=unreachable, stdin=secret)
    assert shown["error"]["code"] == "upstream-unreachable"
    assert "Time zone Europe/Lisbon, as on this machine" in said
    wrong = (*arguments, "--zone", "Mars/Base")
    _, shown, _ = run_gateway(*wrong, environment=unreachable, stdin=secret)
    assert shown["error"]["code"] == "unknown-time-zone"


@pytest.mark.rule("R9")
def test_calendars_tells_how_far_a_first_sync_is(environment: dict[str, str]) -> None:
    assert run_gateway("init", environment=environment)[0] == 0
    settings = Settings(data_dir=Path(environment["GATEWAY_DATA_DIR"]))
    database = Database(settings.database)
    with database.write() as session:
        connect_many(session, Keyring.load(settings.keyring), hot=0, idle=1, now=1_790_000_000)
        (principal,) = principals.list_principals(session)
        connection = accounts.find_connection(session, principal.id)
        assert connection is not None
        values = {"name": "Home", "kind": "calendar", "writable": True}
        calendar_id = calendars.create_calendar(
            session, connection_id=connection.id, path="/1/calendars/home/", values=values
        )
        progress = {"state": "syncing", "progress_done": 1250, "progress_total": 10_000}
        calendars.update_calendar(session, calendar_id, **progress)
    database.close()
    code, document, _ = run_gateway("calendars", principal.id, environment=environment)
    (listed,) = document["calendars"]
    assert (code, {name: listed[name] for name in progress}) == (0, progress)


def test_roles_say_how_all_day_events_count(environment: dict[str, str]) -> None:
    assert run_gateway("init", environment=environment)[0] == 0
    settings = Settings(data_dir=Path(environment["GATEWAY_DATA_DIR"]))
    database = Database(settings.database)
    with database.write() as session:
        connect_many(session, Keyring.load(settings.keyring), hot=0, idle=1, now=1_790_000_000)
        (principal,) = principals.list_principals(session)
        connection = accounts.find_connection(session, principal.id)
        assert connection is not None
        name = "a=b"
        values = {"name": name, "kind": "calendar", "writable": True}
        calendars.create_calendar(session, connection_id=connection.id, path="/c/", values=values)
    database.close()
    code, document, _ = run_gateway("calendars", principal.id, environment=environment)
    assert (code, document["calendars"][0]["all_day"]) == (0, "as-marked")
    arguments = ("roles", principal.id, "--conflict", name, "--all-day")
    code, document, _ = run_gateway(*arguments, f"{name}=block", environment=environment)
    assert (code, document["calendars"][0]["all_day"]) == (0, "block")
    assert run_gateway(*arguments, f"{name}=never", environment=environment)[0] == 2


@pytest.mark.rule("R46")
def test_keys_are_made_and_revoked_on_the_machine(environment: dict[str, str]) -> None:
    run_gateway("init", environment=environment)
    code, listed, _ = run_gateway("keys", environment=environment)
    (first,) = listed["keys"]
    assert (code, first["scopes"], first["subaccount"]) == (0, "admin", None)
    code, left, _ = run_gateway("keys", "--remove", first["id"], environment=environment)
    assert (code, left) == (0, {"keys": []})
    code, made, _ = run_gateway("keys", "--add", "admin", "--label", "new", environment=environment)
    assert (code, made["key"][:3]) == (0, "gw_")
    assert [(key["id"], key["name"]) for key in made["keys"]] == [(made["id"], "new")]
    for wrong, code in (
        (("--add", "platform"), "subaccount-required"),
        (("--add", "platform", "--subaccount", "sub_x"), "not-found"),
        (("--remove", "key_x"), "not-found"),
    ):
        found = run_gateway("keys", *wrong, environment=environment)
        assert (found[0], found[1]["error"]["code"]) == (1, code)
    assert run_gateway("keys", "--add", "root", environment=environment)[0] == 2


def test_doctor_finds_files_that_everybody_may_open(environment: dict[str, str]) -> None:
    run_gateway("init", environment=environment)
    folder = Path(environment["GATEWAY_DATA_DIR"])
    folder.chmod(0o707)
    (folder / "gateway.sqlite3").chmod(0o666)
    code, document, _ = run_gateway("doctor", environment=environment)
    found = {one["where"]: (one["what"], one["detail"]) for one in document["findings"]}
    assert code == 1
    for path in (folder, folder / "gateway.sqlite3"):
        assert found[str(path)][0] == "file-open-to-others"
        assert "chmod" in found[str(path)][1]
    folder.chmod(0o750)  # a group is somebody's choice
    (folder / "gateway.sqlite3").chmod(0o660)
    assert run_gateway("doctor", environment=environment)[:2] == (0, {"ok": True, "findings": []})
