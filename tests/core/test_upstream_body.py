"""What is written to iCloud, what counts as a change, and what is taken back (R15, R17)."""

import re
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import icalendar
import pytest

from gateway.core.appointments.upstream_body import (
    adopt_times,
    build_upstream_body,
    has_guests,
    same_meaning,
    same_times,
)
from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.lines import unfold
from gateway.core.ical.objects import parse_calendar_object
from gateway.core.ical.plain_text import strip_html
from gateway.core.recurrence.expand import BusyRules, expand
from tests.core.golden import Case, shown
from tests.core.test_golden import CASES

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
UID = "0f6a1c1e-8f0a-4f3e-9f52-0d8f0c3f7a11"


def body(*events: str, before: str = "") -> bytes:
    parts = ["BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN", *([before] if before else [])]
    for event in events:
        parts.append(f"BEGIN:VEVENT\nUID:a\nDTSTAMP:20260101T000000Z\n{event}\nEND:VEVENT")
    return ("\n".join([*parts, "END:VCALENDAR"]) + "\n").replace("\n", "\r\n").encode()


def built(local: bytes, **options) -> bytes:
    return build_upstream_body(local, uid=UID, now=NOW, zone=BERLIN, **options)


def lines(data: bytes, *names: str) -> list[str]:
    """The lines of the VEVENTs (no VTIMEZONE) that begin with one of the names."""
    text = re.sub(r"BEGIN:VTIMEZONE.*?END:VTIMEZONE\n", "", unfold(data), flags=re.DOTALL)
    return [line for line in text.split("\n") if line.startswith(names)]


MEETING = (
    "DTSTART;TZID=Europe/Berlin:20260401T100000\nDTEND;TZID=Europe/Berlin:20260401T110000\n"
    "SUMMARY:Haircut\nDESCRIPTION:Bring a towel\nLOCATION:Main Street 1"
)


@pytest.mark.rule("R15")
def test_a_whole_body():
    local = body(MEETING + "\nORGANIZER:mailto:me@example.com\nATTENDEE:mailto:ann@example.com")
    assert unfold(built(local)).split("\n") == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//icloud-caldav-gateway//EN",
        "CALSCALE:GREGORIAN",
        "BEGIN:VTIMEZONE",
        "TZID:Europe/Berlin",
        "BEGIN:STANDARD",
        "DTSTART:20250101T000000",
        "TZOFFSETFROM:+0100",
        "TZOFFSETTO:+0100",
        "END:STANDARD",
        "BEGIN:DAYLIGHT",
        "DTSTART:20250330T020000",
        "TZOFFSETFROM:+0100",
        "TZOFFSETTO:+0200",
        "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU",
        "END:DAYLIGHT",
        "BEGIN:STANDARD",
        "DTSTART:20251026T030000",
        "TZOFFSETFROM:+0200",
        "TZOFFSETTO:+0100",
        "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU",
        "END:STANDARD",
        "END:VTIMEZONE",
        "BEGIN:VEVENT",
        f"UID:{UID}",
        "DTSTAMP:20260301T120000Z",
        "CREATED:20260301T120000Z",
        "LAST-MODIFIED:20260301T120000Z",
        "SEQUENCE:0",
        "DTSTART;TZID=Europe/Berlin:20260401T100000",
        "DTEND;TZID=Europe/Berlin:20260401T110000",
        "SUMMARY:Haircut",
        "LOCATION:Main Street 1",
        "DESCRIPTION:Bring a towel",
        "STATUS:CONFIRMED",
        "TRANSP:OPAQUE",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]


