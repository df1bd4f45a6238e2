"""``gateway doctor --writes``: iCloud was sent what the ledger allows, all of it, nothing else."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway.lookalike.client import LookalikeControl
from tests.e2e.conftest import Installation, plain_environment, run_gateway, start_installation
from tests.e2e.person import DAY, HOUR, Person, event, eventually, make_person

TOMORROW = int(time.time()) // DAY * DAY + DAY + 9 * HOUR


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation of its own: the whole log is compared."""
    with start_installation(tmp_path_factory.mktemp("writes")) as running:
        yield running


async def work(person: Person) -> None:
    """Everything that could leak upstream, and what should go there: 4 PUTs and a DELETE."""
    own = {name: f"platform/{name}.ics" for name in ("kept", "moved", "gone", "slot")}
    guest = "ATTENDEE:mailto:guest@example.org"
    for number, name in enumerate(("kept", "moved", "gone")):
        body = event(TOMORROW + 2 * number * HOUR, guest, uid=name)
        assert (await person.dav("PUT", own[name], body, login="platform"))[0] == 201
    slot = event(TOMORROW + 20 * HOUR)
    assert (await person.dav("PUT", own["slot"], slot))[0] == 201
    assert (await person.dav("MKCALENDAR", "mine/"))[0] == 201
    assert (await person.dav("PUT", "mine/a.ics", slot))[0] == 201
    mirror = person.calendars["Work"]["caldav"].rstrip("/").rsplit("/", 1)[1]
    assert (await person.dav("PUT", f"{mirror}/x.ics", slot))[0] == 403
    assert (await person.dav("DELETE", f"{mirror}/"))[0] == 403
    target = f"{person.installation.caldav}{person.id}/platform/copy.ics"
    assert (await person.dav("COPY", own["kept"], Destination=target))[0] == 409
    await person.sync()
    later = event(TOMORROW + 30 * HOUR, uid="moved")
    assert (await person.dav("PUT", own["moved"], later))[0] == 204
    assert (await person.dav("DELETE", own["gone"]))[0] == 204
    await person.sync()


@pytest.mark.rule("R13", "R14", "R16", "R20")
async def test_ledger_and_log_agree_and_a_foreign_write_is_noticed(
    installation: Installation,
) -> None:
    environment = installation.environment
    async with (
        aiohttp.ClientSession() as http,
        LookalikeControl(installation.lookalike.ready["url"]) as phone,
    ):
        person = await make_person(installation, http, phone)
        await person.connect()
        await person.choose("Home", "Work")
        await phone.put(person.email, "work", event(TOMORROW + 40 * HOUR))
        await work(person)

        async def all_is_sent() -> bool:
            return len(await person.writes_upstream()) >= 5

        await eventually(all_is_sent)
        home = f"/{(await phone.account(person.email))['dsid']}/calendars/home"
        writes = await person.writes_upstream()
        assert sorted(method for method, _path in writes) == ["DELETE", *["PUT"] * 4]
        assert {path.rpartition("/")[0] for _method, path in writes} == {home}
        assert run_gateway("doctor", "--writes", environment=environment)[:2] == (
            0,
            {"ok": True, "findings": []},
        )
        pair = base64.b64encode(f"{person.email}:{person.app_password}".encode()).decode()
        url = f"{installation.lookalike.ready['url'].rstrip('/')}{home}/smuggled.ics"
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "text/calendar"}
        async with http.put(url, data=event(TOMORROW), headers=headers) as answer:
            status = answer.status
    code, document, _ = run_gateway("doctor", "--writes", environment=environment)
    assert (code, [finding["what"] for finding in document["findings"]]) == (
        1,
        ["write-without-ledger-row"],
    )
    assert document["findings"][0]["detail"] == f"PUT was answered {status}"


def test_without_a_look_alike_there_is_nothing_to_compare(tmp_path: Path) -> None:
    environment = plain_environment(
        GATEWAY_DATA_DIR=str(tmp_path / "data"),
        GATEWAY_UPSTREAM_URL="http://127.0.0.1:9/",
        GATEWAY_UPSTREAM_ALLOW_LOOPBACK="true",
    )
    assert run_gateway("init", environment=environment)[0] == 0
    code, document, problem = run_gateway("doctor", "--writes", environment=environment)
    assert (code, document["error"]["code"]) == (1, "no-request-log")
    assert "look-alike" in problem
