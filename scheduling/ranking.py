"""How good a slot is, from 0 to 100, worked out for whole classes of starts at once.

    preferences    0–40   20 is neutral; up to 20 more or less, by weight, as window, room and equipment are
    liked time of day    0–40   40 in the asked-for part of the day, 0 outside, 20 when none is asked for
    compactness    0–20   10, and 10 more for touching another visit, 10 less for leaving a crumb of free
    time that
                          is too short for a visit like this one

Each part cuts the starts into a few classes; their cut is the classes of one score. Higher scores first,
then earlier starts, then provider ids: the order is total and repeatable.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from scheduling import allocation, localtime, timeline
from scheduling.checks import Plan
from scheduling.facts import Preference, Provider, TimeOfDay
from scheduling.frame import Frame
from scheduling.timeline import Bits

_NEUTRAL: Final = 20
_COMPACT: Final = 10
COMPACT_MAX: Final = 2 * _COMPACT
_PARTS_OF_DAY: Final = {
    TimeOfDay.MORNING: (0, 720),
    TimeOfDay.AFTERNOON: (720, 1020),
    TimeOfDay.EVENING: (1020, 1440),
}

Classes = tuple[tuple[int, Bits], ...]
"""Points and the starts that earn them: every start is in exactly one class."""

Rows = Iterable[tuple[int, Bits]]
"""Points and the starts that earn them: a start earns the points of the first row it is in."""


class Scores:
    """One provider's starts by score, the dearest part worked out only for the classes that are asked for."""

    __slots__ = ("_plan", "_provider", "_refined", "rough")

    def __init__(self, plan: Plan, provider: Provider, starts: Bits) -> None:
        self._plan, self._provider = plan, provider
        self._refined: dict[int, dict[int, Bits]] = {}
        self.rough = _split(starts, _liking_classes(plan, provider))
        """Starts by their points for preferences and time of day; compactness adds up to COMPACT_MAX."""

    def refine(self, rough: int) -> dict[int, Bits]:
        """Return the starts of one rough class by their whole score."""
        found = self._refined.get(rough)
        if found is None:
            classes = _compactness_classes(self._plan.frame, self._provider)
            by_compactness = _split(self.rough[rough], classes)
            found = self._refined[rough] = {rough + more: bits for more, bits in by_compactness.items()}
        return found

    def at(self, start_min: int) -> int:
        """Return the score of one start, which must be one of the provider's."""
        horizon = self._plan.frame.horizon
        rough = next(points for points, bits in self.rough.items() if timeline.has(bits, horizon, start_min))
        found = self.refine(rough).items()
        return next(score for score, bits in found if timeline.has(bits, horizon, start_min))


def _split(starts: Bits, classes: Classes) -> dict[int, Bits]:
    """Return the starts by class; the classes do not overlap."""
    return {points: hit for points, mask in classes if (hit := timeline.both(starts, mask))}


def _liking_classes(plan: Plan, provider: Provider) -> Classes:
    """Return every start by its points for the provider's preferences and the asked-for time of day.

    Kept for all providers with the same preferences, and where no rooms are liked for later searches too.
    """
    frame = plan.frame
    rows = tuple(allocation.preferences_for(provider, frame.service.id))
    equipment = tuple(row.equipment_type in plan.needs.of(provider)[1] for row in rows if row.equipment_type)
    wanted = frame.request.preferred_time_of_day
    key = ("likes", frame.zone, frame.horizon.start_min, frame.horizon.end_min, rows, equipment, wanted)
    if any(row.room_ids for row in rows):
        return _cut_by_likes(plan, provider, rows)
    found: Classes | None = frame.cache.masks.get(key)
    return frame.cache.masks.put(key, _cut_by_likes(plan, provider, rows)) if found is None else found


def _cut_by_likes(plan: Plan, provider: Provider, rows: tuple[Preference, ...]) -> Classes:
    """Return the horizon cut by preferences and by time of day."""
    by_preference = _cut({0: plan.frame.everything}, list(_preference_classes(plan, provider, rows)))
    return tuple(_cut(by_preference, list(_time_of_day_classes(plan.frame))).items())


def _cut(classes: dict[int, Bits], parts: list[tuple[int, Bits]]) -> dict[int, Bits]:
    """Return the classes cut by another part's, points added up."""
    found: dict[int, Bits] = {}
    for score, starts in classes.items():
        rest = starts
        for points, mask in parts:
            hit = timeline.both(rest, mask)
            if hit:
                found[score + points] = timeline.union(found.get(score + points, timeline.NEVER), hit)
                rest = timeline.without(rest, hit)
            if not rest:
                break
    return found


