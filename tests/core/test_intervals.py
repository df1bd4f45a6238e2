"""Interval algebra, held against sets of single seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.intervals import clip, complement, intersect, merge, overlaps, subtract, total

INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)
WINDOW = st.tuples(st.integers(0, 30), st.integers(30, 60))


def seconds(intervals: list[tuple[int, int]]) -> set[int]:
    return {second for start, end in intervals for second in range(start, end)}


def is_merged(intervals: list[tuple[int, int]]) -> bool:
    edges = [edge for interval in intervals for edge in interval]
    return edges == sorted(set(edges))


@given(INTERVALS)
def test_merge_covers_the_same_seconds(intervals):
    merged = merge(intervals)
    assert seconds(merged) == seconds(intervals)
    assert is_merged(merged)
    assert total(merged) == len(seconds(intervals))


@given(INTERVALS, INTERVALS)
def test_subtract_and_intersect_are_set_operations(left, right):
    left, right = merge(left), merge(right)
    assert seconds(subtract(left, right)) == seconds(left) - seconds(right)
    assert seconds(intersect(left, right)) == seconds(left) & seconds(right)
    assert is_merged(subtract(left, right))
    assert is_merged(intersect(left, right))


@given(INTERVALS, WINDOW)
def test_clip_and_complement_split_the_window(intervals, window):
    merged = merge(intervals)
    inside = seconds([window])
    assert seconds(clip(intervals, window)) == seconds(intervals) & inside
    assert seconds(complement(merged, window)) == inside - seconds(intervals)


@given(
    st.tuples(st.integers(0, 9), st.integers(0, 9)), st.tuples(st.integers(0, 9), st.integers(0, 9))
)
def test_overlaps_means_a_shared_second(first, second):
    if first[0] < first[1] and second[0] < second[1]:
        assert overlaps(first, second) == bool(seconds([first]) & seconds([second]))


@pytest.mark.parametrize(
    ("intervals", "merged"),
    [
        ([], []),
        ([(5, 5)], []),
        ([(7, 3)], []),
        ([(1, 2), (2, 3)], [(1, 3)]),
        ([(4, 5), (1, 2)], [(1, 2), (4, 5)]),
        ([(1, 9), (2, 3)], [(1, 9)]),
    ],
)
def test_merge_joins_what_touches(intervals, merged):
    assert merge(intervals) == merged
