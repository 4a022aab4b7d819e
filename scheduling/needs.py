"""What rooms and equipment each provider's visits need at a place, and the starts for which these are free.

Apart from the list of checks, which holds what is asked here: nothing of a question may hold itself, or its thousands
of masks would stay until the garbage collector comes for them, instead of being freed when it is answered.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from scheduling import allocation, timeline
from scheduling.conditions import Condition
from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, RoomChoice, Rule
from scheduling.frame import Frame, Pool
from scheduling.rules.required_equipment_type import RequiredUnits
from scheduling.rules.room_type import RequiredRoomType
from scheduling.timeline import Bits, Horizon, Probe

_NO_ROOMS: Final = Probe((), Horizon(0, 0))


class Needs:
    """The needs of one frame's visits, by the `rules` that bind their service.

    `only` restricts which rooms and equipment items may be chosen: those that a booking has locked.
    """

    __slots__ = ("_choice", "_found", "_frame", "_narrowed", "_only", "_pools", "_probes", "_rules")

    def __init__(
        self, frame: Frame, rules: Sequence[Rule], choice: RoomChoice, only: frozenset[str] | None
    ) -> None:
        self._frame, self._rules, self._choice, self._only = frame, rules, choice, only
        self._narrowed = frozenset(rule.provider_id for rule in rules if rule.provider_id is not None)
        self._found: dict[str | None, tuple[frozenset[str], dict[str, int]]] = {}
        self._pools: dict[tuple[frozenset[str], tuple[str, ...]], list[Pool]] = {}
        self._probes: dict[tuple[frozenset[str], tuple[str, ...]], Probe] = {}

    def of(self, provider: Provider) -> tuple[frozenset[str], dict[str, int]]:
        """Return the room types a visit's room must have, and how many units of which equipment it takes."""
        key = provider.id if provider.id in self._narrowed else None
        if key not in self._found:
            room_types: set[str] = set()
            demands: dict[str, int] = {}
            for rule in binding(self._rules, provider):
                if isinstance(rule.payload, RequiredRoomType):
                    room_types.add(rule.payload.room_type)
                elif isinstance(rule.payload, RequiredUnits):
                    wanted = rule.payload
                    demands[wanted.equipment_type] = max(
                        wanted.min_units, demands.get(wanted.equipment_type, 0)
                    )
            self._found[key] = frozenset(room_types), demands
        return self._found[key]

    def pools(self, provider: Provider) -> list[Pool]:
        """Return the rooms a provider's visit may take, best first; none when it takes no room."""
        if not allocation.needs_room(self._frame, self._choice):
            return []
        room_types, _ = self.of(provider)
        preferred = allocation.preferred_rooms(provider, self._frame.service.id)
        found = self._pools.get((room_types, preferred))
        if found is None:
            pools = allocation.room_pools(self._frame, room_types, self._choice, self._only)
            found = self._pools[room_types, preferred] = allocation.best_first(pools, preferred)
        return found

    def room_probe(self, provider: Provider) -> Probe:
        """Return the same rooms, ready to be asked which of them are free at a minute."""
        if not allocation.needs_room(self._frame, self._choice):
            return _NO_ROOMS
        room_types, _ = self.of(provider)
        key = (room_types, allocation.preferred_rooms(provider, self._frame.service.id))
        found = self._probes.get(key)
        if found is None:
            rooms = allocation.rooms_for(self._frame, room_types, self._choice, self._only)
            name = ("probe", key[1], *(room.fingerprint for room in rooms))
            found = self._frame.kept(name, [room.id for room in rooms], lambda: self._new_probe(provider))
            self._probes[key] = found
        return found

    def _new_probe(self, provider: Provider) -> Probe:
        """Return the provider's rooms packed for single minutes."""
        named = ((pool.resource_id, pool.levels[0]) for pool in self.pools(provider))
        return Probe(named, self._frame.horizon)

    def conditions(self) -> Iterator[Condition]:
        """Yield the conditions that a room is free, and the units that were locked, where they apply."""
        if allocation.needs_room(self._frame, self._choice):
            yield Condition("room", Reason.ROOM_ALREADY_BOOKED, self._roomless, False, ResourceKind.ROOM)
        if self._only is not None:
            yield Condition(
                "equipment",
                Reason.EQUIPMENT_UNAVAILABLE,
                self._short_of_equipment,
                False,
                ResourceKind.EQUIPMENT,
            )

    def _roomless(self, provider: Provider) -> Bits:
        """Return the starts for which no room of the provider's visit is free."""
        return allocation.room_blocked(self._frame, self.of(provider)[0], self._choice, self._only)

    def _short_of_equipment(self, provider: Provider) -> Bits:
        """Return the starts for which the equipment that may be chosen is too little."""
        demands = self.of(provider)[1]
        blocked = (
            allocation.equipment_blocked_among(self._frame, equipment_type, units, self._only)
            for equipment_type, units in demands.items()
        )
        return timeline.union(*blocked)


def binding(rules: Sequence[Rule], provider: Provider) -> Iterator[Rule]:
    """Yield those of a service's rules that bind this provider, in their order."""
    return (rule for rule in rules if rule.provider_id in (None, provider.id))
