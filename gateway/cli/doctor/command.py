"""``gateway doctor``: is everything in order, and what needs a person."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import aiohttp
import typer
from rich.markup import escape

from gateway.cli.doctor.files import open_files
from gateway.cli.doctor.writes import compare_writes
from gateway.cli.options import ConfigOption, DataOption, Opened, opened, read_settings
from gateway.cli.output import REFUSED, JsonFlag, refusals, show, stderr, stdout, table
from gateway.cli.steps import print_steps
from gateway.core.errors import NotFound, Refused, SecretUnreadable, StoreError
from gateway.core.recurrence.expand import default_window
from gateway.isolation import EVERYBODYS
from gateway.settings import Settings
from gateway.store.accounts import accounts
from gateway.store.accounts.accounts import Keyring
from gateway.store.accounts.key_checks import bind_keyring
from gateway.store.engine import Database, Session
from gateway.store.operations import checkup, heartbeats
from gateway.store.operations.checkup import Found

ALIVE_WITHIN_S = 4
LATE_WINDOW_S = 2 * 86_400
LATE_PUSH_S = 300
CLIENT_PASSWORD = "GATEWAY_CLIENT_PASSWORD"  # noqa: S105


AsClient = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--as-client",
        metavar="URL LOGIN",
        help="Only try a CalDAV server from outside with one login, from any machine: discovery, "
        "listing, an event, sync, free-busy, refusal. The event is a Blocked Slot, so it is never "
        "sent to iCloud, and it is deleted again. The password is asked for, or taken from "
        f"{CLIENT_PASSWORD}.",
    ),
]
PasswordFromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password of --as-client from stdin.")
]


@dataclass(frozen=True)
class Finding:
    """Something that needs a person; ``what`` is a stable code, ``where`` an id."""

    what: str
    where: str
    detail: str


def doctor(
    alive: Annotated[
        str | None,
        typer.Option(help="Only ask whether a part runs: api, caldav, worker or serve."),
    ] = None,
    writes: Annotated[
        bool,
        typer.Option(
            "--writes", help="Only compare the push ledger with the look-alike's request log."
        ),
    ] = False,
    as_client: AsClient = None,
    password_stdin: PasswordFromStdin = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the installation and list what needs a person; exit code 1 when something does."""
    if as_client is not None:
        _try_as_client(*as_client, password_stdin=password_stdin, as_json=as_json)
        return
    if alive not in (None, "api", "caldav", "worker", "serve"):
        raise typer.BadParameter("must be api, caldav, worker or serve", param_hint="--alive")
    with refusals(as_json=as_json):
        settings = read_settings(config, data)
        refusal = None
        with opened(settings, with_key=False) as gateway:
            if writes:
                found = asyncio.run(compare_writes(settings, gateway.database))
                findings = [Finding(*mismatch) for mismatch in found]
            elif alive is not None:
                findings = asyncio.run(_dead_parts(settings, gateway.database, alive))
            else:
                gateway, refusal = _with_key(gateway)
                findings = _examine(gateway, refusal)

    def text() -> None:
        rows = [[finding.what, finding.where, finding.detail] for finding in findings]
        table("what", "where", "detail", rows=rows, empty="Everything is in order.")
        if findings:
            stdout.print(f"\n{len(findings)} findings.")

    answer: dict[str, Any] = {"ok": not findings, "findings": findings}
    if refusal is not None:  # as every other command says it
        answer["error"] = {"code": refusal.code, "detail": refusal.detail}
        stderr.print(f"[red]{refusal.code}[/red]: {escape(refusal.detail)}", markup=True)
    show(answer, as_json=as_json, text=text)
    if findings:
        raise typer.Exit(REFUSED)


def _try_as_client(url: str, login: str, *, password_stdin: bool, as_json: bool) -> None:
    """Try a server from outside; needs no installation on this machine."""
    from gateway.cli.doctor.as_client import try_server  # its libraries cost every check a second

    with refusals(as_json=as_json):
        steps = try_server(url, login, _client_password(password_stdin))
    ok = all(step.ok for step in steps)
    answer = {"ok": ok, "url": url, "login": login, "steps": steps}
    show(answer, as_json=as_json, text=lambda: print_steps(steps))
    if not ok:
        raise typer.Exit(REFUSED)


def _client_password(from_stdin: bool) -> str:
    """Take the password from stdin, the environment or the terminal; never from the arguments."""
    if from_stdin:
        return sys.stdin.readline().strip()
    if given := os.environ.get(CLIENT_PASSWORD):
        return given
    if not sys.stdin.isatty():
        raise Refused(
            f"Nobody is there to be asked for the password; use --password-stdin or set "
            f"{CLIENT_PASSWORD}.",
            code="password-needed",
        )
    return str(typer.prompt("Password of the login", hide_input=True, err=True))


