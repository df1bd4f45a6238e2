"""An API process that is killed in the middle of a request under an Idempotency-Key (R29)."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway.store.access.idempotency import LEASE_S
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database
from tests.api.conftest import fill
from tests.e2e.conftest import Process, plain_environment


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """An upstream that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def environment(
    database: Database, keyring: Keyring, tmp_path: Path, silent: socket.socket
) -> dict[str, str]:
    """The settings of every process."""
    return plain_environment(
        GATEWAY_DATA_DIR=str(tmp_path),
        GATEWAY_KEYRING_FILE=str(tmp_path / "keyring.json"),
        GATEWAY_DATABASE_URL=database.url.render_as_string(hide_password=False),
        GATEWAY_API_BIND="127.0.0.1:0",
        GATEWAY_UPSTREAM_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/",
        GATEWAY_UPSTREAM_ALLOW_LOOPBACK="true",
        GATEWAY_UPSTREAM_TIMEOUT_S="60",
        GATEWAY_LOG_LEVEL="WARNING",
    )


@pytest.mark.rule("R29")
async def test_a_request_whose_process_was_killed_can_be_repeated_in_seconds(
    environment: dict[str, str], database: Database, silent: socket.socket
) -> None:
    ann, _, secrets = fill(database)
    doomed, other = Process(["api"], environment), Process(["api"], environment)
    headers = {"Authorization": f"Bearer {secrets['platform']}", "Idempotency-Key": "once"}
    body = {"email": "ann@icloud.example", "app_password": "abcd-efgh-ijkl-mnop"}
    path = f"v1/principals/{ann.id}/connection"
    loop = asyncio.get_running_loop()
    try:
        async with aiohttp.ClientSession(headers=headers) as client:

            async def send(process: Process) -> tuple[int, dict[str, str], dict[str, str]]:
                async with client.post(process.ready["api"] + path, json=body) as answer:
                    return answer.status, await answer.json(content_type=None), dict(answer.headers)

            first = asyncio.create_task(send(doomed))
            upstream, _ = await loop.run_in_executor(None, silent.accept)  # it is under way
            status, problem, said = await send(other)
            assert (status, problem["code"]) == (409, "idempotency-in-progress")
            assert 1 <= int(said["Retry-After"]) <= LEASE_S
            doomed.stop(signal.SIGKILL)
            killed = time.monotonic()
            upstream.close()
            with pytest.raises(aiohttp.ClientError):
                await first
            silent.close()  # now nobody is there, so the next one is answered at once
            while (status := (await send(other))[0]) == 409:
                assert time.monotonic() < killed + 3 * LEASE_S
                await asyncio.sleep(int(said["Retry-After"]) / 4)
            assert status == 502
    finally:
        doomed.stop()
        other.stop()
