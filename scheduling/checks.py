"""Every condition a start must meet, as masks: the one list that search, judge and explain all walk.

A check names the starts that it refuses. A search takes them all out of what the window holds; a verdict
looks at one minute of each; an explanation tells about each. What one of them says, the others cannot
contradict.
"""

from collections.abc import Iterator
from typing import Final

from scheduling import allocation, timeline
from scheduling.conditions import (
    Check,
    Condition,
    binding_rules,
    free_grid_check,
    grid_checks,
    is_shared,
    moment_checks,
    patient_checks,
    provider_conditions,
    rule_conditions,
)
from scheduling.errors import Reason
from scheduling.facts import GridAnchor, Provider, ResourceKind, RoomChoice, Rule
from scheduling.frame import Frame, Pool
from scheduling.ids import gap_id
from scheduling.rules.kind import Basis
from scheduling.rules.min_gap import Gap
from scheduling.rules.payload import payload_of
from scheduling.rules.registry import kind_of
from scheduling.rules.required_equipment_type import RequiredUnits
from scheduling.rules.room_type import RequiredRoomType
from scheduling.timeline import Bits, Horizon, Probe

_NO_ROOMS: Final = Probe((), Horizon(0, 0))


class Plan:
    """The checks of one frame, and what rooms and equipment each provider's visits need.

    `only` restricts which rooms and equipment items may be chosen: those that a booking has locked.
    """

    __slots__ = (
        "_asked",
        "_binding",
        "_common",
        "_narrowed",
        "_needs",
        "_own",
        "_pools",
        "_probes",
        "_shared",
        "choice",
        "frame",
        "only",
    )

    def __init__(
        self, frame: Frame, choice: RoomChoice = allocation.ANY_ROOM, only: frozenset[str] | None = None
    ) -> None:
        self.frame, self.choice, self.only = frame, choice, only
        self._binding = binding_rules(frame)
        self._shared = [r for r in self._binding if r.provider_id is None and is_shared(r)]
        self._narrowed = frozenset(r.provider_id for r in self._binding if r.provider_id is not None)
        self._asked = [
            condition
            for rule in self._binding
            if kind_of(rule).basis is Basis.QUESTION and rule not in self._shared
            for condition in rule_conditions(frame, rule)
        ]
        self._own: list[Condition] | None = None
        self._common: list[Check] | None = None
        self._probes: dict[tuple[frozenset[str], tuple[str, ...]], Probe] = {}
        self._pools: dict[tuple[frozenset[str], tuple[str, ...]], list[Pool]] = {}
        self._needs: dict[str | None, tuple[frozenset[str], dict[str, int]]] = {}

    def providers(self) -> list[Provider]:
        """Return the active providers asked for, by id; all of them when none are named."""
        wanted = self.frame.request.provider_ids
        found = [
            provider
            for provider in self.frame.static.providers
            if provider.active and (wanted is None or provider.id in wanted)
        ]
        return sorted(found, key=lambda provider: provider.id)

    def common(self, provider: Provider) -> list[Check]:
        """Return the checks that are the same for every provider; any provider will do."""
        if self._common is None:
            checks = [
                *moment_checks(self.frame),
                *grid_checks(self.frame),
                *patient_checks(self.frame),
            ]
            checks.extend(
                condition.check(provider)
                for rule in self._shared
                for condition in rule_conditions(self.frame, rule)
            )
            self._common = checks
        return self._common

    def own(self, provider: Provider) -> Iterator[Check]:
        """Yield the checks of one provider, the ones that refuse most first."""
        for condition in self._own_conditions():
            if condition.binds in (None, provider.id):
                yield condition.check(provider)
        if self.frame.anchor is GridAnchor.FREE_START_CEIL:
            yield free_grid_check(self.frame, self.settled_starts(provider))

    def _own_conditions(self) -> list[Condition]:
        """Return the conditions that may differ from provider to provider."""
        if self._own is None:
            self._own = [
                *provider_conditions(self.frame),
                *(
                    condition
                    for rule in self._binding
                    if rule.provider_id is not None or not is_shared(rule)
                    for condition in rule_conditions(self.frame, rule)
                ),
                *self._pool_conditions(),
            ]
        return self._own

    def of_patient(self, provider: Provider) -> Iterator[Check]:
        """Yield the checks that are about the patient alone: that it is free, and within its limits."""
        yield from patient_checks(self.frame)
        for rule in self.rules(provider):
            if kind_of(rule).subject_kind is ResourceKind.PATIENT:
                for condition in rule_conditions(self.frame, rule):
                    yield condition.check(provider)

    def starts(self, provider: Provider) -> Bits:
        """Return the starts that no check refuses."""
        return self.asked_of(provider, self.settled_starts(provider))

    def offered(self) -> tuple[tuple[str, Bits], ...]:
        """Return the providers that may have starts, and the starts that nothing but the question can refuse."""

        def make() -> tuple[tuple[str, Bits], ...]:
            found = ((provider.id, self.settled_starts(provider)) for provider in self.providers())
            return tuple((provider_id, starts) for provider_id, starts in found if starts)

        return self.frame.kept_of_place(("offered", self.choice, self.only), make)

    def asked_of(self, provider: Provider, settled: Bits) -> Bits:
        """Return those of a provider's settled starts that the question does not refuse either."""
        starts = timeline.both(self.open_starts(), settled)
        for condition in self._asked:
            if starts and condition.binds in (None, provider.id):
                starts = timeline.without(starts, condition.blocked(provider))
        if self.frame.anchor is GridAnchor.FREE_START_CEIL:
            starts = timeline.without(starts, free_grid_check(self.frame, settled).blocked)
        return starts

    def settled_starts(self, provider: Provider) -> Bits:
        """Return the starts in the horizon that follow from what the place has and what is taken there."""
        starts = self._diary_starts(provider)
        for condition in self._own_conditions():
            if condition.basis is Basis.PLACE and starts and condition.binds in (None, provider.id):
                starts = timeline.without(starts, condition.blocked(provider))
        return timeline.both(starts, self._place_starts(provider)) if starts else starts

    def _diary_starts(self, provider: Provider) -> Bits:
        """Return the starts that the provider's hours, visits and gaps leave."""
        frame = self.frame
        conditions = [
            c for c in self._own_conditions() if c.basis is Basis.DIARY and c.binds in (None, provider.id)
        ]
        rules = [condition.rule for condition in conditions if condition.rule is not None]
        gaps = [(gap_id(rule.id, provider.id), payload_of(rule, Gap).min_gap_minutes) for rule in rules]

        def make() -> Bits:
            starts = frame.everything
            for condition in conditions:
                starts = timeline.without(starts, condition.blocked(provider))
            return starts

        name = ("diary", provider.schedule.fingerprint, frame.anchor, frame.service.slot_step_min, *gaps)
        return frame.kept(name, (provider.id, *(resource_id for resource_id, _ in gaps)), make)

    def _place_starts(self, provider: Provider) -> Bits:
        """Return the starts on the grid that the place leaves to every provider; any provider will do."""
        found = self.frame.once(("place",))
        if found is None:
            starts = self.frame.everything
            for check in (*grid_checks(self.frame), *self._shared_checks(provider, is_of_question=False)):
                starts = timeline.without(starts, check.blocked)
            found = self.frame.once(("place",), starts)
        return found or timeline.NEVER

    def open_starts(self) -> Bits:
        """Return the starts inside the window that the question alone does not refuse to anybody."""
        found = self.frame.once(("open",))
        if found is None:
            starts = self.frame.starts_inside()
            for check in (*moment_checks(self.frame), *patient_checks(self.frame)):
                starts = timeline.without(starts, check.blocked)
            for provider in self.frame.static.providers[:1]:
                for check in self._shared_checks(provider, is_of_question=True):
                    starts = timeline.without(starts, check.blocked)
            found = self.frame.once(("open",), starts)
        return found or timeline.NEVER

    def _shared_checks(self, provider: Provider, *, is_of_question: bool) -> Iterator[Check]:
        """Yield the checks of shared rules that follow from the question, or those that do not."""
        for rule in self._shared:
            if (kind_of(rule).basis is Basis.QUESTION) is is_of_question:
                for condition in rule_conditions(self.frame, rule):
                    yield condition.check(provider)

    def rules(self, provider: Provider) -> Iterator[Rule]:
        """Yield the rules that bind the service and this provider, highest priority first."""
        return (rule for rule in self._binding if rule.provider_id in (None, provider.id))

    def needs(self, provider: Provider) -> tuple[frozenset[str], dict[str, int]]:
        """Return the room types a visit's room must have, and how many units of which equipment it takes."""
        key = provider.id if provider.id in self._narrowed else None
        if key not in self._needs:
            room_types: set[str] = set()
            demands: dict[str, int] = {}
            for rule in self.rules(provider):
                if isinstance(rule.payload, RequiredRoomType):
                    room_types.add(rule.payload.room_type)
                elif isinstance(rule.payload, RequiredUnits):
                    wanted = rule.payload
                    demands[wanted.equipment_type] = max(
                        wanted.min_units, demands.get(wanted.equipment_type, 0)
                    )
            self._needs[key] = frozenset(room_types), demands
        return self._needs[key]

    def pools(self, provider: Provider) -> list[Pool]:
        """Return the rooms a provider's visit may take, best first; none when it takes no room."""
        if not allocation.needs_room(self.frame, self.choice):
            return []
        room_types, _ = self.needs(provider)
        preferred = allocation.preferred_rooms(provider, self.frame.service.id)
        found = self._pools.get((room_types, preferred))
        if found is None:
            pools = allocation.room_pools(self.frame, room_types, self.choice, self.only)
            found = self._pools[room_types, preferred] = allocation.best_first(pools, preferred)
        return found

    def room_probe(self, provider: Provider) -> Probe:
        """Return the same rooms, ready to be asked which of them are free at a minute."""
        if not allocation.needs_room(self.frame, self.choice):
            return _NO_ROOMS
        room_types, _ = self.needs(provider)
        key = (room_types, allocation.preferred_rooms(provider, self.frame.service.id))
        found = self._probes.get(key)
        if found is None:
            rooms = allocation.rooms_for(self.frame, room_types, self.choice, self.only)
            name = ("probe", key[1], *(room.fingerprint for room in rooms))
            found = self.frame.kept(name, [room.id for room in rooms], lambda: self._new_probe(provider))
            self._probes[key] = found
        return found

    def _new_probe(self, provider: Provider) -> Probe:
        """Return the provider's rooms packed for single minutes."""
        named = ((pool.resource_id, pool.levels[0]) for pool in self.pools(provider))
        return Probe(named, self.frame.horizon)

    def _pool_conditions(self) -> Iterator[Condition]:
        """Yield the conditions that a room is free, and the units that were locked, where they apply."""
        if allocation.needs_room(self.frame, self.choice):
            yield Condition("room", Reason.ROOM_ALREADY_BOOKED, self._roomless, False, ResourceKind.ROOM)
        if self.only is not None:
            yield Condition(
                "equipment",
                Reason.EQUIPMENT_UNAVAILABLE,
                self._short_of_equipment,
                False,
                ResourceKind.EQUIPMENT,
            )

    def _roomless(self, provider: Provider) -> Bits:
        """Return the starts for which no room of the provider's visit is free."""
        return allocation.room_blocked(self.frame, self.needs(provider)[0], self.choice, self.only)

    def _short_of_equipment(self, provider: Provider) -> Bits:
        """Return the starts for which the equipment that may be chosen is too little."""
        demands = self.needs(provider)[1]
        blocked = (
            allocation.equipment_blocked_among(self.frame, equipment_type, units, self.only)
            for equipment_type, units in demands.items()
        )
        return timeline.union(*blocked)
