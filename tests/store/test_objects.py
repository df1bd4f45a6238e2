"""The write path: rows, revisions, tombstones, instances and generation move together."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import NotFound
from gateway.core.intervals import clip
from gateway.core.status import FBType
from gateway.store.accounts import calendars
from gateway.store.engine import Database
from gateway.store.objects import collections, objects, time_ranges
from gateway.store.objects import instances as busy
from tests.store.conftest import NOW, WINDOW, Place, prepared
from tests.store.rows import busy_rows

HOUR = 3600


def _revision(place: Place) -> int:
    with place.database.read() as session:
        return collections.get_collection(session, place.mirror.id).revision


@pytest.mark.rule("R21")
def test_a_batch_takes_one_revision_and_each_change_shows_once(place: Place) -> None:
    with place.database.write() as session:
        batch = [prepared("a.ics", (NOW, NOW + HOUR)), prepared("b.ics", (NOW, NOW + HOUR))]
        assert objects.save_objects(session, place.mirror, batch, now=NOW) == 1
    with place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW)
    with place.database.write() as session:
        assert objects.delete_objects(session, place.mirror, ["b.ics", "none.ics"], now=NOW) == 1
    with place.database.read() as session:
        assert objects.changes_since(session, place.mirror.id, 0) == [
            ("a.ics", False),
            ("b.ics", True),
        ]
        assert objects.changes_since(session, place.mirror.id, 2) == [("b.ics", True)]
        assert objects.changes_since(session, place.mirror.id, 3) == []
        assert [o.name for o in objects.list_objects(session, place.mirror.id)] == ["a.ics"]


@pytest.mark.rule("R21")
def test_a_deleted_name_can_come_back(place: Place) -> None:
    with place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW)
        objects.delete_objects(session, place.mirror, ["a.ics"], now=NOW)
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW)
        assert objects.changes_since(session, place.mirror.id, 2) == [("a.ics", False)]


@pytest.mark.rule("R19")
def test_the_kind_of_an_object_never_changes(place: Place) -> None:
    first = prepared("a.ics", (NOW, NOW + 60), kind="appointment")
    again = prepared("a.ics", (NOW, NOW + 90), kind="blocked-slot")
    with place.database.write() as session:
        objects.save_object(session, place.platform, first, now=NOW)
        assert objects.save_object(session, place.platform, again, now=NOW).kind == "appointment"


def test_deleting_nothing_changes_nothing(place: Place) -> None:
    before = _revision(place)
    with place.database.write() as session:
        assert objects.delete_objects(session, place.mirror, ["none.ics"], now=NOW) == 0
    assert _revision(place) == before


def test_a_failed_unit_leaves_no_trace(place: Place) -> None:
    with pytest.raises(NotFound), place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW)
        raise NotFound("stop")
    with place.database.read() as session:
        assert objects.list_objects(session, place.mirror.id) == []
        assert objects.get_extent(session, place.principal.id)[0] == 0
    assert _revision(place) == 0


def test_every_change_of_busy_time_raises_the_generation(place: Place) -> None:
    with place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW)
        assert objects.get_extent(session, place.principal.id)[0] == 1
        objects.delete_objects(session, place.mirror, ["a.ics"], now=NOW)
        assert objects.get_extent(session, place.principal.id)[0] == 2


@pytest.mark.rule("R23")
def test_replacing_an_object_replaces_its_instances(place: Place) -> None:
    with place.database.write() as session:
        spans = [(NOW + n * HOUR, NOW + n * HOUR + 600) for n in range(3)]
        objects.save_object(session, place.mirror, prepared("a.ics", *spans), now=NOW)
        objects.save_object(session, place.mirror, prepared("a.ics", spans[1]), now=NOW)
        rows = busy_rows(session, place.principal.id, WINDOW, [place.mirror.id])
        spans = busy.busy_spans(session, place.principal.id, WINDOW, [place.mirror.id])
    assert rows == [(NOW + HOUR, NOW + HOUR + 600, FBType.BUSY, place.mirror.id)]
    assert spans == {"BUSY": [(NOW + HOUR, NOW + HOUR + 600)]}


@pytest.mark.rule("R24")
def test_windows_are_half_open(place: Place) -> None:
    with place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + HOUR)), now=NOW)

    def touched(start: int, end: int) -> int:
        with place.database.read() as session:
            window = (start, end)
            found = busy.busy_spans(session, place.principal.id, window, [place.mirror.id])
            return len(found.get("BUSY", []))

    assert touched(NOW - HOUR, NOW) == 0
    assert touched(NOW + HOUR, NOW + 2 * HOUR) == 0
    assert touched(NOW - HOUR, NOW + 1) == 1
    assert touched(NOW + HOUR - 1, NOW + HOUR) == 1


def test_free_rows_are_ranges_but_not_busy(place: Place) -> None:
    free = prepared("free.ics", (NOW, NOW + HOUR), fbtype=FBType.FREE)
    with place.database.write() as session:
        objects.save_object(session, place.mirror, free, now=NOW)
        assert busy_rows(session, place.principal.id, WINDOW, [place.mirror.id]) == []
        assert time_ranges.names_in_range(session, place.mirror.id, NOW, NOW + 1) == {"free.ics"}
        assert time_ranges.names_in_range(session, place.mirror.id, None, NOW) == set()
        assert time_ranges.names_in_range(session, place.mirror.id, NOW + HOUR, None) == set()


def test_an_instance_without_length_is_found_where_it_starts(place: Place) -> None:
    with place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("dot.ics", (NOW, NOW)), now=NOW)
        assert time_ranges.names_in_range(session, place.mirror.id, NOW, NOW + 1) == {"dot.ics"}
        assert time_ranges.names_in_range(session, place.mirror.id, NOW + 1, NOW + 2) == set()


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    start=st.integers(0, 40 * 86_400),
    length=st.integers(1, 60 * 86_400),
    window_start=st.integers(-10 * 86_400, 110 * 86_400),
    window_length=st.integers(1, 20 * 86_400),
)
def test_long_spans_are_found_from_anywhere(
    place: Place, start: int, length: int, window_start: int, window_length: int
) -> None:
    """Pieces of seven days join to exactly the span, whatever part of it is asked for."""
    span = (NOW + start, NOW + start + length)
    window = (NOW + window_start, NOW + window_start + window_length)
    with place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("long.ics", span), now=NOW)
        rows = busy_rows(session, place.principal.id, window, [place.mirror.id])
        spans = busy.busy_spans(session, place.principal.id, window, [place.mirror.id])
        names = time_ranges.names_in_range(session, place.mirror.id, *window)
    overlap = (max(span[0], window[0]), min(span[1], window[1]))
    if overlap[0] >= overlap[1]:
        assert (rows, spans, names) == ([], {}, set())
        return
    assert names == {"long.ics"}
    pieces = [(max(s, window[0]), min(e, window[1])) for s, e, _, _ in rows]
    assert (pieces[0][0], pieces[-1][1]) == overlap
    assert all(left[1] == right[0] for left, right in itertools.pairwise(pieces))
    assert clip(spans["BUSY"], window) == [overlap]


@pytest.mark.rule("R25")
@pytest.mark.parametrize(
    ("change", "covered"),
    [
        ({}, (0, 3)),
        ({"open_ended": True}, (0, 2)),
        ({"last_end": NOW + 3 * HOUR}, (0, 2)),
        ({"first_start": NOW}, (1, 3)),
        ({"first_start": None, "last_end": None}, (1, 2)),
    ],
    ids=["within", "a series without end", "on behind", "from before", "who knows"],
)
def test_what_was_expanded_less_far_is_unknown_where_it_goes_on(
    place: Place, change: dict[str, Any], covered: tuple[int, int]
) -> None:
    marks = [NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR]
    item = prepared("late.ics", (marks[1], marks[1] + 60))
    narrow = replace(item.expansion, window=(marks[1], marks[2]), **change)
    with place.database.write() as session:
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW)
        objects.set_coverage(session, place.principal.id, (marks[0], marks[3]))
        objects.save_object(session, place.mirror, replace(item, expansion=narrow), now=NOW)
        known = objects.get_coverage(session, place.principal.id)
    assert known == (marks[covered[0]], marks[covered[1]])


def test_coverage_is_what_all_objects_share(place: Place) -> None:
    with place.database.write() as session:
        assert objects.get_coverage(session, place.principal.id) is None
        objects.save_object(session, place.mirror, prepared("a.ics", (NOW, NOW + 60)), now=NOW)
        assert objects.get_coverage(session, place.principal.id) == WINDOW


def test_many_names_are_read_in_chunks(place: Place) -> None:
    batch = [prepared(f"{n}.ics", (NOW + n, NOW + n + 60)) for n in range(1_203)]
    with place.database.write() as session:
        objects.save_objects(session, place.mirror, batch, now=NOW)
        found = objects.find_objects(session, place.mirror.id, (p.name for p in batch))
        assert len(found) == 1_203
        assert objects.delete_objects(session, place.mirror, list(found), now=NOW) == 1_203


def test_sources_follow_roles_and_switches(place: Place) -> None:
    def roles(database: Database) -> list[str]:
        with database.read() as session:
            return [source.role for source in busy.list_sources(session, place.principal.id)]

    assert roles(place.database) == ["platform", "linked"]
    with place.database.write() as session:
        calendars.update_calendar(session, place.calendar_id, blocks=False)
    assert roles(place.database) == ["platform"]
