"""`gateway doctor` finds all that is wrong in one run, and a part that died."""

import signal
from pathlib import Path

import pytest
from sqlalchemy import update

from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.engine import Database
from gateway.store.operations import heartbeats
from gateway.store.outbox import outbox
from gateway.store.tables import connections, secrets
from gateway.store.tables import heartbeats as beats
from tests.e2e.conftest import Process, plain_environment, run_gateway
from tests.storage_plugin.test_processes import until

NOW = 1_700_000_000
PATIENCE_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    found = plain_environment(
        GATEWAY_DATA_DIR=str(tmp_path / "data"),
        GATEWAY_UPSTREAM_URL="http://127.0.0.1:9/",
        GATEWAY_UPSTREAM_ALLOW_LOOPBACK="true",
        GATEWAY_METRICS_BIND="127.0.0.1:0",
    )
    assert run_gateway("init", environment=found)[0] == 0
    return found


@pytest.fixture
def settings(tmp_path: Path, environment: dict[str, str]) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def connect(database: Database, settings: Settings, name: str) -> tuple[str, str]:
    """A person with a connected account and a linked calendar; returns both their ids."""
    with database.write() as session:
        subaccount = principals.create_subaccount(session, name=name, now=NOW)
        person = principals.create_principal(
            session, subaccount_id=subaccount.id, name=name, time_zone="UTC", now=NOW
        )
        connection = accounts.create_connection(
            session,
            Keyring.load(settings.keyring),
            principal_id=person.id,
            credential=Credential(f"{name}@icloud.com", "abcd-efgh-ijkl-mnop"),
            account_number=name,
            principal_path="/1/principal/",
            home_path="/1/calendars/",
            addresses=[],
            trust_for_s=86_400,
            now=NOW,
        )
        calendar = calendars.create_calendar(
            session,
            connection_id=connection.id,
            path="/1/calendars/home/",
            values={"name": "Home", "kind": "calendar", "writable": True},
        )
        calendars.update_calendar(session, calendar, role="linked", state="ok", synced_at=NOW)
    return person.id, connection.id


def findings(environment: dict[str, str], *arguments: str) -> set[tuple[str, str]]:
    _, document, said = run_gateway("doctor", *arguments, environment=environment)
    assert document is not None, said
    assert document["ok"] == (not document["findings"])
    return {(one["what"], one["where"]) for one in document["findings"]}


@pytest.mark.rule("R45")
def test_all_that_is_wrong_is_found_in_one_run(
    environment: dict[str, str], settings: Settings
) -> None:
    database = Database(settings.database)
    ids = [connect(database, settings, name) for name in ("ann", "ben", "cleo")]
    (ann, ann_account), (ben, ben_account), (cleo, cleo_account) = ids
    with database.write() as session:
        session.execute(
            update(secrets).where(secrets.c.owner_id == ann_account).values(ciphertext=b"\1junk")
        )
        session.execute(
            update(connections)
            .where(connections.c.id == ben_account)
            .values(problem="run-crashed", problem_detail="It did not end.")
        )
        calendar = calendars.list_calendars(session, cleo_account)[0]
        ledger = outbox.create_ledger_row(
            session,
            principal_id=cleo,
            object_id="o",
            account_index=None,
            upstream_calendar_id=calendar.id,
            upstream_path=calendar.path,
            upstream_uid="u",
            now=NOW,
        )
        outbox.enqueue(
            session, ledger_id=ledger.id, connection_id=cleo_account, action="put", now=NOW
        )
    with database.read() as session:
        stale = {
            ("source-stale", calendars.list_calendars(session, account)[0].id) for _, account in ids
        }
    assert findings(environment) == {
        ("part-not-running", "worker"),
        ("secret-unreadable", ann),
        ("run-crashed", ben),
        ("push-late", ledger.id),
        *stale,
    }
    with database.write() as session:  # a row that cannot even be read as text
        session.exec_driver_sql("UPDATE outbox SET state = 'parked', reason = CAST(x'ff' AS TEXT)")
    found = findings(environment)
    assert ("check-failed", "pushes") in found
    assert {("secret-unreadable", ann), ("run-crashed", ben), *stale} <= found
    database.close()


@pytest.mark.rule("R45")
def test_a_key_that_is_no_good_hides_nothing_else(
    environment: dict[str, str], settings: Settings
) -> None:
    database = Database(settings.database)
    connect(database, settings, "ann")
    Path(database.name).chmod(0o666)
    settings.keyring.chmod(0o644)
    expected = {
        ("key-open-to-others", str(settings.keyring)),
        ("file-open-to-others", database.name),
        ("part-not-running", "worker"),
    }
    assert expected <= findings(environment)
    settings.keyring.unlink()
    code, document, said = run_gateway("doctor", environment=environment)
    assert code == 1
    assert document is not None
    assert document["error"]["code"] == "key-missing"
    assert "key-missing" in said
    whats = {one["what"] for one in document["findings"]}
    assert {"key-missing", "file-open-to-others", "part-not-running"} <= whats
    assert "check-failed" not in whats
    database.close()


def test_a_worker_that_was_killed_is_not_alive(
    environment: dict[str, str], settings: Settings
) -> None:
    database = Database(settings.database)
    connect(database, settings, "ann")
    assert ("part-not-answering", "worker") in findings(environment, "--alive", "worker")
    worker = Process(["worker"], environment)
    assert until(lambda: len(_beats(database)) == 1, PATIENCE_S)
    assert findings(environment, "--alive", "worker") == set()
    assert ("part-not-running", "worker") not in findings(environment)
    worker.stop(signal.SIGKILL)
    with database.write() as session:  # a minute later
        session.execute(update(beats).values(beat_at=beats.c.beat_at - heartbeats.ALIVE_FOR_S))
    assert findings(environment, "--alive", "worker") == {("part-not-answering", "worker")}
    assert ("part-not-running", "worker") in findings(environment)
    worker.start()
    assert until(lambda: len(_beats(database)) == 2, PATIENCE_S)
    assert findings(environment, "--alive", "worker") == set()
    worker.stop()
    assert len(_beats(database)) == 1  # it took its own away
    database.close()


def _beats(database: Database) -> list[str]:
    with database.read() as session:
        return [row.id for row in session.execute(beats.select())]
