"""When made-up people work: shifts that recur, lunch, time off, an odd Saturday, a changed day."""

from __future__ import annotations

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
    """The windows of a clinic's provider `number` (1 and up); with two locations it works at each on its own days."""
    monday = monday_before(first_day)
    begins, ends, lunch = rng.choice(_SHIFTS)
    windows = [
        _weekly(
            provider_id,
            f"shift {place}",
            WindowKind.AVAILABLE,
            monday if place == 0 else monday + timedelta(days=3),
            (begins, ends),
            days,
            location_id,
        )
        for place, (location_id, days) in enumerate(_days_by_location(location_ids))
    ]
    windows.append(
        _weekly(provider_id, "lunch", WindowKind.UNAVAILABLE, monday, (lunch, lunch + 0.5), _WEEKDAYS, None)
    )
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
    """One evening a month for maintenance."""
    tuesday = monday_before(first_day) + timedelta(days=1)
    rule = "RRULE:FREQ=WEEKLY;INTERVAL=4;BYDAY=TU"
    window = Window(
        WindowKind.UNAVAILABLE,
        _at(tuesday, 17),
        _at(tuesday, 19),
        None,
        rule,
        seed_id(resource_id, "maintenance"),
    )
    return Schedule((window,))


def _days_by_location(location_ids: tuple[str, ...]) -> list[tuple[str, str]]:
    if len(location_ids) == 1:
        return [(location_ids[0], _WEEKDAYS)]
    return [(location_ids[0], "MO,TU,WE"), (location_ids[1], "TH,FR")]


def _exceptions(provider_id: str, number: int, location_id: str, monday: date, rng: Random) -> list[Window]:
    """Every third provider takes days off, every fourth works some Saturdays, every fifth has a changed day."""
    windows = []
    if number % 3 == 0:
        off = monday + timedelta(days=rng.randrange(7, 24))
        windows.append(_once(provider_id, "time off", WindowKind.UNAVAILABLE, off, (0, 48), None))
    if number % 4 == 0:
        saturday = monday + timedelta(days=_SATURDAY)
        rule = "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=SA"
        windows.append(
            Window(
                WindowKind.AVAILABLE,
                _at(saturday, 8),
                _at(saturday, 12),
                location_id,
                rule,
                seed_id(provider_id, "saturday"),
            )
        )
    if number % 5 == 0:
        changed = monday + timedelta(days=14)
        windows.append(_once(provider_id, "changed day", WindowKind.OVERRIDE, changed, (12, 19), location_id))
    return windows


def _weekly(
    provider_id: str,
    name: str,
    kind: WindowKind,
    first: date,
    hours: tuple[float, float],
    days: str,
    location_id: str | None,
) -> Window:
    rule = f"RRULE:FREQ=WEEKLY;BYDAY={days}"
    return Window(
        kind, _at(first, hours[0]), _at(first, hours[1]), location_id, rule, seed_id(provider_id, name)
    )


def _once(
    provider_id: str,
    name: str,
    kind: WindowKind,
    day: date,
    hours: tuple[float, float],
    location_id: str | None,
) -> Window:
    return Window(kind, _at(day, hours[0]), _at(day, hours[1]), location_id, "", seed_id(provider_id, name))


def _at(day: date, hours: float) -> datetime:
    return datetime.combine(day, time()) + timedelta(hours=hours)
