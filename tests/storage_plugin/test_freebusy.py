"""free-busy-query: one VFREEBUSY, the same truth as every other face (R22, R23)."""

import random

import pytest

from gateway.core.ical.values import format_utc
from gateway.services.availability import free_busy
from gateway.store import tables
from gateway.store.access.principals import get_principal
from tests.storage_plugin.conftest import DAY0, at, now
from tests.storage_plugin.dav import C, D, event

FBTYPES = {
    "busy": "BUSY",
    "unknown": "BUSY",
    "unavailable": "BUSY-UNAVAILABLE",
    "tentative": "BUSY-TENTATIVE",
}


def periods(answer) -> list[tuple[str, str]]:
    lines = [line for line in answer.text.split("\r\n") if line.startswith("FREEBUSY")]
    return [
        (name.removeprefix("FREEBUSY;FBTYPE="), value)
        for name, _, value in (line.partition(":") for line in lines)
    ]


@pytest.mark.rule("R22", "R26")
def test_the_home_merges_all_that_blocks(world):
    world.mirror_put("a.ics", event("a", at(9), at(10), summary="Secret"))
    world.mirror_put("t.ics", event("t", at(9.5), at(11), "STATUS:TENTATIVE"))
    world.mirror_put("f.ics", event("f", at(15), at(16), "TRANSP:TRANSPARENT"))
    world.device.put(f"{world.platform_path}d.ics", event("d", at(10), at(10.5)))
    world.device.mkcalendar(f"{world.home}mine/")
    world.device.put(f"{world.home}mine/m.ics", event("m", at(12), at(13)))
    answer = world.device.freebusy(world.home, at(0), at(24))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    assert periods(answer) == [
        ("BUSY", f"{at(9)}/{at(10.5)}"),
        ("BUSY", f"{at(12)}/{at(13)}"),
        ("BUSY-TENTATIVE", f"{at(10.5)}/{at(11)}"),
    ]
    assert answer.text.count("BEGIN:VFREEBUSY") == 1
    assert f"DTSTART:{at(0)}\r\nDTEND:{at(24)}\r\n" in answer.text
    assert "Secret" not in answer.text


@pytest.mark.rule("R22")
def test_a_calendar_tells_its_own_part(world):
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    world.device.put(f"{world.platform_path}d.ics", event("d", at(12), at(13)))
    mirror = world.device.freebusy(world.mirror_path, at(9.5), at(24))
    assert periods(mirror) == [("BUSY", f"{at(9.5)}/{at(10)}")]
    platform = world.device.freebusy(world.platform_path, at(0), at(24))
    assert periods(platform) == [("BUSY", f"{at(12)}/{at(13)}")]


@pytest.mark.rule("R25")
def test_unknown_time_is_told_as_busy(world):
    world.change(tables.upstream_calendars, synced_at=None, state="never")
    answer = world.device.freebusy(world.home, at(0), at(24))
    assert periods(answer) == [("BUSY", f"{at(0)}/{at(24)}")]


@pytest.mark.rule("R25")
def test_a_calendar_that_does_not_block_is_not_told_free_unread(world):
    world.change(tables.upstream_calendars, synced_at=None, state="never", blocks=False)
    mirror = world.device.freebusy(world.mirror_path, at(0), at(24))
    assert periods(mirror) == [("BUSY", f"{at(0)}/{at(24)}")]
    assert periods(world.device.freebusy(world.home, at(0), at(24))) == []


@pytest.mark.rule("R22", "R23")
@pytest.mark.parametrize("seed", range(6))
def test_the_report_says_what_the_json_face_says(world, seed):
    chance = random.Random(seed)
    extras = ["TRANSP:TRANSPARENT", "STATUS:TENTATIVE", "STATUS:CANCELLED", "RRULE:FREQ=DAILY"]
    for n in range(12):
        start = chance.randrange(0, 96) / 4
        end = start + chance.randrange(1, 16) / 4
        lines = chance.sample(extras, chance.randrange(0, 2))
        body = event(str(n), at(start), at(end), *lines)
        if chance.random() < 0.5:
            world.mirror_put(f"{n}.ics", body)
        else:
            world.device.put(f"{world.platform_path}{n}.ics", body)
    window = (int(DAY0.timestamp()) + 3600, int(DAY0.timestamp()) + 40 * 3600)
    answer = world.device.freebusy(world.home, *(format_utc(edge) for edge in window))
    with world.database.read() as session:
        principal = get_principal(session, world.principal_id)
        expected = free_busy(session, principal, window, now=now()).busy
    told = sorted(
        (FBTYPES[status], f"{format_utc(start)}/{format_utc(end)}")
        for start, end, status in expected
    )
    assert sorted(periods(answer)) == told


def test_questions_that_cannot_be_answered(world):
    far = world.device.freebusy(world.home, at(0), at(0, day=400))
    assert (far.status, far.conditions) == (403, [f"{C}valid-filter"])
    assert world.device.freebusy(world.home, at(2), at(1)).conditions == [f"{C}valid-filter"]
    assert world.device.freebusy("/", at(0), at(24)).conditions == [f"{D}supported-report"]
    world.device.put(f"{world.platform_path}d.ics", event("d", at(12), at(13)))
    single = world.device.freebusy(f"{world.platform_path}d.ics", at(0), at(24))
    assert single.conditions == [f"{D}supported-report"]
    assert world.device.freebusy(f"{world.home}none/", at(0), at(24)).status == 404
    assert world.device.freebusy("/somebody/", at(0), at(24)).status == 404
    quiet = world.new_login("device", show_mirrors=False)
    assert quiet.freebusy(world.mirror_path, at(0), at(24)).status == 404


@pytest.mark.rule("R22", "R23")
def test_the_view_for_browsers_is_the_same_engines(world):
    """Radicale has a ``?view=freebusy``; it would parse every event and know nothing of mirrors."""
    world.mirror_put("a.ics", event("a", at(9), at(10), summary="Secret"))
    world.device.put(f"{world.platform_path}d.ics", event("d", at(12), at(13)))
    for path in (world.home, world.mirror_path, world.platform_path):
        view = world.device.get(f"{path}?view=freebusy&start={at(0)}&end={at(24)}")
        report = world.device.freebusy(path, at(0), at(24))
        assert (view.status, periods(view)) == (200, periods(report))
        assert world.device.get(f"{path}?view=freebusy").status == 200
    for wrong in ("start=x&end=y", f"start={at(0)}", f"start={at(2)}&end={at(1)}"):
        assert world.device.get(f"{world.home}?view=freebusy&{wrong}").status == 400
    far = world.device.get(f"{world.home}?view=freebusy&start={at(0)}&end={at(0, day=400)}")
    assert far.conditions == [f"{C}valid-filter"]
