"""``gateway busy`` without the command: files in, periods with reasons out."""

from zoneinfo import ZoneInfo

import pytest

from gateway.core.availability.files import busy_of_files

BERLIN = ZoneInfo("Europe/Berlin")
APRIL = (1775001600, 1775606400)  # 2026-04-01 and 2026-04-08, UTC


def body(*events: str) -> bytes:
    parts = [
        f"BEGIN:VEVENT\nUID:{index}\n{event}\nEND:VEVENT\n" for index, event in enumerate(events)
    ]
    return f"BEGIN:VCALENDAR\n{''.join(parts)}END:VCALENDAR\n".encode()


def test_nothing():
    assert busy_of_files([], APRIL, BERLIN) == {
        "start": "2026-04-01T02:00:00+02:00",
        "end": "2026-04-08T02:00:00+02:00",
        "time_zone": "Europe/Berlin",
        "busy": [],
        "problems": [],
    }


@pytest.mark.rule("R23")
def test_periods_of_several_files_are_merged_with_all_their_reasons():
    files = [
        (
            "one.ics",
            body(
                "DTSTART:20260401T100000Z\nDTEND:20260401T110000Z",
                "DTSTART:20260401T103000Z\nDTEND:20260401T113000Z\nX-MICROSOFT-CDO-BUSYSTATUS:BUSY",
                "DTSTART:20260401T110000Z\nDTEND:20260401T130000Z\nSTATUS:TENTATIVE",
                "DTSTART:20260402T100000Z\nDTEND:20260402T110000Z\nTRANSP:TRANSPARENT",
            ),
        ),
        ("two.ics", body("DTSTART;TZID=Mars/Olympus:20260404T120000\nDURATION:PT1H")),
        ("three.ics", b"<html>"),
    ]
    answer = busy_of_files(files[:2], APRIL, BERLIN)
    assert answer["busy"] == [
        {
            "start": "2026-04-01T12:00:00+02:00",
            "end": "2026-04-01T13:30:00+02:00",
            "status": "busy",
            "reasons": ["opaque", "outlook-busy"],
        },
        {
            "start": "2026-04-01T13:30:00+02:00",
            "end": "2026-04-01T15:00:00+02:00",
            "status": "tentative",
            "reasons": ["tentative"],
        },
        {
            "start": "2026-04-04T00:00:00+02:00",
            "end": "2026-04-05T03:00:00+02:00",
            "status": "unknown",
            "reasons": ["unknown-zone"],
        },
    ]
    assert answer["problems"] == [
        {
            "file": "two.ics",
            "code": "unknown-zone",
            "detail": "no such time zone: 'Mars/Olympus'",
        }
    ]
    everything = busy_of_files(files, APRIL, BERLIN)
    assert everything["busy"] == answer["busy"]  # what holds no time blocks nothing, but is told
    assert [problem["file"] for problem in everything["problems"]] == ["two.ics", "three.ics"]


def test_objects_of_one_file_have_their_own_bounds():
    events = ["DTSTART:19700101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY"] * 2
    good = "DTSTART:20260401T100000Z\nDTEND:20260401T110000Z"
    answer = busy_of_files([("f", body(*events, good))], APRIL, BERLIN)
    assert {"opaque"} <= {reason for period in answer["busy"] for reason in period["reasons"]}
    assert [problem["code"] for problem in answer["problems"]] == ["too-many-instances"]


@pytest.mark.parametrize(
    ("options", "statuses"),
    [
        ({"owner_addresses": frozenset({"me@x.y"})}, []),
        ({"all_day": "ignore"}, []),
        ({}, ["busy"]),
        ({"all_day": "block"}, ["busy"]),
        ({"all_day": "block", "owner_addresses": frozenset({"me@x.y"})}, []),
    ],
)
def test_options(options, statuses):
    event = "DTSTART;VALUE=DATE:20260403\nATTENDEE;PARTSTAT=DECLINED:mailto:me@x.y"
    answer = busy_of_files([("f", body(event))], APRIL, BERLIN, **options)
    assert [period["status"] for period in answer["busy"]] == statuses