@pytest.mark.rule("R15")
@pytest.mark.parametrize(
    ("event", "written"),
    [
        (
            "DTSTART:20260401T080000Z\nDURATION:PT1H",
            ["DTSTART:20260401T080000Z", "DTEND:20260401T090000Z"],
        ),
        (
            "DTSTART:20260401T100000",  # floating, without an end
            [
                "DTSTART;TZID=Europe/Berlin:20260401T100000",
                "DTEND;TZID=Europe/Berlin:20260401T100000",
            ],
        ),
        (
            "DTSTART;VALUE=DATE:20260401",
            ["DTSTART;VALUE=DATE:20260401", "DTEND;VALUE=DATE:20260402"],
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20260401T100000\nDTEND;TZID=America/New_York:20260401T120000",
            [
                "DTSTART;TZID=Europe/Berlin:20260401T100000",
                "DTEND;TZID=Europe/Berlin:20260401T180000",
            ],
        ),
        (
            "DTSTART;TZID=Eastern Standard Time:20260401T100000\nDURATION:PT30M",
            [
                "DTSTART;TZID=America/New_York:20260401T100000",
                "DTEND;TZID=America/New_York:20260401T103000",
            ],
        ),
        (
            'DTSTART;TZID="GMT+05:00":20260401T100000\nDURATION:PT30M',
            [
                'DTSTART;TZID="GMT+05:00":20260401T100000',
                'DTEND;TZID="GMT+05:00":20260401T103000',
            ],
        ),
        (
            "DTSTART:20260401T080000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY",
            ["DTSTART;TZID=UTC:20260401T080000", "DTEND;TZID=UTC:20260401T090000"],
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20260329T023000\nDURATION:PT1H",  # in the gap
            [
                "DTSTART;TZID=Europe/Berlin:20260329T023000",
                "DTEND;TZID=Europe/Berlin:20260329T043000",
            ],
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20261025T023000\nDURATION:PT1H",  # ends in the fold
            ["DTSTART;TZID=Europe/Berlin:20261025T023000", "DURATION:PT3600S"],
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20260328T220000\nDURATION:PT8H",
            [
                "DTSTART;TZID=Europe/Berlin:20260328T220000",
                "DTEND;TZID=Europe/Berlin:20260329T070000",
            ],
        ),
    ],
)
def test_times_always_have_an_end_in_the_zone_of_the_start(event, written):
    assert lines(built(body(event)), "DTSTART", "DTEND", "DURATION") == written


@pytest.mark.rule("R15")
@pytest.mark.parametrize(
    ("start", "rule", "written"),
    [
        ("DTSTART;TZID=Europe/Berlin:20260401T003000", "FREQ=WEEKLY", "FREQ=WEEKLY;BYDAY=WE"),
        ("DTSTART;VALUE=DATE:20260402", "FREQ=WEEKLY;COUNT=3", "FREQ=WEEKLY;COUNT=3;BYDAY=TH"),
        (
            "DTSTART:20260401T080000Z",
            "freq=weekly;interval=2;byday=mo,we;wkst=su",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;WKST=SU",
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20260401T100000",
            "FREQ=DAILY;UNTIL=20260405",
            "FREQ=DAILY;UNTIL=20260405T215959Z",
        ),
        (
            "DTSTART:20260401T100000",
            "FREQ=DAILY;UNTIL=20260405T100000",
            "FREQ=DAILY;UNTIL=20260405T080000Z",
        ),
        (
            "DTSTART;VALUE=DATE:20260401",
            "FREQ=DAILY;UNTIL=20260404T220000Z",
            "FREQ=DAILY;UNTIL=20260405",
        ),
        (
            "DTSTART;VALUE=DATE:20260401",
            "FREQ=DAILY;UNTIL=20260405T000000Z",
            "FREQ=DAILY;UNTIL=20260405",
        ),
        ("DTSTART;VALUE=DATE:20260401", "FREQ=DAILY;COUNT=-1", "FREQ=DAILY"),
        (
            "DTSTART;VALUE=DATE:20260401",
            "FREQ=MONTHLY;BYDAY=MO,-1FR;BYSETPOS=1",
            "FREQ=MONTHLY;BYSETPOS=1;BYDAY=MO,-1FR",
        ),
    ],
)
def test_rules(start, rule, written):
    assert lines(built(body(f"{start}\nRRULE:{rule}")), "RRULE") == [f"RRULE:{written}"]


@pytest.mark.rule("R15")
def test_overrides_stay_in_the_same_body_in_the_zone_of_their_series():
    local = body(
        "RECURRENCE-ID:20260402T080000Z\nDTSTART:20260402T120000Z\nDTEND:20260402T130000Z",
        MEETING + "\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260403T080000Z\nRDATE:20260410T080000Z",
    )
    upstream = built(local)
    assert lines(upstream, "UID") == [f"UID:{UID}"] * 2
    assert lines(upstream, "EXDATE", "RDATE", "RECURRENCE-ID", "DTSTART") == [
        "DTSTART;TZID=Europe/Berlin:20260401T100000",
        "EXDATE;TZID=Europe/Berlin:20260403T100000",
        "RDATE;TZID=Europe/Berlin:20260410T100000",
        "DTSTART;TZID=UTC:20260402T120000",
        "RECURRENCE-ID;TZID=UTC:20260402T080000",
    ]
    assert unfold(upstream).count("BEGIN:VTIMEZONE") == 2


