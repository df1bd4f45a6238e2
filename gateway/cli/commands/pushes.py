"""``gateway pushes``: what waits to be written to iCloud, and what a person decides about it."""

import time
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, DataOption, opened, read_settings
from gateway.cli.output import JsonFlag, refusals, show, stdout, table
from gateway.services.access.people import PersonRef, find_person
from gateway.services.accounts.views import waiting_pushes
from gateway.services.outbox.pushes import drop_push, retry_push
from gateway.store.outbox.overview import Scope

MOST = 1000


def pushes(
    principal: Annotated[
        str | None, typer.Option(help="Only those of one principal, by id.")
    ] = None,
    retry: Annotated[int | None, typer.Option(help="Number of a parked push to try again.")] = None,
    drop: Annotated[
        int | None, typer.Option(help="Number of a parked push to give up; iCloud stays as it is.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the pushes that wait or are parked, with the reason; retry or drop one."""
    scope, now = Scope(principal_id=principal), int(time.time())
    decides = retry is not None or drop is not None
    with (
        refusals(as_json=as_json),
        opened(read_settings(config, data), with_key=False) as gateway,
        gateway.database.write() if decides else gateway.database.read() as session,
    ):
        if principal is not None:
            find_person(session, PersonRef(principal))
        if retry is not None:
            retry_push(session, scope, retry, now=now)
        if drop is not None:
            drop_push(session, scope, drop, now=now)
        found = waiting_pushes(session, scope, limit=MOST)
    listed = [
        {
            "id": message.id,
            "principal": ledger.principal_id,
            "action": message.action,
            "state": message.state,
            "reason": message.reason,
            "detail": message.detail,
            "attempts": message.attempts,
        }
        for message, ledger in found
    ]

    def text() -> None:
        rows = [["" if value is None else str(value) for value in one.values()] for one in listed]
        table(*(listed[0] if listed else ()), rows=rows, empty="Nothing waits.")
        if any(one["state"] == "parked" for one in listed):
            stdout.print("\nParked ones wait for you: --retry or --drop with their number.")

    show({"pushes": listed}, as_json=as_json, text=text)
