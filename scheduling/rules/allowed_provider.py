"""`allowed_provider`: only these providers offer the service."""

from collections.abc import Mapping
from dataclasses import dataclass

from scheduling import timeline
from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, Rule
from scheduling.frame import Frame
from scheduling.rules.kind import Basis
from scheduling.rules.payload import PayloadReader, payload_of
from scheduling.timeline import Bits


@dataclass(frozen=True, slots=True)
class AllowedProviders:
    """The payload."""

    provider_ids: frozenset[str]


class AllowedProvider:
    """Several such rules must all allow the provider."""

    rule_type = "allowed_provider"
    reason = Reason.PROVIDER_NOT_ALLOWED
    is_soft = False
    depends_on_provider = True
    basis = Basis.PLACE
    subject_kind = ResourceKind.PROVIDER

    def parse(self, payload: Mapping[str, object]) -> AllowedProviders:
        """Read `provider_ids`."""
        reader = PayloadReader(self.rule_type, payload)
        found = AllowedProviders(frozenset(reader.ids("provider_ids")))
        reader.finish()
        return found

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse everything to a provider who is not named."""
        return timeline.NEVER if self.allows(rule, provider.id) else frame.everything

    def allows(self, rule: Rule, provider_id: str) -> bool:
        """Tell whether the rule names the provider."""
        return provider_id in payload_of(rule, AllowedProviders).provider_ids

    def sentence(self, rule: Rule) -> str:
        """Say how many providers offer the service."""
        count = len(payload_of(rule, AllowedProviders).provider_ids)
        return f"Only {count} named {'provider offers' if count == 1 else 'providers offer'} this service."
