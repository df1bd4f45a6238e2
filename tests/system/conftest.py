"""Deselects by name what cannot run here, and starts an installation behind which proxies stand.

A test says what it needs as arguments of its mark: ``pytest.mark.system("nginx", "openssl")``.
Nothing is ever skipped: a test either runs or is named in the last lines with the reason.
"""

import time
from collections.abc import Iterator

import aiohttp
import pytest

from gateway.lookalike.client import LookalikeControl
from tests.e2e.conftest import Installation, http, phone, start_installation
from tests.e2e.person import DAY, HOUR, Person, event, make_person
from tests.system.parts import find_absent

__all__ = ["http", "phone"]

TOMORROW = int(time.time()) // DAY * DAY + DAY + 9 * HOUR
"""Nine o'clock UTC; where :func:`person` has a dentist's appointment of an hour."""

_absent = pytest.StashKey[dict[str, list[str]]]()


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for the session that believes a proxy on loopback."""
    folder = tmp_path_factory.mktemp("installation")
    with start_installation(folder, GATEWAY_TRUSTED_PROXIES="127.0.0.1") as running:
        yield running


@pytest.fixture
async def person(
    installation: Installation, http: aiohttp.ClientSession, phone: LookalikeControl
) -> Person:
    """Somebody with Home linked and Work as conflict calendar with one event in it."""
    someone = await make_person(installation, http, phone)
    await someone.connect()
    await phone.put(someone.email, "work", event(TOMORROW, summary="Dentist"))
    await someone.choose("Home", "Work")
    return someone


@pytest.hookimpl(trylast=True)  # after -m has chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests whose parts are not installed."""
    lacking: dict[str, list[str]] = {}
    for item in items:
        needs = [name for mark in item.iter_markers("system") for name in mark.args]
        absent = find_absent(tuple(needs))
        if absent:
            lacking[item.nodeid] = absent
    config.stash[_absent] = lacking
    gone = [item for item in items if item.nodeid in lacking]
    if gone:
        items[:] = [item for item in items if item.nodeid not in lacking]
        config.hook.pytest_deselected(items=gone)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was deselected, and why."""
    lacking = terminalreporter.config.stash.get(_absent, {})
    if lacking:
        terminalreporter.section("deselected: parts are absent (see tests/system/install.sh)")
    for name, absent in lacking.items():
        terminalreporter.line(f"DESELECTED {name}: no {', '.join(absent)} here")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End well when nothing was left to run for want of parts alone."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(_absent, {}):
        session.exitstatus = pytest.ExitCode.OK
