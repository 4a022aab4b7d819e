"""When a resource works: windows, overrides, opening hours and closures as timelines.

    working    windows of the day, or its overrides        . # # # # # # # .
    time off   unavailable windows                         . . . # . . . . .
    hours      the location's weekly hours                 . . # # # # # # #
    closures   of the location or its clinic               . . . . . . # . .
    open       (working − time off) ∩ hours − closures     . . # . # # . # .

Expanding local time is the dear part of a search, so it is done a week at a time and kept in the caller's
cache, under the fingerprints of what it was derived from.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from scheduling import localtime, recurrence, timeline
from scheduling.derived import DerivedCache
from scheduling.facts import Location, Schedule, Window, WindowKind
from scheduling.timeline import WEEK_MIN, Bits, Horizon

_AROUND_MIN = 2 * timeline.DAY_MIN
"""How far around a horizon wall-clock time can concern it: clocks show less than two days more or less than UTC."""


@dataclass(frozen=True, slots=True)
class WorkingTime:
    """A resource's own windows at one location: what they open and what they take away again."""

    working: Bits
    time_off: Bits

    @property
    def open(self) -> Bits:
        """What is left once time off is taken out."""
        return timeline.without(self.working, self.time_off)


def provider_open(cache: DerivedCache, schedule: Schedule, location: Location, horizon: Horizon) -> Bits:
    """Return open(provider, location): nothing where the provider has no windows."""

    def make(span: Horizon) -> Bits:
        own = working_time(schedule, location, span, always_open=False).open
        return timeline.both(own, _location_span(cache, location, span))

    return _by_week(cache, ("provider", schedule.fingerprint, location.fingerprint), horizon, make)


def resource_open(
    cache: DerivedCache, schedule: Schedule, location: Location, horizon: Horizon
) -> Bits | None:
    """Return when a room or an equipment item is open, None meaning always: its own windows alone decide."""
    if not any(_concerns(window, location) for window in schedule.windows):
        return None

    def make(span: Horizon) -> Bits:
        return working_time(schedule, location, span, always_open=True).open

    return _by_week(cache, ("resource", schedule.fingerprint, location.fingerprint), horizon, make)


def _location_span(cache: DerivedCache, location: Location, span: Horizon) -> Bits:
    """Return the location's hours in some weeks, worked out once for all of its providers."""
    return _by_week(
        cache, ("location", location.fingerprint), span, lambda weeks: location_open(location, weeks)
    )


def location_open(location: Location, horizon: Horizon) -> Bits:
    """Return the location's hours without its closures."""
    return timeline.without(opening_hours(location, horizon), closed(location, horizon))


def opening_hours(location: Location, horizon: Horizon) -> Bits:
    """Return the location's weekly hours; always, when it has none."""
    if not location.hours:
        return timeline.always(horizon)
    return _timeline(
        location.zone,
        horizon,
        (
            (midnight + hours.opens_min, midnight + hours.closes_min)
            for day in _days_around(location.zone, horizon, days_before=2)
            for midnight in (localtime.wall_midnight(day),)
            for hours in location.hours
            if hours.weekday == day.weekday()
        ),
    )


def closed(location: Location, horizon: Horizon) -> Bits:
    """Return the time of the location's closures."""
    return _timeline(
        location.zone,
        horizon,
        (
            (localtime.wall_minute(closure.local_start), localtime.wall_minute(closure.local_end))
            for closure in location.closures
        ),
    )


