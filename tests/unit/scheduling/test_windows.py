"""Open time: overrides, places, nights, closures and clock changes."""

# ruff: noqa: DTZ001 - a wall clock has no zone

from datetime import datetime, timedelta

import pytest

from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.facts import (
    Closure,
    Location,
    Provider,
    Room,
    Schedule,
    Service,
    SlotRequest,
    StaticFacts,
    WeeklyHours,
    Window,
    WindowKind,
)
from scheduling.search import SearchQuery, SearchResult, search
from tests.unit.scheduling.clinic import DAY, ZONE, at, clinic, clocks, found, once, provider, window

HOURLY = Service("service", 60, slot_step_min=60, requires_room=False)


def hours(*windows: Window, location: Location | None = None, days: int = 1) -> list[str]:
    static = clinic(
        service=HOURLY,
        providers=[Provider("provider", Schedule(tuple(windows)))],
        location=location,
    )
    return clocks(found(static, days=days))


def test_an_override_replaces_the_days_windows() -> None:
    """Only its own hours remain on its day."""
    assert hours(window("09:00", "17:00"), once("10:00", "12:00", "override")) == ["10:00", "11:00"]


def test_no_year_of_a_window_or_closure_stops_a_search() -> None:
    """Single windows and closures from year 1 to 9999 are read for the day searched, wherever they came from."""
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)
    always = Window(WindowKind.AVAILABLE, first, last)
    assert len(hours(always)) == 24
    away = Window(WindowKind.UNAVAILABLE, DAY + timedelta(hours=10), last)
    assert hours(window("08:00", "17:00"), away) == ["08:00", "09:00"]
    closed = Location("location", ZONE, closures=(Closure(first, DAY + timedelta(hours=15)),))
    assert hours(window("09:00", "17:00"), location=closed) == ["15:00", "16:00"]
    later = Location("location", ZONE, closures=(Closure(last - timedelta(days=1), last),))
    assert len(hours(window("09:00", "17:00"), location=later)) == 8


def test_an_override_elsewhere_changes_nothing_here() -> None:
    """It replaces windows at its own location only; one without a location replaces them everywhere."""
    elsewhere = once("10:00", "12:00", "override", location_id="elsewhere")
    assert len(hours(window("09:00", "17:00"), elsewhere)) == 8
    here = once("10:00", "12:00", "override", location_id="location")
    assert hours(window("09:00", "17:00"), here) == ["10:00", "11:00"]
    assert hours(window("09:00", "17:00", location_id="location"), once("10:00", "11:00", "override")) == [
        "10:00"
    ]


def test_the_tail_of_the_night_before_stays() -> None:
    """An override does not touch what began the day before, and replaces what begins on its own day."""
    night = window("22:00", "02:00")
    assert hours(night, once("10:00", "11:00", "override")) == ["00:00", "01:00", "10:00"]


def test_time_off_is_taken_away_last() -> None:
    """Also from an override, and over several days."""
    off = once("10:00", "11:00", "unavailable")
    assert hours(window("09:00", "12:00"), off) == ["09:00", "11:00"]
    assert hours(once("09:00", "12:00", "override"), off) == ["09:00", "11:00"]
    holiday = once("00:00", "00:00", "unavailable", days=-3)
    long = type(holiday)(holiday.kind, holiday.local_start, holiday.local_start + timedelta(days=9))
    assert hours(window("09:00", "12:00"), long) == []


def test_windows_of_other_places_do_not_open_this_one() -> None:
    """A provider in two places is open here only by windows of here and of nowhere in particular."""
    assert hours(window("09:00", "12:00", location_id="elsewhere"), window("13:00", "14:00")) == ["13:00"]


def test_hours_and_closures_clip() -> None:
    """A night's window loses what the location's hours and a closure do not leave."""
    weekly = tuple(WeeklyHours(day, 6 * 60, 26 * 60) for day in range(7))
    closed = Closure(DAY + timedelta(hours=23), DAY + timedelta(hours=24))
    location = Location("location", ZONE, weekly, (closed,))
    assert hours(window("20:00", "04:00"), location=location) == ["00:00", "01:00", "20:00", "21:00", "22:00"]


def test_a_window_in_a_gap_moves_forward() -> None:
    """Two to five on the night of the spring change is three to five; the hour that does not exist is not offered."""
    spring = datetime(2026, 3, 8)
    windows = (once("02:00", "05:00", "available"),)
    moved = tuple(type(w)(w.kind, spring + timedelta(hours=2), spring + timedelta(hours=5)) for w in windows)
    static = clinic(service=HOURLY, providers=[Provider("provider", Schedule(moved))])
    ahead = (spring - DAY).days
    result = found_on(static, ahead)
    assert clocks(result) == ["03:00", "04:00"]


def found_on(static: StaticFacts, days: int) -> SearchResult:
    query = SearchQuery(SlotRequest("service"), at("00:00", days), at("00:00", days + 1))
    return search(static, BusyFacts(), query, at("00:00", days - 1), DerivedCache())


def test_a_repeated_hour_is_worked_twice_by_who_works_through_it() -> None:
    """Midnight to three on the night of the autumn change is four hours, each start offered."""
    autumn = datetime(2026, 11, 1)
    night = once("00:00", "03:00", "available")
    moved = type(night)(night.kind, autumn, autumn + timedelta(hours=3))
    static = clinic(service=HOURLY, providers=[Provider("provider", Schedule((moved,)))])
    assert found_on(static, (autumn - DAY).days).total == 4


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ((), 8),
        ((once("09:00", "12:00", "unavailable"),), 5),
        ((once("09:00", "12:00", "override"),), 3),
        ((window("13:00", "15:00"),), 2),
    ],
)
def test_a_room_is_open_unless_its_windows_say_otherwise(windows: tuple[Window, ...], expected: int) -> None:
    """Without windows always; time off and overrides alone leave the other days open."""
    service = Service("service", 60, slot_step_min=60)
    room = Room("room", schedule=Schedule(windows))
    assert found(clinic(service=service, rooms=[room])).total == expected


def test_half_hour_zones_have_their_own_grid() -> None:
    """The grid is the wall clock's: on the hour in Kolkata, half past in UTC."""
    location = Location("location", "Asia/Kolkata")
    static = clinic(
        service=HOURLY, providers=[provider("provider", window("09:30", "12:30"))], location=location
    )
    assert sorted(
        {(start - at("00:00", zone="UTC")) % 60 for start, _ in found(static, days=2).nearest(0)}
    ) == [30]
