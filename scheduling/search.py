"""Every bookable slot in a window, ranked, and no more of them made than are asked for."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

from scheduling import allocation, timeline
from scheduling.busy import BusyFacts
from scheduling.checks import Plan
from scheduling.derived import DerivedCache
from scheduling.errors import Invalid
from scheduling.facts import (
    NEXT_AVAILABLE_DAYS_MAX,
    SEARCH_DAYS_MAX,
    GridAnchor,
    Provider,
    RoomChoice,
    SlotRequest,
    StaticFacts,
)
from scheduling.ranking import COMPACT_MAX, Scores
from scheduling.reading import frame_for
from scheduling.timeline import Bits, Horizon, Probe

_DST_MIN: Final = 180
"""A window of 93 local days may be longer than 93 × 24 hours by a clock change."""


class SlotOrder(StrEnum):
    """SCORE: best score, then earlier, then provider id. TIME: earlier, then best score, then provider id."""

    SCORE = "score"
    TIME = "time"


class Slot(NamedTuple):
    """A start that can be booked. `room_ids` are the rooms free for it, best first; none if it takes none."""

    start_min: int
    end_min: int
    provider_id: str
    room_ids: tuple[str, ...]
    score: int


class SlotKey(NamedTuple):
    """Where a page ended; the next one begins after it, even when slots have come or gone meanwhile."""

    start_min: int
    provider_id: str
    score: int


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

    __slots__ = ("_by_provider", "_order", "_plan", "_providers", "_rooms", "_scores")

    def __init__(self, plan: Plan, order: SlotOrder) -> None:
        self._plan, self._order = plan, order
        found = ((provider, plan.starts(provider)) for provider in plan.providers())
        self._by_provider: list[tuple[Provider, Bits]] = [item for item in found if item[1]]
        self._scores: dict[str, Scores] = {}
        self._providers = {provider.id: provider for provider, _ in self._by_provider}
        self._rooms: dict[str, Probe] = {}

    @property
    def total(self) -> int:
        """How many slots there are over all pages."""
        return sum(timeline.count(starts) for _, starts in self._by_provider)

    def starts(self) -> Iterator[tuple[int, str]]:
        """Yield every (start, provider id), earliest first: cheaper than slots."""
        horizon = self._plan.frame.horizon
        return heapq.merge(*(_marked(starts, horizon, provider.id) for provider, starts in self._by_provider))

    def page(self, limit: int, after: SlotKey | None = None) -> list[Slot]:
        """Return the next `limit` slots after `after`, in the search's order."""
        keys = self._by_score(after) if self._order is SlotOrder.SCORE else self._by_time(after)
        return [self._slot(key) for key in islice(keys, limit)]

    def slot(self, start_min: int, provider_id: str) -> Slot:
        """Return the slot of a pair that `starts` yields."""
        return self._slot(SlotKey(start_min, provider_id, self._score_at(provider_id, start_min)))

    def __iter__(self) -> Iterator[Slot]:
        """Yield every slot in the search's order."""
        keys = self._by_score(None) if self._order is SlotOrder.SCORE else self._by_time(None)
        return map(self._slot, keys)

    def _by_score(self, after: SlotKey | None) -> Iterator[SlotKey]:
        """Yield keys class by class, best first; a class is as many runs of minutes as it has providers."""
        horizon = self._plan.frame.horizon
        for score, members in self._classes():
            if after is not None and score > after.score:
                continue
            resume = after if after is not None and score == after.score else None
            runs = (_marked(_from(bits, horizon, resume), horizon, who) for who, bits in members)
            for start_min, provider_id in heapq.merge(*runs):
                if resume is None or (start_min, provider_id) > (resume.start_min, resume.provider_id):
                    yield SlotKey(start_min, provider_id, score)

    def _classes(self) -> Iterator[tuple[int, list[tuple[str, Bits]]]]:
        """Yield each score with its providers' starts, best first.

        Rough classes wait until the next score is one they may reach: a page rarely needs the lower ones.
        """
        scores = {provider.id: self._scores_of(provider, starts) for provider, starts in self._by_provider}
        waiting = sorted((rough, who) for who, found in scores.items() for rough in found.rough)
        ready: dict[int, list[tuple[str, Bits]]] = {}
        while waiting or ready:
            while waiting and waiting[-1][0] + COMPACT_MAX >= max(ready, default=0):
                rough, who = waiting.pop()
                for score, bits in scores[who].refine(rough).items():
                    ready.setdefault(score, []).append((who, bits))
            best = max(ready)
            yield best, ready.pop(best)

    def _by_time(self, after: SlotKey | None) -> Iterator[SlotKey]:
        """Yield keys minute by minute; providers of one minute by score."""
        horizon = self._plan.frame.horizon
        runs = (
            _marked(_from(starts, horizon, after), horizon, provider.id)
            for provider, starts in self._by_provider
        )
        for start_min, together in _grouped(heapq.merge(*runs)):
            keys = [SlotKey(start_min, who, self._score_at(who, start_min)) for who in together]
            for key in sorted(keys, key=_time_order):
                if after is None or _time_order(key) > _time_order(after):
                    yield key

    def _scores_of(self, provider: Provider, starts: Bits) -> Scores:
        """Return a provider's starts by score."""
        found = self._scores.get(provider.id)
        if found is None:
            found = self._scores[provider.id] = Scores(self._plan, provider, starts)
        return found

    def _score_at(self, provider_id: str, start_min: int) -> int:
        """Return the score of one slot."""
        if provider_id not in self._scores:
            provider, starts = next(item for item in self._by_provider if item[0].id == provider_id)
            self._scores_of(provider, starts)
        return self._scores[provider_id].at(start_min)

    def _slot(self, key: SlotKey) -> Slot:
        """Return the slot of a key, with the rooms that are free for it."""
        start_min, provider_id, score = key
        rooms = (self._rooms.get(provider_id) or self._rooms_of(provider_id)).names(start_min)
        return Slot(start_min, start_min + self._plan.frame.duration_min, provider_id, rooms, score)

    def _rooms_of(self, provider_id: str) -> Probe:
        """Return the rooms a provider's visits may take, best first, ready to be asked for a minute."""
        found = self._rooms[provider_id] = self._plan.room_probe(self._providers[provider_id])
        return found


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
    window = window_of(query.start_min, query.end_min)
    frame = frame_for(
        static,
        busy,
        query.request,
        window=window,
        now_min=now_min,
        cache=cache,
        anchor=query.anchor,
        keeps=busy.kept,
    )
    return SearchResult(Plan(frame, room), query.order)


