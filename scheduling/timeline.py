"""A resource's time as one Python integer, one bit a minute. The only module that knows the bits.

A timeline belongs to a horizon, a run of minutes since the epoch. Bit `i` is the minute `[origin + i, origin
+ i + 1)`:

    minute    0 1 2 3 4 5 6 7
    open      . # # # # # . .      0b00111110      drawn left to right, earliest minute first
    busy      . . . # . . . .      0b00001000
    free      . # # . # # . .      without(open, busy)

A mask of *starts* is the same kind of integer with another meaning: bit `i` says that something may begin at
minute `i`. `erode` makes one out of the other. Nothing is kept outside the horizon: bits below its origin or
past its end are dropped.

Whole diaries are combined by single integer operations, so the cost hardly depends on how many visits there
are.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

Bits = int
"""A timeline or a mask of starts. Opaque outside this module."""

NEVER: Final[Bits] = 0
DAY_MIN: Final = 1440
WEEK_MIN: Final = 7 * DAY_MIN


@dataclass(frozen=True, slots=True)
class Horizon:
    """The minutes `[start_min, end_min)` that a timeline covers."""

    start_min: int
    end_min: int

    @property
    def minutes(self) -> int:
        """The number of minutes covered."""
        return self.end_min - self.start_min


def in_whole_weeks(horizon: Horizon) -> Horizon:
    """Return the horizon widened to whole weeks since the epoch."""
    return Horizon(horizon.start_min // WEEK_MIN * WEEK_MIN, -(-horizon.end_min // WEEK_MIN) * WEEK_MIN)


def always(horizon: Horizon) -> Bits:
    """Return every minute of the horizon."""
    return (1 << horizon.minutes) - 1


def interval(horizon: Horizon, start_min: int, end_min: int) -> Bits:
    """Return the minutes `[start_min, end_min)`, clipped to the horizon."""
    low = max(start_min, horizon.start_min) - horizon.start_min
    high = min(end_min, horizon.end_min) - horizon.start_min
    if high <= low:
        return NEVER
    return ((1 << (high - low)) - 1) << low


def intervals(horizon: Horizon, pairs: Iterable[tuple[int, int]]) -> Bits:
    """Return the union of half-open intervals, clipped to the horizon.

    Where they begin and where they end are marked in two byte strings; a run of bits is the difference of two powers
    of two, so one subtraction makes all runs at once:

        begins   . # . . . # . .       ends   . . . . # . # .       ends - begins   . # # # . # . .

    An integer as long as the horizon for every interval would cost many times as much.
    """
    origin, last = horizon.start_min, horizon.minutes
    begins, ends = bytearray(last // 8 + 1), bytearray(last // 8 + 1)
    filled = 0
    for start_min, end_min in sorted(pairs):
        low, high = start_min - origin, end_min - origin
        low = filled if low < filled else low  # noqa: FURB136 - a call costs more than all the rest
        high = last if high > last else high  # noqa: FURB136
        if low < high:
            begins[low >> 3] |= 1 << (low & 7)
            ends[high >> 3] |= 1 << (high & 7)
            filled = high
    return int.from_bytes(ends, "little") - int.from_bytes(begins, "little")


def union(*timelines: Bits) -> Bits:
    """Return the minutes that are in any of them."""
    bits = NEVER
    for timeline in timelines:
        bits |= timeline
    return bits


def both(left: Bits, right: Bits) -> Bits:
    """Return the minutes that are in both."""
    return left & right


def without(left: Bits, right: Bits) -> Bits:
    """Return the minutes of `left` that are not in `right`.

    Written without a complement, which would be negative and five times slower.
    """
    return left ^ (left & right)


def erode(timeline: Bits, width_min: int) -> Bits:
    """Return the minutes from which `width_min` minutes in a row are set.

        timeline   . # # # # . # # .
        width 3    . # # . . . . . .

    Log-shift: runs of 1, 2, 4, … minutes are joined, so a width of 45 takes six steps, not 45.
    """
    done = 1
    while done < width_min and timeline:
        step = min(done, width_min - done)
        timeline &= timeline >> step
        done += step
    return timeline


def dilate_back(timeline: Bits, width_min: int) -> Bits:
    """Return the starts from which `width_min` minutes would touch the timeline: what `erode` keeps out.

    timeline   . . . . # . .
    width 3    . . # # # . .
    """
    done = 1
    while done < width_min and timeline:
        step = min(done, width_min - done)
        timeline |= timeline >> step
        done += step
    return timeline


def later(timeline: Bits, by_min: int) -> Bits:
    """Return the timeline moved `by_min` minutes later, or earlier when negative; it may pass the horizon."""
    return timeline << by_min if by_min >= 0 else timeline >> -by_min


def moved(timeline: Bits, origin: Horizon, target: Horizon) -> Bits:
    """Return a timeline of `origin`'s minutes as one of `target`'s, dropping what lies outside."""
    offset = origin.start_min - target.start_min
    bits = timeline << offset if offset >= 0 else timeline >> -offset
    return bits if origin.end_min <= target.end_min else bits & always(target)


def at_least(timelines: Sequence[Bits], count: int) -> Bits:
    """Return the minutes that are in `count` or more of the timelines.

    `have[j]` holds the minutes seen in at least `j` timelines so far; each timeline lifts every level by one.
    """
    if count > len(timelines):
        return NEVER
    if count == 1:
        return union(*timelines)
    have = [NEVER] * (count + 1)
    for timeline in timelines:
        for level in range(count, 1, -1):
            have[level] |= have[level - 1] & timeline
        have[1] |= timeline
    return have[count]


def every(step_min: int, first: int, end: int) -> Bits:
    """Return the bits `first`, `first + step_min`, … below `end`, which are positions, not instants.

    Built by doubling: two marks become four, four eight.
    """
    if end <= first:
        return NEVER
    wanted = -(-(end - first) // step_min)
    marks, have = 1, 1
    while have < wanted:
        marks |= marks << (have * step_min)
        have *= 2
    return (marks & ((1 << (wanted * step_min)) - 1)) << first


def grid(horizon: Horizon, step_min: int, first_min: int, end_min: int) -> Bits:
    """Return `first_min`, `first_min + step_min`, … below `end_min` (instants), clipped to the horizon."""
    if first_min < horizon.start_min:
        first_min += -(-(horizon.start_min - first_min) // step_min) * step_min
    return every(step_min, first_min - horizon.start_min, min(end_min, horizon.end_min) - horizon.start_min)


def grids(horizon: Horizon, step_min: int, stretches: Iterable[tuple[int, int]]) -> Bits:
    """Return a grid that begins anew with each half-open stretch, and ends with it.

    stretches  . [ # # # # ) . [ # # )
    step 3     . # . . # . . . # . . .
    """
    return union(*(grid(horizon, step_min, first_min, end_min) for first_min, end_min in stretches))


def count(timeline: Bits) -> int:
    """Return how many minutes are set."""
    return timeline.bit_count()


def has(timeline: Bits, horizon: Horizon, at_min: int) -> bool:
    """Tell whether the minute `at_min` is set."""
    position = at_min - horizon.start_min
    return position >= 0 and bool(timeline >> position & 1)


def covers(timeline: Bits, horizon: Horizon, start_min: int, end_min: int) -> bool:
    """Tell whether every minute of `[start_min, end_min)` is set."""
    span = interval(horizon, start_min, end_min)
    return timeline & span == span and horizon.start_min <= start_min and end_min <= horizon.end_min


def first(timeline: Bits, horizon: Horizon) -> int | None:
    """Return the earliest minute set, or None."""
    if not timeline:
        return None
    return (timeline & -timeline).bit_length() - 1 + horizon.start_min


def last(timeline: Bits, horizon: Horizon) -> int | None:
    """Return the latest minute set, or None."""
    return timeline.bit_length() - 1 + horizon.start_min if timeline else None


_CHUNK_BITS: Final = 2048
_CHUNK: Final = (1 << _CHUNK_BITS) - 1
_FEW: Final = 8


def minutes(timeline: Bits, horizon: Horizon) -> Iterator[int]:
    """Yield the minutes set, earliest first, doing no more work than is asked for.

    A chunk of some 34 hours at a time is cut off, from the first minute on; one that holds more than a few is taken
    apart word by word.
    """
    skipped = ((timeline & -timeline).bit_length() - 1) // 64 * 64 if timeline else 0
    base = horizon.start_min - 1 + skipped
    timeline >>= skipped
    while timeline:
        chunk = timeline & _CHUNK
        if chunk.bit_count() < _FEW:
            while chunk:
                low = chunk & -chunk
                yield base + low.bit_length()
                chunk ^= low
        else:
            for index, word in enumerate(memoryview(chunk.to_bytes(_CHUNK_BITS // 8, "little")).cast("Q")):
                rest = word
                while rest:
                    low = rest & -rest
                    yield base + 64 * index + low.bit_length()
                    rest ^= low
        timeline >>= _CHUNK_BITS
        base += _CHUNK_BITS


def runs(timeline: Bits, horizon: Horizon) -> Iterator[tuple[int, int]]:
    """Yield the maximal half-open intervals that are set, earliest first.

    timeline   . # # . # .      edges: a run begins where the bit before is clear,
    starts     . # . . # .      and ends where it is clear again
    ends       . . . # . #
    """
    starts = timeline & ~(timeline << 1)
    ends = (timeline << 1) & ~timeline
    return zip(minutes(starts, horizon), minutes(ends, horizon), strict=True)


def run_around(timeline: Bits, horizon: Horizon, at_min: int) -> tuple[int, int]:
    """Return the maximal run that holds `at_min`, which must be set; its ends may be the horizon's."""
    position = at_min - horizon.start_min
    clear_after = ~(timeline >> position)
    end = position + (clear_after & -clear_after).bit_length() - 1
    clear_before = ~timeline & ((1 << position) - 1)
    return clear_before.bit_length() + horizon.start_min, min(end + horizon.start_min, horizon.end_min)


def nearest(timeline: Bits, horizon: Horizon, at_min: int) -> int | None:
    """Return the minute set nearest to `at_min`, the earlier of two as near; None when nothing is set."""
    return next((minute for _, minute in outward(timeline, horizon, at_min)), None)


def outward(timeline: Bits, horizon: Horizon, at_min: int) -> Iterator[tuple[int, int]]:
    """Yield (distance, minute) for the minutes set, nearest to `at_min` first, the earlier of two as near."""
    position = max(0, at_min - horizon.start_min)
    before = timeline & ((1 << position) - 1)
    ahead = ((minute - at_min, minute) for minute in minutes(timeline ^ before, horizon))
    back = ((at_min - minute, minute) for minute in _latest_first(before, horizon))
    return heapq.merge(back, ahead)


def _latest_first(timeline: Bits, horizon: Horizon) -> Iterator[int]:
    while timeline:
        position = timeline.bit_length() - 1
        yield position + horizon.start_min
        timeline ^= 1 << position


class Lookup:
    """Answers single minutes of one timeline quickly."""

    __slots__ = ("_packed", "_start_min")

    def __init__(self, bits: Bits, horizon: Horizon) -> None:
        self._packed = bits.to_bytes(-(-horizon.minutes // 8), "little")
        self._start_min = horizon.start_min

    def has(self, at_min: int) -> bool:
        """Tell whether a minute of the horizon is set."""
        at = at_min - self._start_min
        return bool(self._packed[at >> 3] >> (at & 7) & 1)


class Probe:
    """Answers single minutes of some named timelines quickly, for a page of slots or the starts of a day."""

    __slots__ = ("_named", "_start_min")

    def __init__(self, named: Iterable[tuple[str, Bits]], horizon: Horizon) -> None:
        size = -(-horizon.minutes // 8)
        inside = always(horizon)
        self._named = [(name, (bits & inside).to_bytes(size, "little")) for name, bits in named]
        self._start_min = horizon.start_min

    @property
    def size_bytes(self) -> int:
        """What it takes, about."""
        return sum(len(packed) + 100 for _, packed in self._named)

    def names(self, at_min: int) -> tuple[str, ...]:
        """Return the names of the timelines that have the minute, which lies in the horizon, in the given order."""
        index, bit = divmod(at_min - self._start_min, 8)
        return tuple([name for name, packed in self._named if packed[index] >> bit & 1])
