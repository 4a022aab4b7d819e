"""Timelines behave as sets of minutes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scheduling import timeline
from scheduling.timeline import Horizon, Probe

HORIZON = Horizon(1_000, 1_400)
MINUTES = st.frozensets(st.integers(HORIZON.start_min, HORIZON.end_min - 1))


def bits_of(minutes: frozenset[int] | set[int]) -> int:
    return timeline.union(*(timeline.interval(HORIZON, at, at + 1) for at in minutes))


def set_of(bits: int) -> set[int]:
    return set(timeline.minutes(bits, HORIZON))


@given(MINUTES, MINUTES)
def test_unions_intersections_and_differences_are_those_of_sets(
    left: frozenset[int], right: frozenset[int]
) -> None:
    """What is in either, in both, and in one but not the other."""
    one, two = bits_of(left), bits_of(right)
    assert set_of(timeline.union(one, two)) == left | right
    assert set_of(timeline.both(one, two)) == left & right
    assert set_of(timeline.without(one, two)) == left - right
    assert timeline.count(one) == len(left)


@given(MINUTES, st.integers(1, 130))
def test_erode_keeps_the_starts_of_runs_that_are_long_enough(minutes: frozenset[int], width: int) -> None:
    """A minute stays when it and the next ones, `width` in all, are set; the rest is what dilation refuses."""
    expected = {at for at in minutes if all(at + ahead in minutes for ahead in range(width))}
    assert set_of(timeline.erode(bits_of(minutes), width)) == expected
    touched = {
        at
        for at in range(HORIZON.start_min, HORIZON.end_min)
        if any(at + ahead in minutes for ahead in range(width))
    }
    assert set_of(timeline.dilate_back(bits_of(minutes), width)) == touched


@given(st.lists(MINUTES, max_size=5), st.integers(1, 5))
def test_at_least_counts_timelines_minute_by_minute(several: list[frozenset[int]], count: int) -> None:
    """A minute is in the result when that many timelines have it."""
    expected = {
        at for at in range(HORIZON.start_min, HORIZON.end_min) if sum(at in one for one in several) >= count
    }
    assert set_of(timeline.at_least([bits_of(one) for one in several], count)) == expected


@given(MINUTES, st.integers(1, 60))
def test_grids_begin_anew_with_each_stretch(minutes: frozenset[int], step: int) -> None:
    """Every minute set that lies whole steps after the beginning of its run, and no other."""
    expected, began = set[int](), 0
    for at in sorted(minutes):
        began = began if at - 1 in minutes else at
        expected |= set() if (at - began) % step else {at}
    bits = bits_of(minutes)
    assert set_of(timeline.grids(HORIZON, step, timeline.runs(bits, HORIZON))) == expected


@given(MINUTES)
def test_runs_are_maximal_and_in_order(minutes: frozenset[int]) -> None:
    """Runs hold exactly the minutes set, and no two touch."""
    found = list(timeline.runs(bits_of(minutes), HORIZON))
    assert {at for low, high in found for at in range(low, high)} == minutes
    assert all(one[1] < two[0] for one, two in pairwise(found))
    for low, high in found:
        assert timeline.run_around(bits_of(minutes), HORIZON, low) == (low, high)
        assert timeline.run_around(bits_of(minutes), HORIZON, high - 1) == (low, high)


@given(MINUTES, st.integers(HORIZON.start_min, HORIZON.end_min - 1))
def test_single_minutes_can_be_asked_for(minutes: frozenset[int], at_min: int) -> None:
    """Has, probe, first, last and nearest agree with the set."""
    bits = bits_of(minutes)
    assert timeline.has(bits, HORIZON, at_min) == (at_min in minutes)
    assert Probe([("it", bits)], HORIZON).names(at_min) == (("it",) if at_min in minutes else ())
    assert timeline.first(bits, HORIZON) == min(minutes, default=None)
    assert timeline.last(bits, HORIZON) == max(minutes, default=None)
    assert timeline.nearest(bits, HORIZON, at_min) == min(
        minutes, key=lambda at: (abs(at - at_min), at), default=None
    )


@given(MINUTES, st.integers(HORIZON.start_min - 600, HORIZON.end_min + 600))
def test_outward_goes_from_the_nearest_to_the_furthest(minutes: frozenset[int], at_min: int) -> None:
    """Every minute with its distance, sorted by both, wherever the point is that it goes out from."""
    expected = sorted((abs(at - at_min), at) for at in minutes)
    assert list(timeline.outward(bits_of(minutes), HORIZON, at_min)) == expected


@given(st.lists(st.tuples(st.integers(-500, 5000), st.integers(0, 3000)), max_size=8))
def test_intervals_are_clipped_to_the_horizon(pairs: list[tuple[int, int]]) -> None:
    """Many intervals at once are the union of each alone, over several days and past both ends."""
    horizon = Horizon(100, 4000)
    spans = [(start, start + length) for start, length in pairs]
    expected = {at for low, high in spans for at in range(max(low, 100), min(high, 4000))}
    assert set(timeline.minutes(timeline.intervals(horizon, spans), horizon)) == expected


@given(MINUTES, st.integers(-300, 300), st.integers(1, 600))
def test_moved_drops_what_lies_outside(minutes: frozenset[int], offset: int, length: int) -> None:
    """A timeline laid over another horizon keeps the minutes that both have."""
    target = Horizon(HORIZON.start_min + offset, HORIZON.start_min + offset + length)
    found = set(timeline.minutes(timeline.moved(bits_of(minutes), HORIZON, target), target))
    assert found == {at for at in minutes if target.start_min <= at < target.end_min}


@given(st.integers(900, 1500), st.integers(1, 97), st.integers(1000, 1500))
def test_a_grid_is_every_step_from_its_first_minute(first: int, step: int, end: int) -> None:
    """Also when it begins before the horizon or ends after it."""
    expected = {at for at in range(first, end, step) if HORIZON.start_min <= at < HORIZON.end_min}
    assert set_of(timeline.grid(HORIZON, step, first, end)) == expected
