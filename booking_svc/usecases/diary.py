"""What is taken in a clinic while many visits are judged one after the other: what was read, and what came since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from database.busy_facts import Stretch
from scheduling.busy import Calendar
from scheduling.facts import Claim
from scheduling.timeline import DAY_MIN

Calendars = tuple[Calendar, ...]


class _Page:
    """One resource's claims on one UTC day; its calendar is made anew after each change."""

    __slots__ = ("_calendar", "_claims")

    def __init__(self) -> None:
        self._claims: list[Claim] = []
        self._calendar: Calendar | None = None

    def add(self, claim: Claim) -> None:
        self._claims.append(claim)
        self._calendar = None

    def calendar(self) -> Calendar:
        if self._calendar is None:
            self._calendar = Calendar(self._claims)
        return self._calendar


class Diary:
    """Claims by resource and UTC day, to which claims may be added."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[int, _Page]] = {}

    def add(self, claim: Claim, within: Stretch | None = None) -> None:
        """Write a claim down on each day that it touches, or on those of a stretch alone."""
        days = self._pages.setdefault(claim.resource_id, {})
        first_min, end_min = claim.start_min, claim.end_min
        if within is not None:
            first_min, end_min = max(first_min, within.start_min), min(end_min, within.end_min)
        for day in range(first_min // DAY_MIN, (end_min - 1) // DAY_MIN + 1):
            page = days.get(day)
            if page is None:
                page = days[day] = _Page()
            page.add(claim)

    def on_days_of(self, first_min: int, end_min: int) -> Mapping[str, Calendars]:
        """The calendars of all resources on the days that `[first_min, end_min)` touches."""
        return _Days(self._pages, range(first_min // DAY_MIN, (end_min - 1) // DAY_MIN + 1))


class _Days(Mapping[str, Calendars]):
    """Calendars that are put together when they are asked for: most are not."""

    __slots__ = ("_days", "_pages")

    def __init__(self, pages: Mapping[str, Mapping[int, _Page]], days: range) -> None:
        self._pages, self._days = pages, days

    def __getitem__(self, resource_id: str) -> Calendars:
        pages = self._pages[resource_id]
        found = tuple([pages[day].calendar() for day in self._days if day in pages])
        if not found:
            raise KeyError(resource_id)
        return found

    def __iter__(self) -> Iterator[str]:
        return (found for found, pages in self._pages.items() if any(day in pages for day in self._days))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def stretches_by_day(wanted: Iterable[Stretch]) -> list[Stretch]:
    """The whole days that stretches touch, neighbouring ones of a resource as one stretch."""
    days: dict[tuple[str, str], set[int]] = {}
    for stretch in wanted:
        touched = range(stretch.start_min // DAY_MIN, (stretch.end_min - 1) // DAY_MIN + 1)
        days.setdefault((stretch.resource_id, stretch.lock_id), set()).update(touched)
    return [
        Stretch(resource_id, first * DAY_MIN, end * DAY_MIN, lock_id)
        for (resource_id, lock_id), found in days.items()
        for first, end in _runs(sorted(found))
    ]


def _runs(days: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring days, half-open."""
    first = days[0]
    for day, following in pairwise(days):
        if following != day + 1:
            yield first, day + 1
            first = following
    yield first, days[-1] + 1
