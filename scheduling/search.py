"""Every bookable slot in a window, ranked, and no more of them made than are asked for."""

import heapq
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from scheduling import allocation, localtime, timeline
from scheduling.busy import BusyFacts
from scheduling.checks import Plan
from scheduling.derived import DerivedCache
from scheduling.errors import Invalid
from scheduling.facts import (
    NEXT_AVAILABLE_DAYS_MAX,
    SEARCH_DAYS_MAX,
    GridAnchor,
    RoomChoice,
    SlotRequest,
    StaticFacts,
)
from scheduling.reading import frame_for
from scheduling.slots import Slot, SlotKey, SlotMaker, SlotOrder, distant, score_order
from scheduling.timeline import Horizon, Lookup

_RANKED_AT_ONCE: Final = 1_000
_RANKED_MAX: Final = 5_000
_SLOT_BYTES: Final = 150


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to look for and where. Slots lie wholly inside `[start_min, end_min)`."""

    request: SlotRequest
    start_min: int
    end_min: int
    order: SlotOrder = SlotOrder.SCORE
    anchor: GridAnchor = GridAnchor.LOCAL_MIDNIGHT


class SearchResult:
    """All slots of one search, worked out page by page."""

    __slots__ = ("_offered", "_order", "_plan", "_providers", "_slots", "_starts")

    def __init__(self, plan: Plan, order: SlotOrder) -> None:
        self._plan, self._order = plan, order
        self._providers = {provider.id: provider for provider in plan.providers()}
        self._offered = dict(plan.offered())
        asked = ((who, plan.asked_of(self._providers[who], found)) for who, found in self._offered.items())
        self._starts = {who: starts for who, starts in asked if starts}
        self._slots = SlotMaker(plan, self._providers, self._starts)

    @property
    def total(self) -> int:
        """How many slots there are over all pages."""
        return sum(map(timeline.count, self._starts.values()))

    def nearest(self, at_min: int, provider_id: str | None = None) -> Iterator[tuple[int, str]]:
        """Yield every (start, provider id), or one provider's, nearest to `at_min` first; then by start, and by id.

        Cheaper than slots.
        """
        asked = self._starts if provider_id is None else {provider_id: self._starts.get(provider_id, 0)}
        horizon = self._plan.frame.horizon
        runs = (distant(starts, horizon, at_min, who) for who, starts in asked.items())
        return ((start_min, who) for _, start_min, who in heapq.merge(*runs))

    def page(self, limit: int, after: SlotKey | None = None) -> list[Slot]:
        """Return the next `limit` slots after `after`, in the search's order."""
        return list(islice(self._in_order(after), limit))

    def slot(self, start_min: int, provider_id: str) -> Slot:
        """Return the slot of a pair that `nearest` yields."""
        return self._slots.slot(start_min, provider_id)

    def __iter__(self) -> Iterator[Slot]:
        """Yield every slot in the search's order."""
        return self._in_order(None)

    def _in_order(self, after: SlotKey | None) -> Iterator[Slot]:
        if self._order is SlotOrder.SCORE and self._starts and self._is_kept():
            return self._asked_of(self._ranked(), after)
        return self._slots.in_order(self._order, after)

    def _is_kept(self) -> bool:
        """Tell whether what the place offers is kept in order: when it is little, or asked for again."""
        if self._plan.frame.busy.kept is None:
            return False
        offered = sum(map(timeline.count, self._offered.values()))
        return offered <= _RANKED_MAX and (
            offered <= _RANKED_AT_ONCE or self._plan.frame.is_asked_again(self._name())
        )

    def _name(self) -> Hashable:
        return "ranked", self._plan.choice, self._plan.frame.request.preferred_time_of_day

    def _ranked(self) -> tuple[Slot, ...]:
        """Return every slot that the place offers in the horizon, best first, whoever asks for which of them."""

        def make() -> tuple[Slot, ...]:
            return tuple(SlotMaker(self._plan, self._providers, self._offered).ranked())

        return self._plan.frame.kept_of_place(self._name(), make, lambda slots: _SLOT_BYTES * len(slots))

    def _asked_of(self, ranked: tuple[Slot, ...], after: SlotKey | None) -> Iterator[Slot]:
        """Yield those slots that are this search's, after `after`, until all have been found."""
        horizon, left = self._plan.frame.horizon, self.total
        asked = {who: Lookup(starts, horizon) for who, starts in self._starts.items()}
        for slot in ranked:
            lookup = asked.get(slot.provider_id)
            if lookup is None or not lookup.has(slot.start_min):
                continue
            if after is None or score_order(slot) > score_order(after):
                yield slot
            left -= 1
            if not left:
                return


def search(
    static: StaticFacts,
    busy: BusyFacts,
    query: SearchQuery,
    now_min: float,
    cache: DerivedCache,
    *,
    room: RoomChoice = allocation.ANY_ROOM,
) -> SearchResult:
    """Return every slot on the grid that can be booked at `now_min`, and no other.

    `busy` holds the claims that `reading.resources_read` and `reading.span_read` name for the window. Raises
    Invalid for a window that is empty or too long, NotFound for an unknown service and Refused for an
    unsuitable duration.
    """
    window = window_of(query.start_min, query.end_min, static.location.zone)
    frame = frame_for(
        static,
        busy,
        query.request,
        window=window,
        now_min=now_min,
        cache=cache,
        anchor=query.anchor,
        keeps=busy.kept is not None,
    )
    return SearchResult(Plan(frame, room), query.order)


def window_of(start_min: int, end_min: int, zone: str) -> Horizon:
    """Return the window of a search, or refuse one that is empty or longer than 93 days, by the clock or the wall's."""
    if end_min <= start_min:
        raise Invalid.field("end", "must be later than start")
    on_the_wall = localtime.wall_at(zone, end_min) - localtime.wall_at(zone, start_min)
    if min(end_min - start_min, on_the_wall) > SEARCH_DAYS_MAX * timeline.DAY_MIN:
        raise Invalid.field("end", f"must be at most {SEARCH_DAYS_MAX} days after start")
    return Horizon(start_min, end_min)


def next_windows(start_min: int, within_days: int = NEXT_AVAILABLE_DAYS_MAX) -> Iterator[Horizon]:
    """Yield the windows that a next-available search looks through: a week, two, four, then eight at a time.

    Each begins early enough that a visit across the seam of two windows lies wholly in one of them; it may
    be found in both.
    """
    end_min = start_min + within_days * timeline.DAY_MIN
    at_min, days = start_min, 7
    while at_min < end_min:
        until_min = min(at_min + days * timeline.DAY_MIN, end_min)
        yield Horizon(max(start_min, at_min - timeline.DAY_MIN), until_min)
        at_min, days = until_min, min(days * 2, 56)
