"""The tool that explains differences proves what it says, and admits what it cannot."""

import pytest

from tests.core.compare import compare

EVENT = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\n{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
TIMED = "DTSTART:20260401T100000Z\r\nDTEND:20260401T110000Z"
NIGHT = "DTSTART;TZID=Europe/Berlin:20260328T220000\r\nDTEND;TZID=Europe/Berlin:20260329T060000"


@pytest.mark.parametrize(
    ("lines", "verdict", "said"),
    [
        (TIMED, "equal", "1 periods"),
        (f"{TIMED}\r\nRRULE:FREQ=DAILY;UNTIL=20260403", "differs", "RFC 5545 3.3.10: UNTIL is"),
        ("DTSTART:20260401\r\nDTEND:20260401", "differs", "RFC 5545 3.6.1, 3.8.2.2: a DATE event"),
        (f"{TIMED}\r\nRRULE:FREQ=OFTEN", "raises", "RFC 5545 3.3.10, RFC 7529 4: the RRULE"),
        (f"{TIMED}\r\nEXDATE:", "raises", "RFC 5545 3.8.5.1: an EXDATE without"),
        (f"{TIMED}\r\nRRULE:FREQ=DAILY;BYDAY=FR;COUNT=3", "differs", "COUNT counts DTSTART"),
        ("DTSTART:20260401T100000Z\r\nDTEND:20260401T090000Z", "differs", "3.8.2.2: DTEND must"),
        (f"{NIGHT}\r\nRRULE:FREQ=DAILY;COUNT=2", "differs", "UNEXPLAINED"),
    ],
)
def test_a_file_gets_its_verdict(lines: str, verdict: str, said: str) -> None:
    found, text = compare(EVENT.format(lines).encode())
    assert (found, said in text) == (verdict, True), text