@pytest.mark.rule("R15")
def test_words_are_plain_upper_case_and_few():
    event = (
        MEETING.replace("Bring a towel", r"<p>Bring <b>a</b> towel\, please</p><br>&amp; money")
        + "\nSTATUS:confirmed\nTRANSP:transparent\nMETHOD:REQUEST\nATTACH:https://x.example/a"
        + "\nX-FOO:bar\nCLASS:PRIVATE\nBEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT5M\nEND:VALARM"
    )
    upstream = built(body(event))
    assert lines(upstream, "SUMMARY", "LOC", "DESC", "STATUS", "TRANSP", "CLASS", "X-", "ATT") == [
        "SUMMARY:Haircut",
        "LOCATION:Main Street 1",
        r"DESCRIPTION:Bring a towel\, please\n\n& money",
        "STATUS:CONFIRMED",
        "TRANSP:TRANSPARENT",
        "CLASS:PRIVATE",
    ]
    assert b"VALARM" not in upstream
    assert b"METHOD" not in upstream


@pytest.mark.rule("R17")
def test_what_icloud_added_is_carried_over():
    local = body(MEETING + "\nRRULE:FREQ=DAILY;COUNT=3")
    there = body(
        MEETING
        + "\nRRULE:FREQ=DAILY;COUNT=3\nX-APPLE-CREATOR-IDENTITY:com.apple.mobilecal"
        + '\nX-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE="Main Street 1":geo:1,2\nATTACH:https://x/y'
        + "\nORGANIZER:/123/principal/\nX-OURS-NOT:1"
        + "\nBEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT30M\nEND:VALARM"
        + "\nBEGIN:VALARM\nACTION:EMAIL\nATTENDEE:mailto:me@example.com\nEND:VALARM"
    )
    upstream = built(local, upstream=there)
    assert lines(upstream, "X-", "ATTACH", "ORGANIZER", "TRIGGER", "ACTION") == [
        "X-APPLE-CREATOR-IDENTITY:com.apple.mobilecal",
        'X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE="Main Street 1":geo:1,2',
        "ATTACH:https://x/y",
        "X-OURS-NOT:1",
        "ACTION:DISPLAY",
        "TRIGGER:-PT30M",
    ]
    assert built(local, upstream=upstream) == upstream
    moved = built(local.replace(b"Main Street 1", b"Side Street 2"), upstream=there)
    assert lines(moved, "X-APPLE") == ["X-APPLE-CREATOR-IDENTITY:com.apple.mobilecal"]


