"""Two API processes on one database, and more callers than slots (R27, R29, R30)."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from tests.api.conftest import fill
from tests.e2e.conftest import Process, plain_environment

HOUR = 3600
CALLERS, SLOTS = 64, 20


@pytest.fixture
def apis(database: Database, keyring: Keyring, tmp_path: Path) -> Iterator[list[str]]:
    """The addresses of two running processes."""
    environment = plain_environment(
        GATEWAY_DATA_DIR=str(tmp_path),
        GATEWAY_KEYRING_FILE=str(tmp_path / "keyring.json"),
        GATEWAY_DATABASE_URL=database.url.render_as_string(hide_password=False),
        GATEWAY_API_BIND="127.0.0.1:0",
        GATEWAY_LOG_LEVEL="WARNING",
    )
    processes = [Process(["api"], environment) for _ in range(2)]
    yield [process.ready["api"] for process in processes]
    for process in processes:
        process.stop()


def text(epoch: int) -> str:
    """Write a time as the API takes it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.rule("R27", "R29", "R30")
async def test_callers_of_two_processes_never_share_a_slot(
    apis: list[str], database: Database
) -> None:
    """64 callers want 20 slots: some hold first, some send their booking twice."""
    ann, _, secrets = fill(database)
    first = int(time.time()) // HOUR * HOUR + 48 * HOUR

    async def book(client: aiohttp.ClientSession, number: int) -> tuple[int, Any]:
        api = apis[number % 2]
        start = first + number % SLOTS * HOUR
        wish: dict[str, Any] = {
            "principal": ann.id,
            "start": text(start),
            "end": text(start + HOUR),
        }
        if number % 3 == 0:
            async with client.post(f"{api}v1/holds", json=wish) as answer:
                held = await answer.json()
                if answer.status != 201:
                    return answer.status, held
            wish["hold"] = held["id"]
        headers = {"Idempotency-Key": f"caller-{number}"}
        answers = []
        for target in [api, apis[1 - number % 2]][: 1 + (number % 4 == 0)]:
            url = f"{target}v1/appointments"
            body = {**wish, "title": f"Caller {number}"}
            async with client.post(url, json=body, headers=headers) as answer:
                answers.append((answer.status, await answer.json()))
        assert len({(status, found.get("id")) for status, found in answers}) == 1
        return answers[0]

    key = {"Authorization": f"Bearer {secrets['platform']}"}
    async with aiohttp.ClientSession(headers=key) as client:
        found = await asyncio.gather(*(book(client, number) for number in range(CALLERS)))
        path = f"{apis[0]}v1/appointments?limit=200&principal={ann.id}"
        async with client.get(path) as answer:
            listed = (await answer.json())["appointments"]
    outcomes = Counter((status, answer.get("code")) for status, answer in found)
    assert outcomes == {(201, None): SLOTS, (409, "slot-taken"): CALLERS - SLOTS}
    assert [row["start"] for row in listed] == [text(first + n * HOUR) for n in range(SLOTS)]
