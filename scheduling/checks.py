"""Every condition a start must meet, as masks: the one list that search, judge and explain all walk.

A check names the starts that it refuses. A search takes them all out of what the window holds; a verdict
looks at one minute of each; an explanation tells about each. What one of them says, the others cannot
contradict.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
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
from scheduling.rules.registry import LEAD_TIME, kind_of
from scheduling.rules.required_equipment_type import RequiredUnits
from scheduling.rules.room_type import RequiredRoomType
from scheduling.timeline import Bits, Probe

_PROVIDER: Final = ResourceKind.PROVIDER


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


class Plan:
    """The checks of one frame, and what rooms and equipment each provider's visits need.

    `only` restricts which rooms and equipment items may be chosen: those that a booking has locked.
    """

    __slots__ = (
        "_binding",
        "_common",
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
        self._own = [r for r in self._binding if r.provider_id is not None or not _is_shared(r)]
        self._common: list[Check] | None = None
        self._probes: dict[tuple[str, ...], Probe] = {}
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
            checks = [*_time_checks(self.frame), *_patient_checks(self.frame)]
            checks.extend(
                check for rule in self._shared for check in _rule_checks(self.frame, rule, provider)
            )
            self._common = checks
        return self._common

    def own(self, provider: Provider) -> Iterator[Check]:
        """Yield the checks of one provider, the ones that refuse most first."""
        frame = self.frame
        yield Check("hours", Reason.OUTSIDE_HOURS, self._closed(provider), False, _PROVIDER, provider.id)
        if frame.anchor is GridAnchor.WINDOW_START:
            yield Check("grid", Reason.OFF_GRID, self._off_window_grid(provider), True)
        taken = frame.provider_blocked(provider.id)
        yield Check("busy", Reason.SLOT_ALREADY_BOOKED, taken, False, _PROVIDER, provider.id)
        for rule in self._own:
            if rule.provider_id in (None, provider.id):
                yield from _rule_checks(frame, rule, provider)
        room_types, demands = self.needs(provider)
        if allocation.needs_room(frame, self.choice):
            blocked = allocation.room_blocked(frame, room_types, self.choice, self.only)
            yield Check("room", Reason.ROOM_ALREADY_BOOKED, blocked, False, ResourceKind.ROOM)
        if self.only is not None:
            for equipment_type, units in demands.items():
                blocked = allocation.equipment_blocked_among(frame, equipment_type, units, self.only)
                yield Check("equipment", Reason.EQUIPMENT_UNAVAILABLE, blocked, False, ResourceKind.EQUIPMENT)

    def starts(self, provider: Provider) -> Bits:
        """Return the starts that no check refuses."""
        starts = self.open_starts()
        for check in self.own(provider):
            starts = timeline.without(starts, check.blocked)
            if not starts:
                break
        return starts

    def open_starts(self) -> Bits:
        """Return the starts inside the window that no common check refuses."""
        found = self.frame.once(("common",))
        if found is None:
            starts = self.frame.starts_inside()
            for provider in self.providers()[:1]:
                for check in self.common(provider):
                    starts = timeline.without(starts, check.blocked)
            found = self.frame.once(("common",), starts)
        return found or timeline.NEVER

    def rules(self, provider: Provider) -> Iterator[Rule]:
        """Yield the rules that bind the service and this provider, highest priority first."""
        return (rule for rule in self._binding if rule.provider_id in (None, provider.id))

    def needs(self, provider: Provider) -> tuple[frozenset[str], dict[str, int]]:
        """Return the room types a visit's room must have, and how many units of which equipment it takes."""
        narrowed = any(rule.provider_id == provider.id for rule in self._own)
        key = provider.id if narrowed else None
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
        pools = self.pools(provider)
        key = tuple(pool.resource_id for pool in pools)
        found = self._probes.get(key)
        if found is None:
            named = ((pool.resource_id, pool.levels[0]) for pool in pools)
            found = self._probes[key] = Probe(named, self.frame.horizon)
        return found

    def _closed(self, provider: Provider) -> Bits:
        """Return the starts from which the provider does not work long enough."""
        frame = self.frame
        return timeline.without(frame.everything, frame.provider_open_starts(provider))

    def _off_window_grid(self, provider: Provider) -> Bits:
        """Return the starts off the grid that begins with each stretch of the provider's open time."""
        frame, step = self.frame, self.frame.service.slot_step_min
        opened = frame.provider_open(provider)
        on_grid = timeline.union(
            *(
                timeline.grid(frame.horizon, step, low, high)
                for low, high in timeline.runs(opened, frame.horizon)
            )
        )
        return timeline.without(frame.everything, on_grid)


def _is_shared(rule: Rule) -> bool:
    """Tell whether the rule's mask is the same for every provider."""
    return not kind_of(rule).depends_on_provider


def _time_checks(frame: Frame) -> Iterator[Check]:
    """Yield the conditions on the time alone."""
    first_min = math.ceil(frame.now_min)
    oldest = frame.before(first_min - START_PAST_DAYS_MAX * timeline.DAY_MIN)
    past = timeline.without(frame.before(first_min), oldest)
    last_min = localtime.add_months(math.floor(frame.now_min), START_AHEAD_MONTHS_MAX)
    yield Check("lead_time", Reason.LEAD_TIME, oldest)
    yield Check("lead_time", Reason.LEAD_TIME, past, is_soft=True)
    yield Check("lead_time", Reason.TOO_FAR_AHEAD, frame.since(last_min + 1))
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


def _rule_checks(frame: Frame, rule: Rule, provider: Provider) -> Iterator[Check]:
    """Yield a rule's conditions: one, or two for a lead time, whose ends have reasons of their own."""
    kind = kind_of(rule)
    if kind is LEAD_TIME:
        too_soon, too_far = LEAD_TIME.too_soon(frame, rule), LEAD_TIME.too_far(frame, rule)
        yield Check(kind.rule_type, Reason.LEAD_TIME, too_soon, True, None, rule.id, rule)
        yield Check(kind.rule_type, Reason.TOO_FAR_AHEAD, too_far, True, None, rule.id, rule)
        return
    blocked = kind.blocked(frame, rule, provider)
    yield Check(kind.rule_type, kind.reason, blocked, kind.is_soft, kind.subject_kind, rule.id, rule)
