"""The conditions a start must meet, one by one: which starts each refuses, why, and what it follows from."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from scheduling import localtime, timeline
from scheduling.errors import Reason
from scheduling.facts import (
    START_AHEAD_MONTHS_MAX,
    START_PAST_DAYS_MAX,
    GridAnchor,
    Provider,
    ResourceKind,
    Rule,
    rules_of,
)
from scheduling.frame import Frame
from scheduling.rules.kind import Basis
from scheduling.rules.registry import LEAD_TIME, kind_of
from scheduling.timeline import Bits

_PROVIDER: Final = ResourceKind.PROVIDER
_ROUND_MIN: Final = (60, 30, 20, 15, 10, 5)


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
class Condition:
    """A check before it is asked of a provider; `basis` says how long its mask may be kept.

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


def binding_rules(frame: Frame) -> tuple[Rule, ...]:
    """Return the rules that bind the service, highest priority first."""
    key = ("rules", frame.static.serial, frame.service.id)
    found: tuple[Rule, ...] | None = frame.cache.get(key)
    return frame.cache.put(key, rules_of(frame.static, frame.service.id)) if found is None else found


def is_shared(rule: Rule) -> bool:
    """Tell whether the rule's mask is the same for every provider."""
    return not kind_of(rule).depends_on_provider


def moment_checks(frame: Frame) -> Iterator[Check]:
    """Yield how soon and how far from now a visit may start at all."""
    first_min = math.ceil(frame.now_min)
    oldest = frame.before(first_min - START_PAST_DAYS_MAX * timeline.DAY_MIN)
    past = timeline.without(frame.before(first_min), oldest)
    last_min = localtime.add_months(math.floor(frame.now_min), START_AHEAD_MONTHS_MAX)
    yield Check("lead_time", Reason.LEAD_TIME, oldest)
    yield Check("lead_time", Reason.LEAD_TIME, past, is_soft=True)
    yield Check("lead_time", Reason.TOO_FAR_AHEAD, frame.since(last_min + 1))


def grid_checks(frame: Frame) -> Iterator[Check]:
    """Yield the grid of starts, where it is the same for all providers."""
    if frame.anchor is GridAnchor.LOCAL_MIDNIGHT:
        off_grid = timeline.without(frame.everything, frame.grid())
        yield Check("grid", Reason.OFF_GRID, off_grid, is_soft=True)


def patient_checks(frame: Frame) -> Iterator[Check]:
    """Yield the condition that the patient is free, where it applies."""
    patient = frame.patient
    if patient is None or patient.is_placeholder or frame.service.allow_patient_overlap:
        return
    blocked = frame.blocked_starts(frame.taken(patient.id), 0, 0)
    yield Check("patient", Reason.PATIENT_ALREADY_BOOKED, blocked, False, ResourceKind.PATIENT, patient.id)


def provider_conditions(frame: Frame) -> Iterator[Condition]:
    """Yield the conditions that the provider works and is free."""
    closed, busy = partial(_closed, frame), partial(_busy, frame)
    yield Condition("hours", Reason.OUTSIDE_HOURS, closed, False, _PROVIDER, basis=Basis.DIARY)
    if frame.anchor is GridAnchor.WINDOW_START:
        yield Condition("grid", Reason.OFF_GRID, partial(_off_window_grid, frame), True, basis=Basis.DIARY)
    yield Condition("busy", Reason.SLOT_ALREADY_BOOKED, busy, False, _PROVIDER, basis=Basis.DIARY)


def _closed(frame: Frame, provider: Provider) -> Bits:
    """Return the starts from which the provider does not work long enough."""
    return timeline.without(frame.everything, frame.provider_open_starts(provider))


def _busy(frame: Frame, provider: Provider) -> Bits:
    """Return the starts at which the provider is taken."""
    return frame.provider_blocked(provider.id)


def _off_window_grid(frame: Frame, provider: Provider) -> Bits:
    """Return the starts off the grid that begins with each stretch of the provider's open time."""
    stretches = timeline.runs(frame.provider_open(provider), frame.horizon)
    on_grid = timeline.grids(frame.horizon, frame.service.slot_step_min, stretches)
    return timeline.without(frame.everything, on_grid)


def free_grid_check(frame: Frame, settled: Bits) -> Check:
    """Return the grid that begins anew wherever, in the window, the first of some `settled` starts is.

    A stretch of free time is a run of starts, for one ends where the other becomes too short. Those that the question
    refuses are in it: no start moves because time passes, or because it is asked for somebody else.
    """
    step = frame.service.slot_step_min
    free = timeline.both(settled, frame.starts_inside())
    stretches = ((_rounded_up(frame, low), high) for low, high in timeline.runs(free, frame.horizon))
    off_grid = timeline.without(frame.everything, timeline.grids(frame.horizon, step, stretches))
    return Check("grid", Reason.OFF_GRID, off_grid, is_soft=True)


def _rounded_up(frame: Frame, at_min: int) -> int:
    """Return the first round minute, as the clock at `at_min` goes on; what is round follows from the step."""
    step = frame.service.slot_step_min
    round_min = next((round_min for round_min in _ROUND_MIN if step % round_min == 0), 1)
    return at_min + -localtime.wall_at(frame.zone, at_min) % round_min


def rule_conditions(frame: Frame, rule: Rule) -> Iterator[Condition]:
    """Yield a rule's conditions: one, or two for a lead time, whose ends have reasons of their own."""
    kind = kind_of(rule)
    if kind is LEAD_TIME:
        too_soon, too_far = LEAD_TIME.too_soon(frame, rule), LEAD_TIME.too_far(frame, rule)
        for reason, refused in ((Reason.LEAD_TIME, too_soon), (Reason.TOO_FAR_AHEAD, too_far)):
            yield Condition(kind.rule_type, reason, partial(_for_all, refused), True, None, rule, kind.basis)
        return
    blocked = partial(kind.blocked, frame, rule)
    yield Condition(kind.rule_type, kind.reason, blocked, kind.is_soft, kind.subject_kind, rule, kind.basis)


def _for_all(refused: Bits, _provider: Provider) -> Bits:
    """Return what a rule refuses to every provider."""
    return refused