def _with_key(gateway: Opened) -> tuple[Opened, StoreError | None]:
    """Add the key; one that is no good is said, and keeps no other check from being run."""
    try:
        keyring = Keyring.load(gateway.settings.keyring)
        bind_keyring(gateway.database, keyring)
    except StoreError as error:
        return gateway, error
    return replace(gateway, keyring=keyring), None


async def _dead_parts(settings: Settings, database: Database, part: str) -> list[Finding]:
    """Ask the running servers themselves, and the database about the worker."""
    asked = {
        "api": ("GET", f"http://{_reachable(settings.api_bind)}/healthz"),
        "caldav": ("OPTIONS", f"http://{_reachable(settings.caldav_bind)}/"),
    }
    names = list(asked) if part == "serve" else [part] if part in asked else []
    silent = _silent_worker(database) if part in ("worker", "serve") else None
    timeout = aiohttp.ClientTimeout(total=ALIVE_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        answers = [await _problem(session, *asked[name]) for name in names]
    found = [
        Finding("part-not-answering", name, problem)
        for name, problem in zip(names, answers, strict=True)
        if problem
    ]
    return [*found, silent] if silent else found


def _silent_worker(database: Database) -> Finding | None:
    """Tell by its heartbeats whether a worker runs on this host: it serves nobody."""
    now = int(time.time())
    with database.read() as session:
        beat_at = heartbeats.last_beat(session, "worker", host=socket.gethostname())
    if beat_at is not None and now - beat_at < heartbeats.ALIVE_FOR_S:
        return None
    detail = "it was not heard of on this host" + ("" if beat_at is None else _since(beat_at, now))
    return Finding("part-not-answering", "worker", detail)


def _since(beat_at: int, now: int) -> str:
    return f" for {now - beat_at} s"


async def _problem(session: aiohttp.ClientSession, method: str, url: str) -> str | None:
    try:
        async with session.request(method, url) as answer:
            return None if answer.status < 500 else f"status {answer.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return str(error) or type(error).__name__


def _reachable(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    return f"{'127.0.0.1' if host in ('0.0.0.0', '[::]', '') else host}:{port}"  # noqa: S104


def _examine(gateway: Opened, refusal: StoreError | None) -> list[Finding]:
    """Run every check; one that fails is a finding itself and keeps no other from being run."""
    now = int(time.time())
    fresh_for_s = gateway.settings.fresh_for_s
    checks: dict[str, Callable[[Session], Iterable[Found]]] = {
        "files": lambda _session: open_files(gateway.settings, gateway.database),
        "parts": partial(_dead_beats, now=now),
        "accounts": checkup.troubled_accounts,
        "secrets": partial(_unreadable_secrets, keyring=gateway.keyring),
        "calendars": partial(checkup.troubled_calendars, now=now, fresh_for_s=fresh_for_s),
        "members": checkup.members_set_aside,
        "windows": partial(checkup.short_windows, until=default_window(now - LATE_WINDOW_S)[1]),
        "pushes": checkup.parked_pushes,
        "late pushes": partial(checkup.late_pushes, before=now - LATE_PUSH_S),
        "objects": checkup.odd_objects,
    }
    found = [found for name, check in checks.items() for found in _run(gateway, name, check)]
    if refusal is not None:
        found.insert(0, (refusal.code, str(gateway.settings.keyring), refusal.detail))
    return [Finding(*one) for one in found]


def _run(gateway: Opened, name: str, check: Callable[[Session], Iterable[Found]]) -> list[Found]:
    try:
        with gateway.database.read() as session:
            return list(check(session))
    except EVERYBODYS:
        raise
    except Exception as error:
        detail = f"the {name} could not be looked at: {type(error).__name__}"
        return [("check-failed", name, detail)]


def _dead_beats(session: Session, now: int) -> Iterable[Found]:
    """Parts that died, and a worker that is needed and runs nowhere."""
    for part in heartbeats.PARTS:
        beat_at = heartbeats.last_beat(session, part)
        if beat_at is not None and now - beat_at >= heartbeats.ALIVE_FOR_S:
            detail = f"it died: it was not heard of{_since(beat_at, now)} and never said it ended"
            yield "part-not-running", part, detail
        elif beat_at is None and part == "worker" and checkup.is_worker_needed(session):
            detail = "there are connected accounts, and no worker runs: start `gateway serve`"
            yield "part-not-running", part, f"{detail}, or `gateway worker`"


def _unreadable_secrets(session: Session, keyring: Keyring | None) -> Iterable[Found]:
    """Prove that the key fits every stored password, also where no run has met it yet."""
    if keyring is None:
        return
    for connection_id, principal_id in checkup.accounts_with_secrets(session):
        try:
            accounts.load_credential(session, keyring, connection_id)
        except (SecretUnreadable, NotFound) as error:
            yield SecretUnreadable.default_code, principal_id, error.detail
