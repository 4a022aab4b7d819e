"""Rooms and equipment units: which are free for which starts, and which one a visit takes.

Pools are judged by unit: n units are free when n units are each free for the whole time; nothing is
renumbered. Units above a lowered capacity still count as use of the pool, so a pool of two with a visit on a
former third unit has room for one more.
"""

from collections.abc import Callable, Sequence
from typing import Final

from scheduling import timeline
from scheduling.facts import Equipment, EquipmentUnit, Preference, Provider, Room, RoomChoice, RoomMode
from scheduling.frame import Frame, Pool
from scheduling.timeline import Bits

ANY_ROOM: Final = RoomChoice()


def room_pool(frame: Frame, room: Room) -> Pool:
    """Return the room's units: each is taken with the buffers, or the room's turnaround if that is longer."""
    found = frame.pools.get(room.id)
    if found is None:
        after = max(frame.tail_min, room.turnaround_min)
        found = _pool(
            frame,
            room.id,
            room.concurrent_visits,
            open_starts=frame.room_open_starts(room),
            blocked=lambda taken: frame.blocked_starts(taken, frame.lead_min, after),
        )
        frame.pools[room.id] = found
    return found


def equipment_pool(frame: Frame, item: Equipment) -> Pool:
    """Return the item's units: each is taken for the visit and the item's turnaround."""
    found = frame.pools.get(item.id)
    if found is None:
        opened = frame.resource_open(item)
        found = _pool(
            frame,
            item.id,
            item.quantity,
            open_starts=None if opened is None else timeline.erode(opened, frame.duration_min),
            blocked=lambda taken: frame.blocked_starts(taken, 0, item.turnaround_min),
        )
        frame.pools[item.id] = found
    return found


def _pool(
    frame: Frame,
    resource_id: str,
    capacity: int,
    *,
    open_starts: Bits | None,
    blocked: Callable[[Bits], Bits],
) -> Pool:
    """Return the starts of every unit, and of one, two, … units together."""
    everything = frame.everything if open_starts is None else open_starts
    taken = frame.units(resource_id)
    units = [
        timeline.without(everything, blocked(taken[unit])) if unit in taken else everything
        for unit in range(1, capacity + 1)
    ]
    if capacity == 1 and not any(unit > 1 for unit in taken):
        return Pool(resource_id, units, units)
    levels = [timeline.at_least(units, count) for count in range(1, capacity + 1)]
    if any(unit > capacity for unit in taken):
        for index in range(capacity):
            crowded = timeline.at_least(list(taken.values()), capacity - index)
            levels[index] = timeline.without(levels[index], blocked(crowded))
    return Pool(resource_id, units, levels)


def rooms_of(frame: Frame, room_types: frozenset[str], only: frozenset[str] | None = None) -> list[Room]:
    """Return the active rooms that are of every type asked for, and among `only` when that is given."""
    known = frame.static.rooms_by_id
    rooms = frame.static.rooms if only is None else [known[found] for found in sorted(only) if found in known]
    return [room for room in rooms if room.active and all(room.room_type == wanted for wanted in room_types)]


def needs_room(frame: Frame, choice: RoomChoice) -> bool:
    """Tell whether a visit takes a room: when its service requires one, or one is named."""
    return choice.mode is RoomMode.SPECIFIC or frame.service.requires_room


def room_blocked(
    frame: Frame, room_types: frozenset[str], choice: RoomChoice, only: frozenset[str] | None
) -> Bits:
    """Return the starts for which no suitable room is free."""
    key = ("room", room_types, choice.room_id, only)
    found = frame.once(key)
    if found is None:
        rooms = rooms_for(frame, room_types, choice, only)

        def make() -> Bits:
            starts = timeline.union(*(room_pool(frame, room).levels[0] for room in rooms))
            return timeline.without(frame.everything, starts)

        name = ("rooms", *(room.fingerprint for room in rooms))
        found = frame.once(key, frame.kept(name, [room.id for room in rooms], make))
    return found or timeline.NEVER


def rooms_for(
    frame: Frame, room_types: frozenset[str], choice: RoomChoice, only: frozenset[str] | None
) -> list[Room]:
    """Return the rooms that will do."""
    if choice.room_id is None:
        return rooms_of(frame, room_types, only)
    return rooms_of(frame, room_types, frozenset({choice.room_id})) if _among(choice.room_id, only) else []


