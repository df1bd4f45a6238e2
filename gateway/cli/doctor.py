"""``gateway doctor``: is everything in order, and what needs a person."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated

import aiohttp
import typer

from gateway.cli.doctor_writes import compare_writes
from gateway.cli.options import ConfigOption, DataOption, Opened, opened, read_settings
from gateway.cli.output import REFUSED, JsonFlag, refusals, show, stdout, table
from gateway.settings import Settings
from gateway.store import accounts, calendars, members, objects, outbox, principals
from gateway.store.engine import Session

ALIVE_WITHIN_S = 4


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
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the installation and list what needs a person; exit code 1 when something does."""
    if alive not in (None, "api", "caldav", "worker", "serve"):
        raise typer.BadParameter("must be api, caldav, worker or serve", param_hint="--alive")
    with refusals(as_json=as_json):
        settings = read_settings(config, data)
        with opened(settings, with_key=alive is None and not writes) as gateway:
            if writes:
                found = asyncio.run(compare_writes(settings, gateway.database))
                findings = [Finding(*mismatch) for mismatch in found]
            elif alive is not None:
                findings = asyncio.run(_dead_parts(settings, alive))
            else:
                findings = _examine(gateway)

    def text() -> None:
        rows = [[finding.what, finding.where, finding.detail] for finding in findings]
        table("what", "where", "detail", rows=rows, empty="Everything is in order.")
        if findings:
            stdout.print(f"\n{len(findings)} findings.")

    show({"ok": not findings, "findings": findings}, as_json=as_json, text=text)
    if findings:
        raise typer.Exit(REFUSED)


async def _dead_parts(settings: Settings, part: str) -> list[Finding]:
    """Ask the running servers themselves; the database was reached already."""
    asked = {
        "api": ("GET", f"http://{_reachable(settings.api_bind)}/healthz"),
        "caldav": ("OPTIONS", f"http://{_reachable(settings.caldav_bind)}/"),
    }
    names = list(asked) if part == "serve" else [part] if part in asked else []
    timeout = aiohttp.ClientTimeout(total=ALIVE_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        answers = [await _problem(session, *asked[name]) for name in names]
    return [
        Finding("part-not-answering", name, problem)
        for name, problem in zip(names, answers, strict=True)
        if problem
    ]


async def _problem(session: aiohttp.ClientSession, method: str, url: str) -> str | None:
    try:
        async with session.request(method, url) as answer:
            return None if answer.status < 500 else f"status {answer.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return str(error) or type(error).__name__


def _reachable(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    return f"{'127.0.0.1' if host in ('0.0.0.0', '[::]', '') else host}:{port}"  # noqa: S104


def _examine(gateway: Opened) -> list[Finding]:
    now = int(time.time())
    with gateway.database.read() as session:
        people = principals.list_principals(session)
        return [
            finding
            for person in people
            for finding in (
                *_account_findings(session, gateway, person.id, now),
                *_push_findings(session, person.id),
                *_object_findings(session, person.id),
            )
        ]


def _account_findings(
    session: Session, gateway: Opened, principal_id: str, now: int
) -> list[Finding]:
    connection = accounts.find_connection(session, principal_id)
    if connection is None or connection.state == "disconnected":
        return []
    found: list[Finding] = []
    if connection.state != "ok" or connection.problem:
        code = connection.problem or connection.state
        found.append(Finding(code, principal_id, connection.problem_detail or connection.state))
    accounts.load_credential(session, gateway.key, connection.id)  # proves that the key fits
    known = calendars.list_calendars(session, connection.id)
    for calendar in known:
        if calendar.role not in ("linked", "conflict"):
            continue
        age = None if calendar.synced_at is None else now - calendar.synced_at
        if calendar.problem or calendar.state in ("failed", "gone"):
            detail = calendar.problem_detail or calendar.state
            found.append(Finding(calendar.problem or calendar.state, calendar.id, detail))
        elif age is not None and age > gateway.settings.fresh_for_s:
            found.append(Finding("source-stale", calendar.id, f"last read {age} s ago"))
    if not any(calendar.set_aside for calendar in known):
        return found
    found += [
        Finding(row.problem, f"{row.upstream_calendar_id}/{row.name}", row.detail)
        for row in members.unread_of_account(session, connection.id)
        if row.state == "set-aside"
    ]
    return found


def _push_findings(session: Session, principal_id: str) -> list[Finding]:
    return [
        Finding(errand.reason or "push-parked", row.id, errand.detail or "parked")
        for errand, row in outbox.list_errands(session, principal_id)
        if errand.state == "parked"
    ]


def _object_findings(session: Session, principal_id: str) -> list[Finding]:
    return [
        Finding(one.problem or "", f"{one.collection_id}/{one.name}", one.problem_detail or "")
        for one in objects.list_problems(session, principal_id)
    ]
