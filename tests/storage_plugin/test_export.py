"""GET on a calendar: one file with every object in it, whatever its line ends and zones."""

from icalendar import Calendar

from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import event
from tests.storage_plugin.test_traps import zoned


def summaries(text: str) -> list[str]:
    calendars = Calendar.from_ical(text, multiple=True)
    return sorted(str(part["SUMMARY"]) for one in calendars for part in one.walk("VEVENT"))


def test_a_calendar_comes_as_one_file(world):
    path, day = world.platform_path, at(0)[:8]
    folded = "DESCRIPTION:See\r\n BEGIN:VEVENT\r\n END:VEVENT"
    bodies = {
        "plain": event("plain", at(9), at(10), summary="Plain"),
        "lf": event("lf", at(10), at(11), summary="Bare LF").replace(b"\r\n", b"\n"),
        "fold": event("fold", at(11), at(12), folded, summary="Fold"),
        "west": zoned("west", "-0600", f"{day}T120000"),
        "also west": zoned("also-west", "-0600", f"{day}T140000"),
    }
    for name, body in bodies.items():
        put = world.device.put(f"{path}{name.replace(' ', '-')}.ics", body)
        assert (name, put.status) == (name, 201)
    whole = world.device.get(path)
    assert whole.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert summaries(whole.text) == ["Bare LF", "Fold", "Meeting", "Meeting", "Plain"]
    assert whole.text.count("BEGIN:VCALENDAR") == 1
    assert whole.text.count("BEGIN:VTIMEZONE") == 1
    assert "X-WR-CALNAME:Appointments\r\n" in whole.text
    assert "\r\nDESCRIPTION:See\r\n BEGIN:VEVENT\r\n END:VEVENT\r\n" in whole.text


def test_a_zone_that_contradicts_another_stays_with_its_event(world):
    path, day = world.platform_path, at(0)[:8]
    for name, offset in (("east", "+0600"), ("west", "-0600")):
        world.device.put(f"{path}{name}.ics", zoned(name, offset, f"{day}T120000"))
    whole = world.device.get(path).text
    parts = [part for part in whole.split("BEGIN:VCALENDAR\r\n") if part]
    told = [
        [line for line in part.splitlines() if line.startswith(("UID", "TZOFFSETTO"))]
        for part in parts
    ]
    assert told == [["TZOFFSETTO:+0600", "UID:east"], ["TZOFFSETTO:-0600", "UID:west"]]


def test_an_empty_calendar_is_a_calendar(world):
    assert world.device.get(world.platform_path).text == (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//icloud-caldav-gateway//EN\r\n"
        "X-WR-CALNAME:Appointments\r\nEND:VCALENDAR\r\n"
    )
