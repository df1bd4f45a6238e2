"""``gateway pushes``: what waits for iCloud is listed with its reason, retried, and dropped."""

import subprocess
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.store.engine import Database
from gateway.store.outbox.outbox import park
from tests.e2e.conftest import GATEWAY, plain_environment, run_gateway
from tests.storage_plugin.conftest import World, at, make_world
from tests.storage_plugin.dav import event


@pytest.fixture
def parked(tmp_path: Path):
    """An installation with one appointment whose push is parked."""
    environment = plain_environment(GATEWAY_DATA_DIR=str(tmp_path))
    assert run_gateway("init", environment=environment)[0] == 0
    settings = Settings(data_dir=tmp_path)
    database = Database(settings.database)
    world = make_world(database, settings)
    path = f"{world.platform_path}a.ics"
    assert world.platform.put(path, event("a", at(9), at(10))).status == 201
    with database.write() as session:
        park(session, 1, reason="guests-added-upstream", detail="Somebody invited guests.")
    yield world, environment
    database.close()


@pytest.mark.rule("R16")
def test_a_parked_push_is_listed_with_its_reason_retried_and_dropped(
    parked: tuple[World, dict[str, str]],
) -> None:
    world, environment = parked

    def run(*arguments: str):
        return run_gateway("pushes", *arguments, environment=environment)

    waiting = {
        "id": 1,
        "principal": world.principal_id,
        "action": "put",
        "state": "parked",
        "reason": "guests-added-upstream",
        "detail": "Somebody invited guests.",
        "attempts": 0,
    }
    assert run()[:2] == (0, {"pushes": [waiting]})
    assert run("--principal", world.principal_id)[:2] == (0, {"pushes": [waiting]})
    code, retried, _ = run("--retry", "1")
    assert (code, retried["pushes"][0]["state"]) == (0, "pending")
    code, refused, _ = run("--drop", "1")
    assert (code, refused["error"]["code"]) == (1, "push-not-parked")
    with world.database.write() as session:
        park(session, 1, reason="uid-taken", detail="")
    assert run("--drop", "1")[:2] == (0, {"pushes": []})
    (row,) = world.ledger()
    assert (row.state, row.reason) == ("parked", "dropped")
    for arguments in (("--retry", "1"), ("--drop", "7"), ("--principal", "p_x")):
        code, refused, _ = run(*arguments)
        assert (code, refused["error"]["code"]) == (1, "not-found")


def test_a_mere_look_waits_for_no_writer(parked: tuple[World, dict[str, str]]) -> None:
    world, environment = parked
    with world.database.write() as session:
        park(session, 1, reason="uid-taken", detail="")
        code, shown, _ = run_gateway("pushes", environment=environment)
    assert (code, shown["pushes"][0]["reason"]) == (0, "guests-added-upstream")


def test_a_person_reads_what_to_do(parked: tuple[World, dict[str, str]]) -> None:
    _world, environment = parked
    shown = subprocess.run(
        [*GATEWAY, "pushes"],
        env={**environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "guests-added-upstream" in shown
    assert "Parked ones wait for you: --retry or --drop with their number." in shown
