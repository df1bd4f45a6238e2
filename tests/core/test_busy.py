"""Coalescing against a second-by-second oracle, and the VFREEBUSY it becomes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.availability.merge import BusyPeriod, coalesce, coalesce_rows, render_vfreebusy
from gateway.core.status import FBType

ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from(list(FBType))), max_size=12
)
STRENGTH = {"BUSY": 4, "BUSY-UNAVAILABLE": 3, "UNKNOWN": 2, "BUSY-TENTATIVE": 1, "FREE": 0}
STATUS = {4: "busy", 3: "unavailable", 2: "unknown", 1: "tentative"}


def oracle(rows, window, on_unknown, on_tentative):
    """The status of each second, by looking at every row for every second."""
    result = {}
    for second in range(*window):
        best = 0
        for start, end, fbtype in rows:
            if start <= second < end:
                strength = STRENGTH[fbtype]
                if fbtype == "UNKNOWN" and on_unknown == "ignore":
                    strength = 0
                if fbtype == "UNKNOWN" and on_unknown == "tentative":
                    strength = 1
                if strength == 1 and on_tentative == "free":
                    strength = 0
                best = max(best, strength)
        if best:
            result[second] = STATUS[best]
    return result


@pytest.mark.rule("R25")
@given(
    ROWS,
    st.tuples(st.integers(0, 20), st.integers(20, 40)),
    st.sampled_from(["block", "tentative", "ignore"]),
    st.sampled_from(["block", "free"]),
)
def test_coalesce_agrees_with_a_look_at_every_second(rows, window, on_unknown, on_tentative):
    periods = coalesce(rows, window, on_unknown=on_unknown, on_tentative=on_tentative)
    shown = {s: p.status for p in periods for s in range(p.start, p.end)}
    assert shown == oracle(rows, window, on_unknown, on_tentative)
    assert sum(p.end - p.start for p in periods) == len(shown)
    assert periods == sorted(periods, key=lambda p: p.start)
    for left, right in itertools.pairwise(periods):
        assert left.end < right.start or left.status != right.status


def test_stronger_wins_and_equal_neighbours_join():
    rows = [
        (0, 10, FBType.TENTATIVE),
        (5, 20, FBType.UNKNOWN),
        (8, 12, FBType.BUSY),
        (12, 14, FBType.BUSY),
        (13, 16, FBType.UNAVAILABLE),
        (0, 100, FBType.FREE),
        (30, 30, FBType.BUSY),
    ]
    assert coalesce_rows(rows, (0, 50)) == [
        (0, 5, "tentative"),
        (5, 8, "unknown"),
        (8, 14, "busy"),
        (14, 16, "unavailable"),
        (16, 20, "unknown"),
    ]


@pytest.mark.rule("R22")
def test_vfreebusy_names_every_fbtype():
    periods = [
        BusyPeriod(0, 3600, "busy"),
        BusyPeriod(3600, 7200, "unknown"),
        BusyPeriod(86400, 90000, "tentative"),
        BusyPeriod(172800, 176400, "unavailable"),
    ]
    body = render_vfreebusy(periods, (0, 604800), uid="u", stamp=60, organizer="mailto:a@b.c")
    assert body.decode().split("\r\n") == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//icloud-caldav-gateway//EN",
        "BEGIN:VFREEBUSY",
        "UID:u",
        "DTSTAMP:19700101T000100Z",
        "DTSTART:19700101T000000Z",
        "DTEND:19700108T000000Z",
        "ORGANIZER:mailto:a@b.c",
        "FREEBUSY;FBTYPE=BUSY:19700101T000000Z/19700101T020000Z",
        "FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:19700103T000000Z/19700103T010000Z",
        "FREEBUSY;FBTYPE=BUSY-TENTATIVE:19700102T000000Z/19700102T010000Z",
        "END:VFREEBUSY",
        "END:VCALENDAR",
        "",
    ]
