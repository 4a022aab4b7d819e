"""Every condition a start must meet, as masks: the one list that search, judge and explain all walk.

A check names the starts that it refuses. A search takes them all out of what the window holds; a verdict
looks at one minute of each; an explanation tells about each. What one of them says, the others cannot
contradict.
"""

from collections.abc import Iterator

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
from scheduling.facts import GridAnchor, Provider, ResourceKind, RoomChoice, Rule
from scheduling.frame import Frame
from scheduling.ids import gap_id
from scheduling.needs import Needs, binding
from scheduling.rules.kind import Basis
from scheduling.rules.min_gap import Gap
from scheduling.rules.payload import payload_of
from scheduling.rules.registry import kind_of
from scheduling.timeline import Bits


class Plan:
    """The checks of one frame, and what rooms and equipment each provider's visits need.

    `only` restricts which rooms and equipment items may be chosen: those that a booking has locked.
    """

    __slots__ = (
        "_asked",
        "_binding",
        "_common",
        "_own",
        "_shared",
        "choice",
        "frame",
        "needs",
        "only",
    )

    def __init__(
        self, frame: Frame, choice: RoomChoice = allocation.ANY_ROOM, only: frozenset[str] | None = None
    ) -> None:
        self.frame, self.choice, self.only = frame, choice, only
        self._binding = binding_rules(frame)
        self._shared = [r for r in self._binding if r.provider_id is None and is_shared(r)]
        self.needs = Needs(frame, self._binding, choice, only)
        self._asked = [
            condition
            for rule in self._binding
            if kind_of(rule).basis is Basis.QUESTION and rule not in self._shared
            for condition in rule_conditions(frame, rule)
        ]
        self._own: list[Condition] | None = None
        self._common: list[Check] | None = None

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
                *self.needs.conditions(),
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
        return binding(self._binding, provider)