def room_pools(
    frame: Frame,
    room_types: frozenset[str],
    choice: RoomChoice = ANY_ROOM,
    only: frozenset[str] | None = None,
) -> list[Pool]:
    """Return the pools of the rooms that will do."""
    return [room_pool(frame, room) for room in rooms_for(frame, room_types, choice, only)]


def blocked_without_room_of_type(frame: Frame, room_type: str) -> Bits:
    """Return every start when the location has no active room of the type."""
    if not frame.service.requires_room or rooms_of(frame, frozenset({room_type})):
        return timeline.NEVER
    return frame.everything


def preferred_rooms(provider: Provider, service_id: str) -> tuple[str, ...]:
    """Return the rooms the provider prefers for a service, best first."""
    if not any(preference.room_ids for preference in provider.preferences):
        return ()
    ordered = sorted(preferences_for(provider, service_id), key=lambda found: -found.weight)
    return tuple(dict.fromkeys(room_id for preference in ordered for room_id in preference.room_ids))


def preferences_for(provider: Provider, service_id: str) -> list[Preference]:
    """Return the provider's preferences for the service; those for all services when it has none."""
    own = [found for found in provider.preferences if found.service_id == service_id]
    return own or [found for found in provider.preferences if found.service_id is None]


def best_first(pools: Sequence[Pool], preferred: Sequence[str]) -> list[Pool]:
    """Return the pools in the order in which they would be taken: preferred ones, then by id."""
    rank = {room_id: place for place, room_id in enumerate(preferred)}
    return sorted(pools, key=lambda pool: (rank.get(pool.resource_id, len(rank)), pool.resource_id))


def choose_room(frame: Frame, pools: Sequence[Pool], start_min: int) -> tuple[str, int] | None:
    """Return the first pool that can take a visit at `start_min`, and its lowest free unit."""
    for pool in pools:
        if timeline.has(pool.levels[0], frame.horizon, start_min):
            return pool.resource_id, _free_units(frame, pool, start_min)[0]
    return None


def equipment_pools(frame: Frame, equipment_type: str, only: frozenset[str] | None = None) -> list[Pool]:
    """Return the pools of the active items of a type: the location's own first, then shared ones, by id."""
    items = [
        item
        for item in frame.static.equipment
        if item.active
        and item.equipment_type == equipment_type
        and item.location_id in (None, frame.location.id)
        and _among(item.id, only)
    ]
    items.sort(key=lambda item: (item.location_id is None, item.id))
    return [equipment_pool(frame, item) for item in items]


def equipment_blocked(frame: Frame, equipment_type: str, units: int) -> Bits:
    """Return the starts for which fewer than `units` units of the type can be had."""
    return equipment_blocked_among(frame, equipment_type, units, None)


def equipment_blocked_among(
    frame: Frame, equipment_type: str, units: int, only: frozenset[str] | None
) -> Bits:
    """Return the same with only some items to choose from."""
    key = ("equipment", equipment_type, units, only)
    found = frame.once(key)
    if found is None:
        levels = [level for pool in equipment_pools(frame, equipment_type, only) for level in pool.levels]
        free = timeline.at_least(levels, units)
        found = frame.once(key, timeline.without(frame.everything, free))
    return found or timeline.NEVER


def choose_units(
    frame: Frame, pools: Sequence[Pool], units: int, start_min: int
) -> tuple[EquipmentUnit, ...]:
    """Return `units` units at `start_min`, the lowest of the first pools; fewer if there are not as many."""
    chosen: list[EquipmentUnit] = []
    for pool in pools:
        can_give = sum(timeline.has(level, frame.horizon, start_min) for level in pool.levels)
        free = _free_units(frame, pool, start_min)[: min(can_give, units - len(chosen))]
        chosen.extend(EquipmentUnit(pool.resource_id, unit) for unit in free)
    return tuple(chosen)


def _free_units(frame: Frame, pool: Pool, start_min: int) -> list[int]:
    """Return the numbers of the units that are free at `start_min`, lowest first."""
    return [
        number
        for number, starts in enumerate(pool.unit_starts, start=1)
        if timeline.has(starts, frame.horizon, start_min)
    ]


def _among(resource_id: str, only: frozenset[str] | None) -> bool:
    """Tell whether the resource may be chosen."""
    return only is None or resource_id in only
