"""Slots in order: best first or earliest first, and no more of them worked out than are asked for."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from scheduling import timeline
from scheduling.checks import Plan
from scheduling.facts import Provider
from scheduling.ranking import COMPACT_MAX, Scores
from scheduling.timeline import Bits, Horizon, Probe


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


class SlotMaker:
    """Puts providers' starts in order and makes slots of them."""

    __slots__ = ("_plan", "_providers", "_rooms", "_scores", "_starts")

    def __init__(self, plan: Plan, providers: Mapping[str, Provider], starts: Mapping[str, Bits]) -> None:
        self._plan, self._providers, self._starts = plan, providers, starts
        self._scores: dict[str, Scores] = {}
        self._rooms: dict[str, Probe] = {}

    def in_order(self, order: SlotOrder, after: SlotKey | None = None) -> Iterator[Slot]:
        """Yield the slots after `after`, in an order."""
        return map(self._slot, self._by_score(after) if order is SlotOrder.SCORE else self._by_time(after))

    def ranked(self) -> list[Slot]:
        """Return all slots in SCORE order: where all are wanted, sorting is quicker than class by class."""
        horizon = self._plan.frame.horizon
        keys = [
            (-score, start_min, who)
            for who in self._starts
            for rough in self._scores_of(who).rough
            for score, bits in self._scores_of(who).refine(rough).items()
            for start_min in timeline.minutes(bits, horizon)
        ]
        return [self._slot(SlotKey(start_min, who, -down)) for down, start_min, who in sorted(keys)]

    def slot(self, start_min: int, provider_id: str) -> Slot:
        """Return the slot of one start, which must be one of the provider's."""
        return self._slot(SlotKey(start_min, provider_id, self._scores_of(provider_id).at(start_min)))

    def _by_score(self, after: SlotKey | None) -> Iterator[SlotKey]:
        """Yield keys class by class, best first; a class is as many runs of minutes as it has providers."""
        horizon = self._plan.frame.horizon
        for score, members in self._classes():
            if after is not None and score > after.score:
                continue
            resume = after if after is not None and score == after.score else None
            runs = (marked(_from(bits, horizon, resume), horizon, who) for who, bits in members)
            for start_min, provider_id in heapq.merge(*runs):
                if resume is None or (start_min, provider_id) > (resume.start_min, resume.provider_id):
                    yield SlotKey(start_min, provider_id, score)

    def _classes(self) -> Iterator[tuple[int, list[tuple[str, Bits]]]]:
        """Yield each score with its providers' starts, best first.

        Rough classes wait until the next score is one they may reach: a page rarely needs the lower ones.
        """
        scores = {who: self._scores_of(who) for who in self._starts}
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
        runs = (marked(_from(starts, horizon, after), horizon, who) for who, starts in self._starts.items())
        for start_min, together in _grouped(heapq.merge(*runs)):
            keys = [SlotKey(start_min, who, self._scores_of(who).at(start_min)) for who in together]
            for key in sorted(keys, key=_time_order):
                if after is None or _time_order(key) > _time_order(after):
                    yield key

    def _scores_of(self, provider_id: str) -> Scores:
        """Return a provider's starts by score."""
        found = self._scores.get(provider_id)
        if found is None:
            provider = self._providers[provider_id]
            found = self._scores[provider_id] = Scores(self._plan, provider, self._starts[provider_id])
        return found

    def _slot(self, key: SlotKey) -> Slot:
        """Return the slot of a key, with the rooms that are free for it."""
        start_min, provider_id, score = key
        rooms = (self._rooms.get(provider_id) or self._rooms_of(provider_id)).names(start_min)
        return Slot(start_min, start_min + self._plan.frame.duration_min, provider_id, rooms, score)

    def _rooms_of(self, provider_id: str) -> Probe:
        """Return the rooms a provider's visits may take, best first, ready to be asked for a minute."""
        found = self._rooms[provider_id] = self._plan.needs.room_probe(self._providers[provider_id])
        return found


def marked(starts: Bits, horizon: Horizon, provider_id: str) -> Iterator[tuple[int, str]]:
    """Yield (minute, provider id), earliest first."""
    return ((start_min, provider_id) for start_min in timeline.minutes(starts, horizon))


def distant(starts: Bits, horizon: Horizon, at_min: int, provider_id: str) -> Iterator[tuple[int, int, str]]:
    """Yield (distance, minute, provider id), nearest to `at_min` first."""
    return (
        (distance_min, start_min, provider_id)
        for distance_min, start_min in timeline.outward(starts, horizon, at_min)
    )


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


def score_order(key: SlotKey | Slot) -> tuple[int, int, str]:
    """Return what slots are sorted by in SCORE order."""
    return -key.score, key.start_min, key.provider_id