@pytest.mark.rule("R15")
@pytest.mark.parametrize(
    ("local", "message"),
    [
        (body(), "holds none"),
        (
            body().replace(b"END:VCAL", b"BEGIN:VTODO\r\nUID:a\r\nEND:VTODO\r\nEND:VCAL"),
            "Only events",
        ),
        (body("DTSTART:20260401T100000Z", "DTSTART:20260402T100000Z"), "two components"),
        (body("SUMMARY:x"), "no DTSTART"),
        (body("DTSTART;TZID=Mars/Olympus:20260401T100000"), "no such time zone"),
        (body(MEETING + "\nRRULE:FREQ=NEVER"), "FREQ"),
        (body(MEETING + "\nRRULE:FREQ=DAILY;COUNT=2;UNTIL=20260405T000000Z"), "not both"),
        (body("DTSTART:20260401T100000Z\nDTEND:20260401T090000Z"), "before the start"),
        (body(MEETING + "\nRDATE:20260402T080000Z/PT1H"), "RDATE with a period"),
        (body(MEETING + "\nRRULE:FREQ=DAILY\nEXDATE;TZID=Mars:20260402T080000"), "unknown time"),
        (body(MEETING).replace(b"END:VEVENT", b""), "ends before"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_sentence(local, message):
    with pytest.raises(InvalidCalendarData, match=message):
        built(local)


FORBIDDEN = re.compile(rb"^(METHOD|ATTENDEE|ORGANIZER|ATTACH)", re.MULTILINE)
WRITABLE = []
for _case in CASES:
    try:
        build_upstream_body(_case.body, uid=UID, now=NOW, zone=ZoneInfo(_case.zone))
    except InvalidCalendarData:
        continue
    WRITABLE.append(_case)


def test_most_golden_calendars_can_be_written():
    assert len(WRITABLE) > 190


@pytest.mark.rule("R15")
@pytest.mark.parametrize("case", WRITABLE, ids=lambda case: case.file)
def test_every_golden_calendar_written_upstream_is_clean_and_keeps_its_times(case: Case):
    zone = ZoneInfo(case.zone)
    upstream = build_upstream_body(case.body, uid=UID, now=NOW, zone=zone)
    assert FORBIDDEN.search(upstream) is None
    assert b"\n" not in upstream.replace(b"\r\n", b"")
    assert max(map(len, upstream.split(b"\r\n"))) <= 75
    assert build_upstream_body(upstream, uid=UID, now=NOW, zone=zone) == upstream
    icalendar.Calendar.from_ical(upstream)
    rules = BusyRules(zone, always_busy=True)
    before, after = (expand(text, case.span, rules) for text in (case.body, upstream))
    if case.file in NOMINAL:
        return
    if len({*re.findall(rb"^UID:.*$", case.body, re.MULTILINE)}) == 1:
        parse_calendar_object(upstream)
        assert shown(after) == shown(before)


NOMINAL = {"times/daily_nominal_day"}
"""A nominal day that spans a clock change becomes DTEND, and DTEND is exact (RFC 5545 3.8.5.3)."""


@pytest.mark.parametrize(
    ("change", "same", "times"),
    [
        (("", ""), True, True),
        (("SUMMARY:Haircut", "SUMMARY:Shave"), False, True),
        (("LOCATION:Main Street 1", "LOCATION:Main Street 2"), False, True),
        (("Bring a towel", "Bring <b>a towel</b>"), True, True),
        (("UID:a", "UID:b"), True, True),
        (("DTSTAMP:20260101T000000Z", "DTSTAMP:20270101T000000Z"), True, True),
        (("SUMMARY:Haircut", "STATUS:CONFIRMED\nTRANSP:OPAQUE\nSUMMARY:Haircut"), True, True),
        (("SUMMARY:Haircut", "STATUS:TENTATIVE\nSUMMARY:Haircut"), False, True),
        (("SUMMARY:Haircut", "TRANSP:TRANSPARENT\nSUMMARY:Haircut"), False, True),
        (("TZID=Europe/Berlin", "TZID=W. Europe Standard Time"), True, True),
        (("TZID=Europe/Berlin", "TZID=Europe/Paris"), False, False),
        (("T110000", "T113000"), False, False),
        (("DTEND;TZID=Europe/Berlin:20260401T110000", "DURATION:PT1H"), True, True),
        (("RRULE:FREQ=WEEKLY", "RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=WE;WKST=SU"), True, True),
        (("RRULE:FREQ=WEEKLY", "RRULE:FREQ=WEEKLY;BYDAY=TH"), False, False),
        (("RRULE:FREQ=WEEKLY", "RRULE:FREQ=WEEKLY;COUNT=3"), False, False),
        (("EXDATE;TZID=Europe/Berlin:20260408T100000", "EXDATE:20260408T080000Z"), True, True),
        (("EXDATE;TZID=Europe/Berlin:20260408T100000\n", ""), False, False),
        (("SUMMARY:Haircut", "X-APPLE-TRAVEL-DURATION:PT15M\nSUMMARY:Haircut"), False, False),
    ],
)
def test_what_counts_as_a_change(change, same, times):
    one = body(MEETING + "\nRRULE:FREQ=WEEKLY\nEXDATE;TZID=Europe/Berlin:20260408T100000")
    other = one.decode().replace("\r\n", "\n").replace(*change) if change[0] else one.decode()
    assert same_meaning(one, other.encode()) is same
    assert same_times(one, other.encode()) is times
    assert same_meaning(other.encode(), one) is same


def test_overrides_count_and_a_cancelled_one_is_an_exdate():
    series = MEETING + "\nRRULE:FREQ=DAILY;COUNT=4"
    moved = "RECURRENCE-ID:20260402T080000Z\nDTSTART:20260402T120000Z\nDTEND:20260402T130000Z"
    assert not same_times(body(series), body(series, moved))
    assert same_times(body(series, moved), body(moved, series))
    assert not same_times(body(series, moved), body(series, moved.replace("T13", "T14")))
    cancelled = body(series, moved + "\nSTATUS:CANCELLED")
    assert same_meaning(cancelled, body(series + "\nEXDATE:20260402T080000Z"))


def test_what_cannot_be_read_equals_only_itself():
    assert same_meaning(b"x", b"x")
    assert not same_meaning(b"x", b"y")
    assert not same_times(body(MEETING), b"x")


@pytest.mark.rule("R17")
def test_times_are_taken_and_words_are_kept():
    local = body(
        MEETING
        + "\nSTATUS:TENTATIVE\nTRANSP:TRANSPARENT"
        + "\nX-GATEWAY-KIND:APPOINTMENT\nATTENDEE:mailto:g@x.y"
        + "\nBEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT5M\nEND:VALARM"
    )
    upstream = built(local).decode()
    upstream = upstream.replace("T100000", "T140000").replace("T110000", "T150000")
    upstream = upstream.replace("Haircut", "Changed there").replace("CONFIRMED", "CANCELLED")
    upstream = upstream.replace("SUMMARY", "RRULE:FREQ=DAILY;COUNT=3\r\nSUMMARY")
    adopted = adopt_times(local, upstream.encode())
    assert same_times(adopted, upstream.encode())
    assert lines(
        adopted, "UID", "DT", "RRULE", "SUMMARY", "STATUS", "TRANSP", "X-", "ATT", "TRI"
    ) == [
        "UID:a",
        "DTSTAMP:20260101T000000Z",
        "SUMMARY:Haircut",
        "STATUS:TENTATIVE",
        "TRANSP:TRANSPARENT",
        "X-GATEWAY-KIND:APPOINTMENT",
        "ATTENDEE:mailto:g@x.y",
        "DTSTART;TZID=Europe/Berlin:20260401T140000",
        "DTEND;TZID=Europe/Berlin:20260401T150000",
        "RRULE:FREQ=DAILY;COUNT=3",
        "TRIGGER:-PT5M",
    ]
    assert b"TZID:Europe/Berlin" in adopted
    assert parse_calendar_object(adopted).uid == "a"


@pytest.mark.rule("R17")
def test_overrides_are_taken_too():
    series = MEETING + "\nRRULE:FREQ=DAILY;COUNT=5"
    ours = "RECURRENCE-ID:20260402T080000Z\nDTSTART:20260402T120000Z\nDURATION:PT1H\nSUMMARY:Ours"
    local = body(series, ours)
    there = body(
        series,
        ours.replace("T12", "T15").replace("Ours", "Theirs"),
        "RECURRENCE-ID:20260403T080000Z\nDTSTART:20260403T160000Z\nDURATION:PT1H\nSUMMARY:New",
        "RECURRENCE-ID:20260404T080000Z\nSTATUS:CANCELLED\nDTSTART:20260404T080000Z",
    )
    adopted = adopt_times(local, there)
    assert same_times(adopted, there)
    assert lines(adopted, "SUMMARY", "DTSTART", "EXDATE") == [
        "SUMMARY:Haircut",
        "DTSTART;TZID=Europe/Berlin:20260401T100000",
        "EXDATE:20260404T080000Z",
        "SUMMARY:Ours",
        "DTSTART:20260402T150000Z",
        "SUMMARY:Haircut",
        "DTSTART:20260403T160000Z",
    ]
    rules = BusyRules(BERLIN, always_busy=True)
    ours_now, theirs_now = (shown(expand(text, CASES[0].span, rules)) for text in (adopted, there))
    assert ours_now == [row for row in theirs_now if "FREE" not in row]


def test_nothing_to_take_from_is_refused():
    with pytest.raises(InvalidCalendarData):
        adopt_times(body(MEETING), b"")


@pytest.mark.rule("R17")
def test_guests():
    assert not has_guests(body(MEETING + "\nORGANIZER:/123/principal/"))
    assert has_guests(body(MEETING + "\nATTENDEE;PARTSTAT=ACCEPTED:mailto:g@x.y"))
    alarm = "\nBEGIN:VALARM\nACTION:EMAIL\nATTENDEE:mailto:me@x.y\nEND:VALARM"
    assert not has_guests(body(MEETING + alarm))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a < b and c > d", "a < b and c > d"),
        ("write to <ann@example.com>", "write to <ann@example.com>"),
        ("I <3 you", "I <3 you"),
        ("<b>bold</b>", "bold"),
        ("<P>one</P><P>two</P>", "one\ntwo"),
        ("a<br/>b<BR>c", "a\nb\nc"),
        ("<style>p {color: red}</style>x<!-- hidden <b> -->y", "xy"),
        (
            "<!DOCTYPE html><html><head><title>t</title></head><body>&lt;hi&gt;&nbsp;you</body>",
            "<hi> you",
        ),
        ("<script>never ends", ""),
        ('<a href="https://x.example">link</a>', "link"),
        ("<ul><li>1</li><li>2</li></ul>", "1\n2"),
    ],
)
def test_html_becomes_plain_text(text, plain):
    assert strip_html(text) == plain


def test_hostile_html_costs_no_more_than_its_length():
    started = time.process_time()
    for piece in ("<script", "<!--", "<b ", "<style><", "</p", "&amp;<i>"):
        text = strip_html(piece * 10_000)
        assert len(text) <= len(piece) * 10_000
    assert time.process_time() - started < 5
