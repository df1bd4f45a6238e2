"""vdirsyncer keeps a folder of files and ``platform/`` alike, both ways."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from gateway.lookalike.client import LookalikeControl
from tests.e2e.conftest import Installation
from tests.e2e.person import DAY, HOUR, Person, event, make_person
from tests.system.conftest import TOMORROW

pytestmark = pytest.mark.system("vdirsyncer")


CONFIG = """
[general]
status_path = "{folder}/status/"

[pair calendars]
a = "files"
b = "gateway"
collections = ["from b"]
conflict_resolution = null
metadata = ["color", "displayname"]

[storage files]
type = "filesystem"
path = "{folder}/calendars/"
fileext = ".ics"

[storage gateway]
type = "caldav"
url = "{url}"
username = "{login}"
password = "{password}"
"""


@dataclass(frozen=True)
class Vdirsyncer:
    """One configuration in a folder; ``files`` has a folder per calendar."""

    folder: Path

    @property
    def files(self) -> Path:
        """Where the calendars are."""
        return self.folder / "calendars"

    def run(self, *arguments: str, answers: str = "", code: int = 0) -> str:
        """Run one command, expect its exit code, and return all it says."""
        done = subprocess.run(
            ["vdirsyncer", "-c", str(self.folder / "config"), *arguments],
            input=answers,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout


@pytest.fixture
async def person(
    installation: Installation, http: aiohttp.ClientSession, phone: LookalikeControl
) -> Person:
    """Somebody with Home linked and Work as conflict calendar with two events in it."""
    someone = await make_person(installation, http, phone)
    await someone.connect()
    await phone.put(someone.email, "work", event(TOMORROW + DAY, summary="Dentist"))
    await phone.put(someone.email, "work", event(TOMORROW + DAY + HOUR, summary="Lunch"))
    await someone.choose("Home", "Work")
    return someone


@pytest.fixture
def vdirsyncer(person: Person, tmp_path: Path) -> Vdirsyncer:
    """Set up as its tutorial says: the server's address alone, the calendars are found."""
    login = person.logins["device"]
    config = CONFIG.format(
        folder=tmp_path,
        url=person.installation.caldav,
        login=login["login"],
        password=login["password"],
    )
    (tmp_path / "config").write_text(config)
    made = Vdirsyncer(tmp_path)
    made.run("discover", answers="y\n" * 9)
    return made


async def listed(person: Person) -> dict[str, str]:
    """Return {name: text} of ``platform/`` as the gateway has it."""
    status, text = await person.dav("PROPFIND", "platform/", Depth="1")
    assert status == 207
    hrefs = re.findall(r"<(?:\w+:)?href>([^<]*\.ics)</", text)
    names = {href.rsplit("/", 1)[1] for href in hrefs}
    return {name: (await person.dav("GET", f"platform/{name}"))[1] for name in names}


@pytest.mark.rule("R14", "R18", "R21")
async def test_edits_travel_both_ways_and_a_quiet_sync_changes_nothing(
    vdirsyncer: Vdirsyncer, person: Person
) -> None:
    folder = vdirsyncer.files / "platform"
    folder.joinpath("local.ics").write_bytes(event(TOMORROW, uid="local"))
    await person.dav("PUT", "platform/remote.ics", event(TOMORROW + 2 * HOUR, uid="remote"))
    vdirsyncer.run("sync")
    assert {path.name for path in folder.glob("*.ics")} == {"local.ics", "remote.ics"}
    assert await person.is_busy(TOMORROW, TOMORROW + HOUR)
    before = await listed(person)
    assert len(before) == 2

    assert actions(vdirsyncer.run("sync")) == []
    assert await listed(person) == before

    uploaded = next(name for name, text in before.items() if "UID:local" in text)
    folder.joinpath("local.ics").write_bytes(event(TOMORROW + 4 * HOUR, uid="local"))
    await person.dav("PUT", "platform/remote.ics", event(TOMORROW + 6 * HOUR, uid="remote"))
    told = actions(vdirsyncer.run("sync"))
    assert sorted(told) == [
        "Copying (updating) item local to gateway/platform",
        "Copying (updating) item remote to files/platform",
    ]
    assert not await person.is_busy(TOMORROW, TOMORROW + 4 * HOUR)
    assert await person.is_busy(TOMORROW + 4 * HOUR, TOMORROW + 5 * HOUR)
    here = folder.joinpath("remote.ics").read_bytes().splitlines()
    assert here == event(TOMORROW + 6 * HOUR, uid="remote").splitlines()

    folder.joinpath("remote.ics").unlink()
    await person.dav("DELETE", f"platform/{uploaded}")
    told = actions(vdirsyncer.run("sync"))
    assert sorted(told) == [
        "Deleting item local from files/platform",
        "Deleting item remote from gateway/platform",
    ]
    assert await listed(person) == {}
    assert list(folder.glob("*.ics")) == []
    assert not await person.is_busy(TOMORROW, TOMORROW + DAY - HOUR)


def actions(said: str) -> list[str]:
    """Return the lines of its output that tell of a change.

    Not its warning: 0.19 says "with no etag" on each deletion that has one.
    """
    return [line for line in said.splitlines() if not line.startswith(("Syncing ", "warning: "))]


@pytest.mark.rule("R9", "R10", "R18")
async def test_mirrors_arrive_with_their_names_and_follow_icloud(
    vdirsyncer: Vdirsyncer, person: Person
) -> None:
    mirror = str(person.calendars["Work"]["caldav"]).rstrip("/").rsplit("/", 1)[1]
    vdirsyncer.run("sync")
    vdirsyncer.run("metasync")
    folder = vdirsyncer.files / mirror
    summaries = {path.name: "Dentist" in path.read_text() for path in folder.glob("*.ics")}
    assert sorted(summaries.values()) == [False, True]
    assert folder.joinpath("displayname").read_text().strip() == "Work"
    assert folder.joinpath("color").read_text().startswith("#")
    dentist = next(name for name, is_dentist in summaries.items() if is_dentist)
    for one in await person.phone.objects(person.email, "work"):
        if b"Dentist" in await person.phone.get(person.email, "work", one["name"]):
            await person.phone.delete(person.email, "work", one["name"])
    await person.sync()
    assert [line.split(" item ")[0] for line in actions(vdirsyncer.run("sync"))] == ["Deleting"]
    assert {path.name for path in folder.glob("*.ics")} == set(summaries) - {dentist}


@pytest.mark.rule("R20")
async def test_an_edit_of_a_mirror_is_refused_and_everything_else_still_syncs(
    vdirsyncer: Vdirsyncer, person: Person
) -> None:
    mirror = str(person.calendars["Work"]["caldav"]).rstrip("/").rsplit("/", 1)[1]
    vdirsyncer.run("sync")
    files = (vdirsyncer.files / mirror).glob("*.ics")
    file = next(path for path in files if b"Dentist" in path.read_bytes())
    file.write_bytes(file.read_bytes().replace(b"Dentist", b"Mine"))
    local = vdirsyncer.files / "platform" / "local.ics"
    local.write_bytes(event(TOMORROW + 2 * HOUR, uid="local"))
    said = vdirsyncer.run("sync", code=1)
    assert "403" in said
    assert await person.is_busy(TOMORROW + 2 * HOUR, TOMORROW + 3 * HOUR)
    status, text = await person.dav("GET", f"{mirror}/")
    assert (status, "Dentist" in text, "Mine" in text) == (200, True, False)
    assert await person.writes_upstream() == []
