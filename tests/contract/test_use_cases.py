"""Use cases live in ``services``: nobody else locks a person, counts a generation or writes rows.

The two doors, the commands and the background work call a function of ``services`` for that. What
a process notes about its own work is excused: nobody's calendar, and no lock is taken for it.
"""

import ast
from collections.abc import Iterator

from gateway.store.accounts.accounts import Keyring
from tests.contract.writers import ROOT, guards, imported, mentioned, writers
from tests.store.conftest import Place, place
from tests.store.statements import record

__all__ = ["place"]  # a fixture

OUTSIDE = ("gateway/api", "gateway/cli", "gateway/sync", "storage_plugin")

ENDS_OF_RUNS = {"accounts.runs.note_crash", "accounts.runs.note_run"}
"""Written by whoever holds the account's lease, in one statement that asks for it; they count the
person's generation themselves."""

OF_THE_PROCESS = ENDS_OF_RUNS | {
    # who works on which account, and how that ended
    "accounts.leases.claim_due",
    "accounts.leases.free_lease",
    "accounts.leases.free_leases",
    "accounts.leases.note_active",
    "accounts.leases.postpone_sync",
    "accounts.leases.renew_lease",
    "accounts.leases.revive_refused",
    "accounts.leases.try_lease",
    "accounts.leases.want",
    "accounts.runs.note_idle",
    # who was here, how often, and which answer was given
    "access.idempotency.record_answer",
    "access.idempotency.release",
    "access.idempotency.renew",
    "access.idempotency.reserve",
    "access.keys.note_keys_used",
    "access.principals.note_login_seen",
    "access.rate_counts.add_counts",
    "operations.heartbeats.beat",
    "operations.heartbeats.end",
    # how far ahead somebody looks
    "objects.horizons.ask_horizon",
    # erasing what was hidden before or has had its time, a piece at a time
    "operations.erasing.erase_piece",
    "operations.erasing.erase_some",
    "operations.retention.sweep",
    # an installation is made, or upgraded
    "accounts.key_checks.bind_keyring",
    "accounts.key_checks.replace_unused_keys",
}

SESSIONS = {
    "gateway/api/http/replay.py": "records an answer in the unit that did the work",
    "gateway/api/http/routing.py": "runs a use case and records its answer in one unit",
}
"""Where the API still takes a session in hand, and what for."""


def _modules(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for room in rooms:
        place = ROOT / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            name = str(path.relative_to(ROOT))
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def _faults(*rooms: str) -> Iterator[str]:
    """Yield file, line and name of what is done there that belongs into ``services``."""
    for file, tree in _modules(*rooms):
        yield from (f"{file}:{line} {name}" for name, line in _faults_of(tree))


def _faults_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    known = writers() | guards()
    for name, line in mentioned(tree, imported(tree)):
        short = name.removeprefix("gateway.store.")
        if name in known and short not in OF_THE_PROCESS:
            yield short, line


def test_only_services_lock_count_and_write() -> None:
    assert list(_faults(*OUTSIDE)) == [], "call a function of gateway.services"


HANDLER = """
from gateway.store.access import principals as people
from gateway.store.engine import lock_principal

async def rename(call):
    def unit(session):
        lock_principal(session, call.id)
        people.get_principal(session, call.id)
    await call.write(people.update_principal, call.id, {})
    return await call.commit(unit)
"""


def test_a_handler_that_does_it_itself_is_noticed() -> None:
    tree = ast.parse(HANDLER)
    assert set(_faults_of(tree)) == {
        ("engine.lock_principal", 7),
        ("access.principals.update_principal", 9),
    }
    assert [node.lineno for node in ast.walk(tree) if _takes_session(node)] == [6]


def test_what_a_process_notes_takes_no_lock() -> None:
    guarding = {name.removeprefix("gateway.store.") for name in guards()}
    assert guarding & OF_THE_PROCESS == ENDS_OF_RUNS


def test_the_source_tells_of_every_function_that_is_seen_to_write(
    place: Place, keyring: Keyring
) -> None:
    """What the functions of the store send to a database is what their source was read to do."""
    seen = {
        statement.function
        for statement in record(place.database, place, keyring)
        if statement.sql.lstrip().startswith(("INSERT", "UPDATE", "DELETE"))
    }
    told = {".".join(name.split(".")[-2:]) for name in writers()}
    assert len(seen) > 100
    assert seen - told == set()


def test_no_handler_holds_a_unit_of_its_own() -> None:
    """A handler parses, makes one call and renders; what takes a session has a name in services."""
    found = {
        file: f"{file}:{node.lineno}"
        for file, tree in _modules("gateway/api")
        for node in ast.walk(tree)
        if _takes_session(node)
    }
    assert {file: where for file, where in found.items() if file not in SESSIONS} == {}
    assert SESSIONS.keys() - found.keys() == set(), "take it off SESSIONS"


def _takes_session(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    return any(
        one.arg == "session" or (one.annotation and ast.unparse(one.annotation) == "Session")
        for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    )
