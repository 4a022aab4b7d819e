"""Every condition a start must meet, as masks: the one list that search, judge and explain all walk.

A check names the starts that it refuses. A search takes them all out of what the window holds; a verdict
looks at one minute of each; an explanation tells about each. What one of them says, the others cannot
contradict.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from scheduling import allocation, localtime, timeline
from scheduling.errors import Reason
from scheduling.facts import (
    START_AHEAD_MONTHS_MAX,
    START_PAST_DAYS_MAX,
    GridAnchor,
    Provider,
    ResourceKind,
    RoomChoice,
    Rule,
    rules_of,
)
from scheduling.frame import Frame, Pool
from scheduling.ids import gap_id
from scheduling.rules.kind import Basis
from scheduling.rules.min_gap import Gap
from scheduling.rules.payload import payload_of
from scheduling.rules.registry import LEAD_TIME, kind_of
from scheduling.rules.required_equipment_type import RequiredUnits
from scheduling.rules.room_type import RequiredRoomType
from scheduling.timeline import Bits, Horizon, Probe

_PROVIDER: Final = ResourceKind.PROVIDER
_NO_ROOMS: Final = Probe((), Horizon(0, 0))


@dataclass(slots=True)
class Check:
    """One condition: the starts it refuses, why, and what it is about."""

    name: str
    reason: Reason
    blocked: Bits
    is_soft: bool = False
    subject_kind: ResourceKind | None = None
    subject_id: str = ""
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class _Condition:
    """A check before it is asked of a provider.

    `binds` is the only provider that it is about, None for all.
    """

    name: str
    reason: Reason
    blocked: Callable[[Provider], Bits]
    is_soft: bool = False
    subject_kind: ResourceKind | None = None
    rule: Rule | None = None
    basis: Basis = Basis.PLACE

    @property
    def binds(self) -> str | None:
        """The rule's provider, if it names one."""
        return None if self.rule is None else self.rule.provider_id

    def check(self, provider: Provider) -> Check:
        """Return the check of one provider."""
        subject = "" if self.subject_kind is not _PROVIDER else provider.id
        if self.rule is not None:
            subject = self.rule.id
        return Check(
            self.name,
            self.reason,
            self.blocked(provider),
            self.is_soft,
            self.subject_kind,
            subject,
            self.rule,
        )


