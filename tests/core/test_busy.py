"""Coalescing against a second-by-second oracle, and the VFREEBUSY it becomes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.availability.merge import (
    coalesce_rows,
    combine,
)
from gateway.core.availability.policy import Policy
from gateway.core.availability.sources import Source
from gateway.core.availability.timeline import HeldTime, build_timeline
from gateway.core.availability.vfreebusy import render_vfreebusy
from gateway.core.errors import PassingConflict
from gateway.core.status import FBType

ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from(list(FBType))), max_size=12
)
STRENGTH = {"BUSY": 4, "BUSY-UNAVAILABLE": 3, "UNKNOWN": 2, "BUSY-TENTATIVE": 1, "FREE": 0}
STATUS = {4: "busy", 3: "unavailable", 2: "unknown", 1: "tentative"}


def oracle(rows, window, on_unknown="block", on_tentative="block"):
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


def seconds(rows):
    """Return the status of each second of merged rows, once they are seen to be merged."""
    shown = {second: status for start, end, status in rows for second in range(start, end)}
    assert sum(end - start for start, end, _ in rows) == len(shown)
    assert list(rows) == sorted(rows)
    for left, right in itertools.pairwise(rows):
        assert left[1] < right[0] or left[2] != right[2]
    return shown


WINDOWS = st.tuples(st.integers(0, 20), st.integers(20, 40))
SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=3)
LOCAL = Source("col", "col", "platform", "ok", None, None)
NEVER = Source("new", "new", "conflict", "never", None, None)


@pytest.mark.rule("R25")
@given(ROWS, WINDOWS)
def test_rows_merge_as_a_look_at_every_second_shows(rows, window):
    assert seconds(coalesce_rows(rows, window)) == oracle(rows, window)


@pytest.mark.rule("R23", "R25", "R27")
@given(
    ROWS,
    SPANS,
    WINDOWS,
    st.tuples(st.integers(0, 25), st.integers(15, 40)),
    st.sampled_from(["block", "tentative", "ignore"]),
    st.sampled_from(["block", "free"]),
    st.booleans(),
)
def test_a_timeline_answers_as_a_look_at_every_second_shows(
    rows, held, window, coverage, on_unknown, on_tentative, is_read
):
    """Rows, holds and what no source can answer, under every policy, from more than is asked."""
    holds = [HeldTime(start, end, str(n), 99) for n, (start, end) in enumerate(held) if start < end]
    sources = [LOCAL] if is_read else [LOCAL, NEVER]
    spans = {str(one): [(s, e) for s, e, fbtype in rows if fbtype == one] for one in FBType}
    timeline = build_timeline(spans, (0, 40), holds=holds, sources=sources, coverage=coverage)
    everything = [*rows, *((hold.start, hold.end, FBType.BUSY) for hold in holds)]
    known = coverage if is_read and coverage[0] < coverage[1] else (40, 40)
    gaps = [(0, known[0], FBType.UNKNOWN), (known[1], 40, FBType.UNKNOWN)]
    found = timeline.answer(window, Policy(on_unknown, on_tentative), now=50)
    assert seconds(found.busy) == oracle([*everything, *gaps], window, on_unknown, on_tentative)
    exact = oracle([*everything, *gaps], window)
    assert found.complete == ("unknown" not in exact.values())
    low, high = window
    assert found.holds == tuple(h.id for h in holds if h.start < high and h.end > low)
    taken = {second for start, end in timeline.taken(window) for second in range(start, end)}
    assert taken == set(oracle(everything, window))
    shares = {s for start, end in timeline.unknown(window, now=50) for s in range(start, end)}
    assert shares == set(oracle(gaps, window))
    if not found.complete:
        with pytest.raises(PassingConflict):
            timeline.answer(window, Policy("fail", on_tentative), now=50)


@pytest.mark.rule("R22")
@given(ROWS, ROWS, WINDOWS)
def test_answers_about_several_people_combine_as_their_rows_do(ours, theirs, window):
    both = combine([coalesce_rows(ours, window), coalesce_rows(theirs, window)])
    assert both == coalesce_rows([*ours, *theirs], window)


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
        (0, 3600, "busy"),
        (3600, 7200, "unknown"),
        (86400, 90000, "tentative"),
        (172800, 176400, "unavailable"),
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
