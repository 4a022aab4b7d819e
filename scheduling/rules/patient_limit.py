"""`patient_limit`: how many visits one patient may have ahead, and how far apart they must be."""

# ruff: noqa: ARG002 - every rule type is asked with the provider, also where it makes no difference

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from scheduling import localtime, timeline
from scheduling.appointment import ACTIVE, TOOK_PLACE_OR_WILL
from scheduling.errors import Reason
from scheduling.facts import PatientVisit, Provider, ResourceKind, Rule
from scheduling.frame import Frame
from scheduling.rules.kind import Basis
from scheduling.rules.payload import PayloadReader, payload_of
from scheduling.timeline import Bits

DAYS_MAX = 730


@dataclass(frozen=True, slots=True)
class PatientLimits:
    """The payload; None where a part is absent."""

    max_active: int | None
    min_days_between: int | None


class PatientLimit:
    """Visits of the rule's service count, or all when it names none. Nothing is judged without a patient."""

    rule_type = "patient_limit"
    reason = Reason.PATIENT_LIMIT
    is_soft = True
    depends_on_provider = False
    basis = Basis.QUESTION
    subject_kind = ResourceKind.PATIENT

    def parse(self, payload: Mapping[str, object]) -> PatientLimits:
        """Read `max_active` and `min_days_between`, at least one of them."""
        reader = PayloadReader(self.rule_type, payload)
        found = PatientLimits(
            reader.number("max_active", 1, 1_000), reader.number("min_days_between", 1, DAYS_MAX)
        )
        if found == PatientLimits(None, None) and reader.is_good:
            reader.refuse("max_active", "one of max_active and min_days_between is required")
        reader.finish()
        return found

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse everything once the patient has enough visits, and the days around each visit."""
        limits = payload_of(rule, PatientLimits)
        visits = list(self._visits(frame, rule))
        if limits.max_active is not None:
            ahead = [v for v in visits if v.status in ACTIVE and v.start_min >= frame.now_min]
            if len(ahead) >= limits.max_active:
                return frame.everything
        if limits.min_days_between is None:
            return timeline.NEVER
        return timeline.union(*(_days_around(frame, visit, limits.min_days_between) for visit in visits))

    def _visits(self, frame: Frame, rule: Rule) -> Iterator[PatientVisit]:
        """Yield the patient's visits that the rule counts."""
        for visit in frame.patient_visits():
            if visit.status in TOOK_PLACE_OR_WILL and rule.service_id in (None, visit.service_id):
                yield visit

    def sentence(self, rule: Rule) -> str:
        """Say what the limits are."""
        limits = payload_of(rule, PatientLimits)
        parts = []
        if limits.max_active is not None:
            parts.append(f"at most {limits.max_active} future visits")
        if limits.min_days_between is not None:
            parts.append(f"at least {limits.min_days_between} days between two visits")
        return f"For one patient: {', '.join(parts)}."


def _days_around(frame: Frame, visit: PatientVisit, days: int) -> Bits:
    """Return the local days that lie less than `days` days from the visit's own."""
    day = localtime.day_at(frame.zone, visit.start_min)
    low, _ = localtime.day_bounds(frame.zone, day - timedelta(days=days - 1))
    _, high = localtime.day_bounds(frame.zone, day + timedelta(days=days - 1))
    return timeline.interval(frame.horizon, low, high)
