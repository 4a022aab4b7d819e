"""What every rule type offers, and the little that all share."""

from collections.abc import Mapping
from typing import Protocol

from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, Rule
from scheduling.frame import Frame
from scheduling.timeline import Bits


class RuleKind(Protocol):
    """One rule type. The verdict on a proposal is its mask at that minute, so the two cannot differ."""

    rule_type: str
    reason: Reason
    is_soft: bool
    """Staff with an override may break it."""
    depends_on_provider: bool
    """False when its mask is the same for every provider that the rule binds."""
    subject_kind: ResourceKind | None

    def parse(self, payload: Mapping[str, object]) -> object:
        """Return the payload as the type's own value, or raise Invalid with every field that is wrong."""

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Return the starts that the rule refuses."""

    def sentence(self, rule: Rule) -> str:
        """Return what the rule says, for a person."""