class Plan:
    """The checks of one frame, and what rooms and equipment each provider's visits need.

    `only` restricts which rooms and equipment items may be chosen: those that a booking has locked.
    """

    __slots__ = (
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
        self._binding = rules_of(frame.static, frame.service.id)
        self._shared = [r for r in self._binding if r.provider_id is None and _is_shared(r)]
        self._narrowed = frozenset(r.provider_id for r in self._binding if r.provider_id is not None)
        self._own = [
            *_provider_conditions(frame),
            *(
                condition
                for rule in self._binding
                if rule.provider_id is not None or not _is_shared(rule)
                for condition in _rule_conditions(frame, rule)
            ),
            *self._pool_conditions(),
        ]
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
                *_moment_checks(self.frame),
                *_grid_checks(self.frame),
                *_patient_checks(self.frame),
            ]
            checks.extend(
                condition.check(provider)
                for rule in self._shared
                for condition in _rule_conditions(self.frame, rule)
            )
            self._common = checks
        return self._common

    def own(self, provider: Provider) -> Iterator[Check]:
        """Yield the checks of one provider, the ones that refuse most first."""
        for condition in self._own:
            if condition.binds in (None, provider.id):
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
        for condition in self._own:
            if condition.basis is Basis.QUESTION and starts and condition.binds in (None, provider.id):
                starts = timeline.without(starts, condition.blocked(provider))
        return starts

    def settled_starts(self, provider: Provider) -> Bits:
        """Return the starts in the horizon that follow from what the place has and what is taken there."""
        starts = self._diary_starts(provider)
        for condition in self._own:
            if condition.basis is Basis.PLACE and starts and condition.binds in (None, provider.id):
                starts = timeline.without(starts, condition.blocked(provider))
        return timeline.both(starts, self._place_starts(provider)) if starts else starts

    def _diary_starts(self, provider: Provider) -> Bits:
        """Return the starts that the provider's hours, visits and gaps leave."""
        frame = self.frame
        conditions = [c for c in self._own if c.basis is Basis.DIARY and c.binds in (None, provider.id)]
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
            for check in (*_grid_checks(self.frame), *self._shared_checks(provider, is_of_question=False)):
                starts = timeline.without(starts, check.blocked)
            found = self.frame.once(("place",), starts)
        return found or timeline.NEVER

    def open_starts(self) -> Bits:
        """Return the starts inside the window that the question alone does not refuse to anybody."""
        found = self.frame.once(("open",))
        if found is None:
            starts = self.frame.starts_inside()
            for check in (*_moment_checks(self.frame), *_patient_checks(self.frame)):
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
                for condition in _rule_conditions(self.frame, rule):
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

    def _pool_conditions(self) -> Iterator[_Condition]:
        """Yield the conditions that a room is free, and the units that were locked, where they apply."""
        if allocation.needs_room(self.frame, self.choice):
            yield _Condition("room", Reason.ROOM_ALREADY_BOOKED, self._roomless, False, ResourceKind.ROOM)
        if self.only is not None:
            yield _Condition(
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


def _is_shared(rule: Rule) -> bool:
    """Tell whether the rule's mask is the same for every provider."""
    return not kind_of(rule).depends_on_provider


def _moment_checks(frame: Frame) -> Iterator[Check]:
    """Yield how soon and how far from now a visit may start at all."""
    first_min = math.ceil(frame.now_min)
    oldest = frame.before(first_min - START_PAST_DAYS_MAX * timeline.DAY_MIN)
    past = timeline.without(frame.before(first_min), oldest)
    last_min = localtime.add_months(math.floor(frame.now_min), START_AHEAD_MONTHS_MAX)
    yield Check("lead_time", Reason.LEAD_TIME, oldest)
    yield Check("lead_time", Reason.LEAD_TIME, past, is_soft=True)
    yield Check("lead_time", Reason.TOO_FAR_AHEAD, frame.since(last_min + 1))


def _grid_checks(frame: Frame) -> Iterator[Check]:
    """Yield the grid of starts, where it is the same for all providers."""
    if frame.anchor is GridAnchor.LOCAL_MIDNIGHT:
        off_grid = timeline.without(frame.everything, frame.grid())
        yield Check("grid", Reason.OFF_GRID, off_grid, is_soft=True)


def _patient_checks(frame: Frame) -> Iterator[Check]:
    """Yield the condition that the patient is free, where it applies."""
    patient = frame.patient
    if patient is None or patient.is_placeholder or frame.service.allow_patient_overlap:
        return
    blocked = frame.blocked_starts(frame.taken(patient.id), 0, 0)
    yield Check("patient", Reason.PATIENT_ALREADY_BOOKED, blocked, False, ResourceKind.PATIENT, patient.id)


def _provider_conditions(frame: Frame) -> Iterator[_Condition]:
    """Yield the conditions that the provider works and is free."""
    closed, busy = partial(_closed, frame), partial(_busy, frame)
    yield _Condition("hours", Reason.OUTSIDE_HOURS, closed, False, _PROVIDER, basis=Basis.DIARY)
    if frame.anchor is GridAnchor.WINDOW_START:
        yield _Condition("grid", Reason.OFF_GRID, partial(_off_window_grid, frame), True, basis=Basis.DIARY)
    yield _Condition("busy", Reason.SLOT_ALREADY_BOOKED, busy, False, _PROVIDER, basis=Basis.DIARY)


def _closed(frame: Frame, provider: Provider) -> Bits:
    """Return the starts from which the provider does not work long enough."""
    return timeline.without(frame.everything, frame.provider_open_starts(provider))


def _busy(frame: Frame, provider: Provider) -> Bits:
    """Return the starts at which the provider is taken."""
    return frame.provider_blocked(provider.id)


def _off_window_grid(frame: Frame, provider: Provider) -> Bits:
    """Return the starts off the grid that begins with each stretch of the provider's open time."""
    step, opened = frame.service.slot_step_min, frame.provider_open(provider)
    on_grid = timeline.union(
        *(timeline.grid(frame.horizon, step, low, high) for low, high in timeline.runs(opened, frame.horizon))
    )
    return timeline.without(frame.everything, on_grid)


def _rule_conditions(frame: Frame, rule: Rule) -> Iterator[_Condition]:
    """Yield a rule's conditions: one, or two for a lead time, whose ends have reasons of their own."""
    kind = kind_of(rule)
    if kind is LEAD_TIME:
        too_soon, too_far = LEAD_TIME.too_soon(frame, rule), LEAD_TIME.too_far(frame, rule)
        for reason, refused in ((Reason.LEAD_TIME, too_soon), (Reason.TOO_FAR_AHEAD, too_far)):
            yield _Condition(kind.rule_type, reason, partial(_for_all, refused), True, None, rule, kind.basis)
        return
    blocked = partial(kind.blocked, frame, rule)
    yield _Condition(kind.rule_type, kind.reason, blocked, kind.is_soft, kind.subject_kind, rule, kind.basis)


def _for_all(refused: Bits, _provider: Provider) -> Bits:
    """Return what a rule refuses to every provider."""
    return refused
