"""A whole installation as real processes: the look-alike and ``gateway serve``."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.lookalike.client import LookalikeControl

GATEWAY = [sys.executable, "-c", "from gateway.cli.main import main; main()"]


@dataclass
class Process:
    """One ``gateway`` process that printed its ready line."""

    arguments: list[str]
    environment: dict[str, str]
    popen: subprocess.Popen[bytes] = field(init=False)
    ready: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.popen = subprocess.Popen(
            [*GATEWAY, *self.arguments, "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.popen.stdout is not None
        self.ready = json.loads(self.popen.stdout.readline())

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it and wait until it is gone."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        self.popen.wait(timeout=120)
        assert self.popen.stdout is not None
        self.popen.stdout.close()


def run_gateway(*arguments: str, environment: dict[str, str], stdin: str = "") -> Any:
    """Run one command to its end and return what it printed with ``--json``."""
    done = subprocess.run(
        [*GATEWAY, *arguments, "--json"],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    document = json.loads(done.stdout) if done.stdout.strip() else None
    return done.returncode, document, done.stderr


@dataclass
class Installation:
    """The running parts; ``admin_key`` may do everything."""

    folder: Path
    environment: dict[str, str]
    admin_key: str
    lookalike: Process
    serve: Process

    @property
    def api(self) -> str:
        """URL of the API, with a slash at its end."""
        return str(self.serve.ready["api"])

    @property
    def caldav(self) -> str:
        """URL of the CalDAV face, with a slash at its end."""
        return str(self.serve.ready["caldav"])


def plain_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without gateway settings, plus ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return kept | more


@contextmanager
def start_installation(folder: Path, **settings: str) -> Iterator[Installation]:
    """Run a look-alike and a gateway on it; ``settings`` are further ``GATEWAY_…`` variables."""
    lookalike = Process(["lookalike", "--no-seed"], plain_environment())
    environment = plain_environment(
        GATEWAY_DATA_DIR=str(folder / "data"),
        GATEWAY_UPSTREAM_URL=lookalike.ready["url"],
        GATEWAY_UPSTREAM_ALLOW_LOOPBACK="true",
        GATEWAY_API_BIND="127.0.0.1:0",
        GATEWAY_CALDAV_BIND="127.0.0.1:0",
        GATEWAY_POLL_ACTIVE_S="1",
        GATEWAY_POLL_IDLE_S="1",
        GATEWAY_UPSTREAM_REQUESTS_PER_MINUTE="6000",
        GATEWAY_LOG_LEVEL="WARNING",
        **settings,
    )
    code, made, problem = run_gateway("init", environment=environment)
    assert code == 0, problem
    serve = Process(["serve"], environment)
    yield Installation(folder, environment, made["admin_key"], lookalike, serve)
    serve.stop()
    lookalike.stop()


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for the session; tests make principals and accounts of their own."""
    with start_installation(tmp_path_factory.mktemp("installation")) as running:
        yield running
        # Whatever the tests did: iCloud was sent what the ledger allows, all of it, nothing else.
        compared = run_gateway("doctor", "--writes", environment=running.environment)
        assert compared[:2] == (0, {"ok": True, "findings": []}), compared


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session of the test."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def phone(installation: Installation) -> AsyncIterator[LookalikeControl]:
    """The look-alike's control client: a person at their phone."""
    async with LookalikeControl(installation.lookalike.ready["url"]) as control:
        yield control