def working_time(
    schedule: Schedule, location: Location, horizon: Horizon, *, always_open: bool
) -> WorkingTime:
    """Return what the windows open and take away at a location.

    `always_open` says what the days hold for a resource without any `available` window here: everything for
    rooms and equipment, nothing for a provider. An override replaces the windows that start on its day; an
    overnight window of the day before keeps its tail.
    """
    windows = [window for window in schedule.windows if _concerns(window, location)]
    days = _days_around(location.zone, horizon, days_before=1 + _longest_days(windows))
    by_kind: dict[WindowKind, list[tuple[int, int]]] = {kind: [] for kind in WindowKind}
    for window in windows:
        by_kind[window.kind].extend(_occurrences(window, days))
    overridden = {start // timeline.DAY_MIN for start, _ in by_kind[WindowKind.OVERRIDE]}
    available = by_kind[WindowKind.AVAILABLE]
    if always_open and not any(window.kind is WindowKind.AVAILABLE for window in windows):
        midnights = (localtime.wall_midnight(day) for day in days)
        available = [(midnight, midnight + timeline.DAY_MIN) for midnight in midnights]
    kept = [piece for piece in available if piece[0] // timeline.DAY_MIN not in overridden]
    return WorkingTime(
        working=_timeline(location.zone, horizon, kept + by_kind[WindowKind.OVERRIDE]),
        time_off=_timeline(location.zone, horizon, by_kind[WindowKind.UNAVAILABLE]),
    )


def _concerns(window: Window, location: Location) -> bool:
    """Tell whether a window says anything about time at this location."""
    return window.location_id is None or window.location_id == location.id


def _longest_days(windows: Iterable[Window]) -> int:
    """Return how many days the longest recurring window reaches beyond the day it starts on."""
    recurring = (window for window in windows if window.recurrence)
    return max((_length_min(window) // timeline.DAY_MIN + 1 for window in recurring), default=0)


def _length_min(window: Window) -> int:
    """Return the window's length by the wall clock."""
    return localtime.wall_minute(window.local_end) - localtime.wall_minute(window.local_start)


def _occurrences(window: Window, days: list[date]) -> Iterable[tuple[int, int]]:
    """Yield the window's occurrences that start on one of the days, as wall minutes; a single window as it is.

    A single window may last for years: it is not looked for among the days.
    """
    if not window.recurrence:
        yield localtime.wall_minute(window.local_start), localtime.wall_minute(window.local_end)
        return
    low = datetime.combine(days[0], datetime.min.time())
    high = datetime.combine(days[-1], datetime.min.time()) + timedelta(days=1)
    length = _length_min(window)
    for start in recurrence.starts_between(window.recurrence, window.local_start, low, high):
        wall_min = localtime.wall_minute(start)
        yield wall_min, wall_min + length


def _days_around(zone: str, horizon: Horizon, *, days_before: int) -> list[date]:
    """Return the local days the horizon touches and as many before them."""
    days = localtime.local_days(zone, horizon.start_min, horizon.end_min)
    first = days[0].toordinal()
    return [*(date.fromordinal(first - back) for back in range(days_before, 0, -1)), *days]


def _timeline(zone: str, horizon: Horizon, pieces: Iterable[tuple[int, int]]) -> Bits:
    """Return pieces of wall-clock time as a timeline.

    They are cut off a little outside of the horizon first: no zone knows the instants of just any year.
    """
    low, high = horizon.start_min - _AROUND_MIN, horizon.end_min + _AROUND_MIN
    near = ((max(start, low), min(end, high)) for start, end in pieces if start < high and end > low)
    return timeline.intervals(horizon, (_instants(zone, start, end) for start, end in near))


def _instants(zone: str, wall_start: int, wall_end: int) -> tuple[int, int]:
    """Return the instants of a piece of wall-clock time: out of gaps forward, the first of repeated times."""
    return localtime.instant_at(zone, wall_start), localtime.instant_at(zone, wall_end)


def _by_week(
    cache: DerivedCache, key: tuple[object, ...], horizon: Horizon, make: Callable[[Horizon], Bits]
) -> Bits:
    """Return a timeline of the horizon put together from cached weeks, itself cached.

    The weeks that are missing are made at once, from the first to the last of them: most of what a week costs is the
    setting up, and the days around it.
    """
    span: Bits | None = cache.masks.get((*key, horizon.start_min, horizon.end_min))
    if span is not None:
        return span
    numbers = range(horizon.start_min // WEEK_MIN, -(-horizon.end_min // WEEK_MIN))
    weeks: dict[int, Bits | None] = {week: cache.get((*key, week)) for week in numbers}
    missing = [week for week, found in weeks.items() if found is None]
    if missing:
        made = Horizon(missing[0] * WEEK_MIN, (missing[-1] + 1) * WEEK_MIN)
        bits = make(made)
        for week in missing:
            weeks[week] = cache.put((*key, week), timeline.moved(bits, made, _week(week)))
    parts = (timeline.moved(found or timeline.NEVER, _week(week), horizon) for week, found in weeks.items())
    return cache.masks.put((*key, horizon.start_min, horizon.end_min), timeline.union(*parts))


def _week(number: int) -> Horizon:
    return Horizon(number * WEEK_MIN, (number + 1) * WEEK_MIN)
