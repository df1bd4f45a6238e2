"""Zone names, offsets, and VTIMEZONE in both directions."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from gateway.core.ical.document import text_of
from gateway.core.ical.values import DAY, day_number
from gateway.core.ical.zones import IanaZone, find_named_zone, find_similar_zone, zone_of
from gateway.core.recurrence.budget import WorkBudget
from gateway.core.recurrence.vtimezone import read_vtimezone, write_vtimezone

NAMES = sorted(available_timezones() - {"localtime", "Factory"})
FEW = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Europe/Dublin",
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(NAMES), st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)))  # noqa: DTZ001
def test_iana_zones_agree_with_zoneinfo(name, moment):
    zone = IanaZone(ZoneInfo(name))
    wall = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
    local = moment.replace(tzinfo=ZoneInfo(name), microsecond=0)
    assert zone.to_utc(wall) == int(local.timestamp())
    back = datetime.fromtimestamp(wall, ZoneInfo(name)).replace(tzinfo=UTC)
    assert zone.to_wall(wall) == int(back.timestamp())


@pytest.mark.parametrize("name", FEW)
def test_in_a_gap_the_offset_before_in_a_fold_the_first(name):
    """Every minute around every clock change of two years, by the RFC's own words."""
    info = ZoneInfo(name)
    zone = IanaZone(info)
    start = int(datetime(2025, 12, 1, tzinfo=UTC).timestamp())
    for instant in range(start, start + 500 * DAY, 3600):
        before, after = zone.to_wall(instant - 1) - instant + 1, zone.to_wall(instant) - instant
        if before == after:
            continue
        for wall in range(instant + min(before, after), instant + max(before, after), 600):
            assert zone.to_utc(wall) == wall - before


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ('"Europe/Berlin"', "Europe/Berlin"),
        (" Europe/Berlin ", "Europe/Berlin"),
        ("/Europe/Berlin", "Europe/Berlin"),
        ("US/Pacific", "US/Pacific"),
        ("posix/Europe/Berlin", "Europe/Berlin"),
        ("Etc/GMT-3", "Etc/GMT-3"),
        ("Pacific Standard Time", "America/Los_Angeles"),
        ("pacific standard time", "America/Los_Angeles"),
        ("/citadel.org/20210210_1/America/Indiana/Knox", "America/Indiana/Knox"),
        ("/softwarestudio.org/Olson_20011030_5/Europe/London", "Europe/London"),
    ],
)
def test_named_zones(name, key):
    zone = find_named_zone(name)
    assert zone is not None
    assert zone.name == key


@pytest.mark.parametrize(
    "name", ["UTC", "utc", "Z", "GMT", "Etc/UTC", "Zulu", "tzone://Microsoft/Utc"]
)
def test_names_of_utc(name):
    zone = find_named_zone(name)
    assert zone is not None
    assert zone.to_utc(1000) == 1000


@pytest.mark.parametrize(
    "name",
    [
        "",
        "localtime",
        "Factory",
        "Europe",
        "../../etc/passwd",
        "a\x00b",
        "CET+1",
        "europe/berlin",
        "EDT",
        "Customized Time Zone",
        "/maker/EST",
        "x" * 10_000,
        "/" * 300,
    ],
)
def test_names_that_are_no_zone(name):
    assert find_named_zone(name) is None


def test_every_windows_name_leads_to_a_zone():
    assert [name for name in WINDOWS_TO_OLSON if find_named_zone(name) is None] == []


@pytest.mark.parametrize(
    ("name", "hours"),
    [("GMT+05:00", 5), ("GMT-0330", -3.5), ("UTC+14", 14), ("+0530", 5.5), ("utc -3", -3)],
)
def test_names_that_are_offsets(name, hours):
    zone = find_similar_zone(name)
    assert zone is not None
    assert zone.to_wall(0) == hours * 3600


@pytest.mark.parametrize("name", ["GMT+15:00", "GMT+5:75", "EST-5", "5", ""])
def test_names_that_are_not(name):
    assert find_similar_zone(name) is None


def test_iana_names_in_other_letters():
    zone = find_similar_zone("EUROPE/berlin")
    assert zone is not None
    assert zone.name == "Europe/Berlin"
    assert find_similar_zone("LocalTime") is None


def test_the_sign_of_posix_is_the_other_way_round():
    posix = find_named_zone("Etc/GMT+5")
    iso = find_similar_zone("GMT+05:00")
    assert posix is not None
    assert iso is not None
    assert posix.to_wall(0) == -5 * 3600
    assert iso.to_wall(0) == 5 * 3600


@pytest.mark.parametrize("name", sorted({*NAMES[::3], *FEW, "Africa/Casablanca", "Asia/Gaza"}))
def test_a_written_vtimezone_reads_back_as_the_zone(name):
    """Looked at each month of six years and every hour around each change."""
    info = ZoneInfo(name)
    block = text_of(write_vtimezone(info, name, 2025, 2027))
    low, high = day_number(2025, 1, 1) * DAY, day_number(2031, 1, 1) * DAY
    zone = read_vtimezone(name, block, high, WorkBudget(10))
    assert zone is not None
    real = zone_of(info)
    changes = [
        instant
        for instant in range(low, high, 3 * DAY)
        if real.to_wall(instant) - instant != real.to_wall(instant + 3 * DAY) - instant - 3 * DAY
    ]
    instants = {*range(low, high, 30 * DAY)}
    for change in changes:
        instants.update(range(change, change + 3 * DAY + 1, 3600))
    for instant in instants:
        assert zone.to_wall(instant) == real.to_wall(instant)
        assert zone.to_utc(instant) == real.to_utc(instant)


@pytest.mark.parametrize("lines", ["DTSTART:never\n", "", "DTSTART:19700101T000000\n"])
@pytest.mark.parametrize("offset", ["+0100", "0100", "+01:00", "01:00", "010000", "1:00"])
def test_a_single_observance_needs_its_offset_only(lines, offset):
    block = f"BEGIN:STANDARD\n{lines}TZOFFSETTO:{offset}\nEND:STANDARD"
    zone = read_vtimezone("x", block, 1_800_000_000, WorkBudget(0.05))
    assert zone is not None
    assert zone.to_utc(1_800_000_000) == 1_800_000_000 - 3600


@pytest.mark.parametrize(
    "block",
    [
        "BEGIN:VTIMEZONE\nTZID:x\nEND:VTIMEZONE",
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0000\nTZOFFSETTO:+5744\nEND:STANDARD",
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nEND:STANDARD",
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETTO:\nEND:STANDARD",
        "BEGIN:STANDARD\nTZOFFSETTO:+0100\nEND:STANDARD\nBEGIN:DAYLIGHT\nTZOFFSETTO:+0200\n"
        "END:DAYLIGHT",
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0000\nTZOFFSETTO:+0100\n"
        "RRULE:FREQ=NEVER\nEND:STANDARD",
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0000\nTZOFFSETTO:+0100\n"
        "RRULE:FREQ=SECONDLY\nEND:STANDARD",
    ],
)
def test_a_vtimezone_that_says_nothing_usable_is_no_zone(block):
    assert read_vtimezone("x", block, 1_800_000_000, WorkBudget(0.05)) is None
