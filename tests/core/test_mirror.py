"""What of a mirrored event is served (R10). That it stays busy is proved with the golden files."""

import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.appointments.mirror import serve_mirrored
from gateway.core.ical.lines import unfold
from gateway.core.ical.objects import parse_calendar_object
from gateway.core.ical.reader import read_calendar

OWNER = frozenset({"me@example.com"})

INVITATION = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Apple Inc.//iCloud//EN
CALSCALE:GREGORIAN
METHOD:REQUEST
{access}BEGIN:VTIMEZONE
TZID:Europe/Berlin
X-LIC-LOCATION:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:a
DTSTAMP:20260101T000000Z
DTSTAMP:20260102T000000Z
DTSTART;TZID=Europe/Berlin:20260401T100000
DTEND;TZID=Europe/Berlin:20260401T110000
RRULE:FREQ=WEEKLY
SUMMARY:Salary talk with Ann
LOCATION:Room 7
DESCRIPTION:Bring the numbers
X-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT30M
X-APPLE-TRAVEL-START;X-TITLE="Ann's home":geo:1,2
X-UNKNOWN:kept
ORGANIZER;CN=Ann:mailto:ann@example.com
ATTENDEE;CN=Ann;PARTSTAT=ACCEPTED:mailto:ann@example.com
ATTENDEE;CN=Me;PARTSTAT=TENTATIVE;SENT-BY="mailto:bob@example.com":mailto:Me@example.com
ATTACH:https://files.example.com/numbers.pdf
CONTACT:Ann
X-CALENDARSERVER-ATTENDEE-COMMENT:from Bob
REQUEST-STATUS:2.0;Success;mailto:bob@example.com
BEGIN:VALARM
ACTION:EMAIL
TRIGGER:-PT5M
ATTENDEE:mailto:bob@example.com
END:VALARM
BEGIN:PARTICIPANT
CALENDAR-ADDRESS:mailto:bob@example.com
END:PARTICIPANT
END:VEVENT
END:VCALENDAR
"""


def served(text: str = INVITATION, access: str = "", **options) -> list[str]:
    level = f"X-CALENDARSERVER-ACCESS:{access}\n" if access else ""
    body = text.replace("{access}", level).replace("\n", "\r\n").encode()
    result = serve_mirrored(body, options.pop("owner", OWNER), **options)
    assert b"\n" not in result.replace(b"\r\n", b"")
    return unfold(result).split("\n")


HEAD = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Apple Inc.//iCloud//EN",
    "CALSCALE:GREGORIAN",
]
ZONE = [
    "BEGIN:VTIMEZONE",
    "TZID:Europe/Berlin",
    "X-LIC-LOCATION:Europe/Berlin",
    "BEGIN:STANDARD",
    "DTSTART:19701025T030000",
    "TZOFFSETFROM:+0200",
    "TZOFFSETTO:+0100",
    "END:STANDARD",
    "END:VTIMEZONE",
]
TIMES = [
    "BEGIN:VEVENT",
    "UID:a",
    "DTSTAMP:20260101T000000Z",
    "DTSTART;TZID=Europe/Berlin:20260401T100000",
    "DTEND;TZID=Europe/Berlin:20260401T110000",
    "RRULE:FREQ=WEEKLY",
]
TRAVEL = ["X-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT30M"]
TAIL = [
    "ATTENDEE;PARTSTAT=TENTATIVE:mailto:Me@example.com",
    "END:VEVENT",
    "END:VCALENDAR",
    "",
]


@pytest.mark.rule("R10")
def test_full_detail_has_no_other_people_no_files_no_alarms():
    assert served() == [
        *HEAD,
        *ZONE,
        *TIMES,
        "SUMMARY:Salary talk with Ann",
        "LOCATION:Room 7",
        "DESCRIPTION:Bring the numbers",
        *TRAVEL,
        'X-APPLE-TRAVEL-START;X-TITLE="Ann\'s home":geo:1,2',
        "X-UNKNOWN:kept",
        *TAIL,
    ]


@pytest.mark.rule("R10")
@pytest.mark.parametrize("access", ["", "PUBLIC", "CONFIDENTIAL"])
def test_busy_detail_has_times_only(access):
    head = [*HEAD, f"X-CALENDARSERVER-ACCESS:{access}"] if access else HEAD
    assert served(access=access, detail="busy") == [
        *head,
        *ZONE,
        *TIMES,
        *TRAVEL,
        "SUMMARY:Busy",
        *TAIL,
    ]


@pytest.mark.rule("R10")
@pytest.mark.parametrize(
    ("access", "texts"),
    [
        ("PUBLIC", ["Salary talk with Ann", "Room 7", "Bring the numbers"]),
        ("public", ["Salary talk with Ann", "Room 7", "Bring the numbers"]),
        ("RESTRICTED", ["Salary talk with Ann", "Room 7"]),
        ("CONFIDENTIAL", ["Busy"]),
        ("PRIVATE", ["Busy"]),
        ("X-NEW-LEVEL", ["Busy"]),
    ],
)
def test_details_above_the_access_level_are_withheld(access, texts):
    names = ("SUMMARY:", "LOCATION:", "DESCRIPTION:")
    shown = [line.partition(":")[2] for line in served(access=access) if line.startswith(names)]
    assert shown == texts
    assert ("X-UNKNOWN:kept" in served(access=access)) is (access.upper() == "PUBLIC")


@pytest.mark.rule("R10")
def test_without_known_addresses_every_attendee_goes():
    assert not [line for line in served(owner=frozenset()) if "ATTENDEE" in line]


@pytest.mark.rule("R10")
def test_an_organisers_open_answer_is_no_open_invitation():
    text = INVITATION.replace("CN=Ann:mailto:ann@", "CN=Me:mailto:me@").replace(
        ";PARTSTAT=TENTATIVE", ""
    )
    assert "ATTENDEE;PARTSTAT=ACCEPTED:mailto:Me@example.com" in served(text)


@pytest.mark.rule("R10")
def test_an_address_in_the_email_parameter_replaces_a_principal_path():
    text = INVITATION.replace(":mailto:Me@example.com", ";EMAIL=Me@example.com:/1234567/principal/")
    assert "ATTENDEE;PARTSTAT=TENTATIVE:mailto:me@example.com" in served(text)
    assert not [line for line in served(text) if "1234567" in line]


@pytest.mark.parametrize(
    ("odd", "stamp"),
    [
        ("", "19700101T000000Z"),
        ("CREATED:20250505T050505Z\n", "20250505T050505Z"),
        ("LAST-MODIFIED:20260606T060606Z\nCREATED:20250505T050505Z\n", "20260606T060606Z"),
    ],
)
def test_what_a_valid_body_needs_is_added(odd, stamp):
    text = (
        f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\n{odd}DTSTART:20260401T100000Z\njunk\nEND:VEVENT\n"
    )
    lines = served(text)
    assert lines[:3] == ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//icloud-caldav-gateway//EN"]
    assert f"DTSTAMP:{stamp}" in lines
    assert "junk" not in lines


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=400), st.integers(0, 90))
def test_any_text_comes_out_valid_and_folded(text, padding):
    summary = "x" * padding + text.replace("\r", "").replace("\n", "")
    body = (
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART:20260401T100000Z\r\n"
        f"SUMMARY:{summary}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    ).encode("utf-8", "replace")
    result = serve_mirrored(body, OWNER)
    assert max(map(len, result.split(b"\r\n"))) <= 75
    for piece in result.split(b"\r\n"):
        piece.decode()  # no fold inside a character
    before = read_calendar(unfold(body), full=True).components[0].first("SUMMARY")
    after = read_calendar(unfold(result), full=True).components[0].first("SUMMARY")
    assert after == before
    assert parse_calendar_object(result).uid == "a"
    vobject.readOne(result.decode())