def _time_of_day_classes(frame: Frame) -> Rows:
    """Yield the starts in the asked-for part of the local day, then the others."""
    wanted = frame.request.preferred_time_of_day
    everything = frame.everything
    if wanted is None:
        yield _NEUTRAL, everything
        return
    yield 2 * _NEUTRAL, _times_of_day(frame, (_PARTS_OF_DAY[wanted],))
    yield 0, everything


def _preference_classes(plan: Plan, provider: Provider, rows: Iterable[Preference]) -> Rows:
    """Yield the starts by what the provider's preferences say of them, the best first."""
    everything = plan.frame.everything
    found = [item for row in rows for item in _classes_of(plan, provider, row)]
    yield from sorted(found, key=lambda item: -item[0])
    yield _NEUTRAL, everything


def _classes_of(plan: Plan, provider: Provider, preference: Preference) -> Iterator[tuple[int, Bits]]:
    """Yield one preference's classes: all of its parts matched, all but one, …, none."""
    matches = _matches(plan, provider, preference)
    for count in range(len(matches), 0, -1):
        gain = _NEUTRAL * preference.weight * (2 * count - len(matches))
        yield _NEUTRAL + round(gain / (100 * len(matches))), timeline.at_least(matches, count)
    if matches:
        worst = _NEUTRAL - round(_NEUTRAL * preference.weight / 100)
        yield worst, plan.frame.everything


def _matches(plan: Plan, provider: Provider, preference: Preference) -> list[Bits]:
    """Return, for each part the preference has, the starts that match it."""
    frame, parts = plan.frame, []
    room_types, demands = plan.needs.of(provider)
    if preference.windows:
        parts.append(_times_of_day(frame, preference.windows))
    if preference.room_ids and allocation.needs_room(frame, plan.choice):
        liked = frozenset(preference.room_ids)
        blocked = allocation.room_blocked(frame, room_types, plan.choice, liked)
        parts.append(timeline.without(frame.everything, blocked))
    if preference.equipment_type:
        has_it = preference.equipment_type in demands
        parts.append(frame.everything if has_it else timeline.NEVER)
    return parts


def _compactness_classes(frame: Frame, provider: Provider) -> Classes:
    """Return the starts that touch a visit, that leave a crumb, and the others."""
    name = ("compactness", provider.schedule.fingerprint)
    return frame.kept(name, (provider.id,), lambda: _new_compactness_classes(frame, provider))


def _new_compactness_classes(frame: Frame, provider: Provider) -> Classes:
    """Work them out.

    `fits` holds the starts at which a visit like this one fits in between the provider's hours and visits; a
    crumb is free time beside the visit into which no such visit fits.
    """
    taken, opened = frame.taken(provider.id), frame.provider_open(provider)
    before, after = frame.lead_min, frame.duration_min + frame.tail_min
    whole = before + after
    free = timeline.without(opened, taken)
    fits = timeline.without(frame.provider_open_starts(provider), frame.provider_blocked(provider.id))
    touches = timeline.union(timeline.later(taken, before + 1), timeline.later(taken, -after))
    crumbs = timeline.union(
        timeline.without(timeline.later(free, before + 1), timeline.later(fits, whole)),
        timeline.without(timeline.later(free, -after), timeline.later(fits, -whole)),
    )
    touching, leaving = timeline.without(touches, crumbs), timeline.without(crumbs, touches)
    neither = timeline.without(timeline.without(frame.everything, touching), leaving)
    return ((COMPACT_MAX, touching), (0, leaving), (_COMPACT, neither))


def _times_of_day(frame: Frame, pairs: tuple[tuple[int, int], ...]) -> Bits:
    """Return the minutes whose wall clock lies in one of the half-open pairs of minutes of the day."""
    key = ("times", frame.zone, pairs, frame.horizon.start_min, frame.horizon.end_min)
    found: Bits | None = frame.cache.get(key)
    if found is None:
        found = frame.cache.put(key, timeline.intervals(frame.horizon, _wall_intervals(frame, pairs)))
    return found


def _wall_intervals(frame: Frame, pairs: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    """Yield the instants of the pairs on every local day, stretch by stretch of constant offset."""
    for start_min, end_min, offset in localtime.segments(
        frame.zone, frame.horizon.start_min, frame.horizon.end_min
    ):
        first_day = (start_min + offset) // timeline.DAY_MIN
        for day in range(first_day, (end_min - 1 + offset) // timeline.DAY_MIN + 1):
            midnight = day * timeline.DAY_MIN - offset
            for low, high in pairs:
                yield max(midnight + low, start_min), min(midnight + high, end_min)