def window_of(start_min: int, end_min: int) -> Horizon:
    """Return the window of a search, or refuse one that is empty or longer than 93 days."""
    if end_min <= start_min:
        raise Invalid.field("end", "must be later than start")
    if end_min - start_min > SEARCH_DAYS_MAX * timeline.DAY_MIN + _DST_MIN:
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


def find_next(
    static: StaticFacts,
    busy: BusyFacts,
    request: SlotRequest,
    *,
    start_min: int,
    count: int,
    now_min: float,
    cache: DerivedCache,
    within_days: int = NEXT_AVAILABLE_DAYS_MAX,
) -> list[Slot]:
    """Return the first `count` slots from `start_min` on, by time. `busy` covers all of `within_days`."""
    found: dict[tuple[int, str], Slot] = {}
    for window in next_windows(start_min, within_days):
        query = SearchQuery(request, window.start_min, window.end_min, SlotOrder.TIME)
        for slot in search(static, busy, query, now_min, cache).page(count):
            found.setdefault((slot.start_min, slot.provider_id), slot)
        if len(found) >= count:
            break
    return sorted(found.values(), key=lambda slot: (slot.start_min, -slot.score, slot.provider_id))[:count]


def _marked(starts: Bits, horizon: Horizon, provider_id: str) -> Iterator[tuple[int, str]]:
    """Yield (minute, provider id), earliest first."""
    return ((start_min, provider_id) for start_min in timeline.minutes(starts, horizon))


def _from(starts: Bits, horizon: Horizon, after: SlotKey | None) -> Bits:
    """Return the starts from the key's minute on."""
    if after is None:
        return starts
    return timeline.both(starts, timeline.interval(horizon, after.start_min, horizon.end_min))


def _grouped(pairs: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each minute with the providers that share it."""
    minute, together = -1, list[str]()
    for start_min, provider_id in pairs:
        if start_min != minute:
            if together:
                yield minute, together
            minute, together = start_min, []
        together.append(provider_id)
    if together:
        yield minute, together


def _time_order(key: SlotKey) -> tuple[int, int, str]:
    """Return what slots are sorted by in TIME order."""
    return key.start_min, -key.score, key.provider_id
