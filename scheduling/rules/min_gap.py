"""`min_gap`: minutes between one visit's end and the next one's start, for one provider.

Each visit claims [start, end + gap) of the (rule, provider), so that two of them can never be closer, in
either order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, Rule
from scheduling.frame import Frame
from scheduling.ids import gap_id
from scheduling.rules.kind import Basis
from scheduling.rules.payload import PayloadReader, payload_of
from scheduling.timeline import Bits

GAP_MIN_MAX = 1440


@dataclass(frozen=True, slots=True)
class Gap:
    """The payload."""

    min_gap_minutes: int


class MinGap:
    """Among visits of the rule's service, or of all services when it names none."""

    rule_type = "min_gap"
    reason = Reason.MIN_GAP
    is_soft = False
    depends_on_provider = True
    basis = Basis.DIARY
    subject_kind = ResourceKind.PROVIDER

    def parse(self, payload: Mapping[str, object]) -> Gap:
        """Read `min_gap_minutes`."""
        reader = PayloadReader(self.rule_type, payload)
        found = Gap(reader.required_number("min_gap_minutes", 1, GAP_MIN_MAX))
        reader.finish()
        return found

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse the starts whose own gap claim would touch another's."""
        taken = frame.taken(gap_id(rule.id, provider.id))
        return frame.blocked_starts(taken, 0, payload_of(rule, Gap).min_gap_minutes)

    def sentence(self, rule: Rule) -> str:
        """Say how far apart visits must be."""
        minutes = payload_of(rule, Gap).min_gap_minutes
        return f"At least {minutes} minutes must lie between two such visits of a provider."
