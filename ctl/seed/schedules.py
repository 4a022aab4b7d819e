"""When made-up people work: shifts that recur, lunch, time off, an odd Saturday, a changed day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

from ctl.seed.words import seed_id
from scheduling.facts import Closure, Schedule, WeeklyHours, Window, WindowKind

# Start and end of a shift, and the start of the half hour for lunch, in wall-clock hours.
_SHIFTS: Final = ((8, 16, 12.0), (9, 17, 12.5), (10, 18, 13.0))
_WEEKDAYS: Final = "MO,TU,WE,TH,FR"
_SATURDAY: Final = 5

WEEKLY_HOURS: Final = (
    *(WeeklyHours(weekday, 7 * 60, 19 * 60) for weekday in range(5)),
    WeeklyHours(_SATURDAY, 8 * 60, 13 * 60),
)


def monday_before(day: date) -> date:
    """The Monday of the week of `day`: where recurring windows begin."""
    return day - timedelta(days=day.weekday())


def schedule_of(
    provider_id: str, number: int, location_ids: tuple[str, ...], first_day: date, rng: Random
) -> Schedule:
    """The windows of a clinic's provider `number` (1 and up); one with two locations has days at each."""
    monday = monday_before(first_day)
    begins, ends, lunch = rng.choice(_SHIFTS)
    windows = []
    for place, location_id in enumerate(location_ids):
        days, offset = _days_at(place, len(location_ids))
        shift = _window(provider_id, f"shift {place}", monday + timedelta(days=offset), (begins, ends))
        windows.append(replace(shift, location_id=location_id, recurrence=f"RRULE:FREQ=WEEKLY;BYDAY={days}"))
    pause = _window(provider_id, "lunch", monday, (lunch, lunch + 0.5))
    weekdays = f"RRULE:FREQ=WEEKLY;BYDAY={_WEEKDAYS}"
    windows.append(replace(pause, kind=WindowKind.UNAVAILABLE, recurrence=weekdays))
    windows.extend(_exceptions(provider_id, number, location_ids[0], monday, rng))
    return Schedule(tuple(windows))


def closures_of(first_day: date, place: int) -> tuple[Closure, ...]:
    """A training afternoon in the second week at the first location, a closed day in the third at the others."""
    monday = monday_before(first_day)
    if place == 0:
        wednesday = monday + timedelta(days=9)
        return (Closure(_at(wednesday, 15), _at(wednesday, 19)),)
    friday = monday + timedelta(days=18)
    return (Closure(_at(friday, 0), _at(friday + timedelta(days=1), 0)),)


def maintenance_of(resource_id: str, first_day: date) -> Schedule:
    """An evening every four weeks for maintenance."""
    tuesday = monday_before(first_day) + timedelta(days=1)
    evening = _window(resource_id, "maintenance", tuesday, (17, 19))
    rule = "RRULE:FREQ=WEEKLY;INTERVAL=4;BYDAY=TU"
    return Schedule((replace(evening, kind=WindowKind.UNAVAILABLE, recurrence=rule),))


def _days_at(place: int, places: int) -> tuple[str, int]:
    """The days of the week at a provider's location, and how many days after Monday the first of them is."""
    if places == 1:
        return _WEEKDAYS, 0
    return ("MO,TU,WE", 0) if place == 0 else ("TH,FR", 3)


def _exceptions(
    provider_id: str, number: int, location_id: str, monday: date, rng: Random
) -> Iterator[Window]:
    """Every third provider takes two days off, every fourth works some Saturdays, every fifth changes a day."""
    if number % 3 == 0:
        first = monday + timedelta(days=rng.randrange(7, 24))
        yield replace(_window(provider_id, "time off", first, (0, 48)), kind=WindowKind.UNAVAILABLE)
    if number % 4 == 0:
        saturday = _window(provider_id, "saturday", monday + timedelta(days=_SATURDAY), (8, 12))
        rule = "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=SA"
        yield replace(saturday, location_id=location_id, recurrence=rule)
    if number % 5 == 0:
        changed = _window(provider_id, "changed day", monday + timedelta(days=14), (12, 19))
        yield replace(changed, kind=WindowKind.OVERRIDE, location_id=location_id)


def _window(resource_id: str, name: str, day: date, hours: tuple[float, float]) -> Window:
    """An available window on one day, at every location."""
    starts, ends = _at(day, hours[0]), _at(day, hours[1])
    return Window(WindowKind.AVAILABLE, starts, ends, id=seed_id(resource_id, name))


def _at(day: date, hours: float) -> datetime:
    return datetime.combine(day, time()) + timedelta(hours=hours)
