"""`max_daily`: how many visits a local day of a location may hold.

Each visit claims a unit of the day's quota; the units guard the race, the count of live claims decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from scheduling import timeline
from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, Rule
from scheduling.frame import Frame
from scheduling.ids import quota_id, quota_ids
from scheduling.rules.kind import Basis
from scheduling.rules.payload import PayloadReader, payload_of
from scheduling.timeline import Bits


@dataclass(frozen=True, slots=True)
class DailyLimit:
    """The payload. Counted over all providers, or for each on its own."""

    max_per_day: int
    is_per_provider: bool


class MaxDaily:
    """Counts the visits that the rule binds, by the local day they start on."""

    rule_type = "max_daily"
    reason = Reason.MAX_DAILY_REACHED
    is_soft = True
    depends_on_provider = True
    basis = Basis.QUESTION
    subject_kind = ResourceKind.QUOTA

    def parse(self, payload: Mapping[str, object]) -> DailyLimit:
        """Read `max_per_day` and `scope`, which is `service` unless it is given."""
        reader = PayloadReader(self.rule_type, payload)
        limit = reader.required_number("max_per_day", 0, 10_000)
        scope = reader.choice("scope", ("service", "provider"), "service")
        reader.finish()
        return DailyLimit(limit, scope == "provider")

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse the starts on days whose quota is used up."""
        limit = payload_of(rule, DailyLimit)
        key = ("max_daily", rule.id, provider.id if limit.is_per_provider else None)
        found = frame.once(key)
        if found is None:
            days = frame.days()
            ids = quota_ids(rule.id, frame.location.id, days, provider.id if limit.is_per_provider else None)
            held = frame.busy.calendars
            full = [
                day
                for day, resource_id in zip(days, ids, strict=True)
                if (resource_id in held or not limit.max_per_day)
                and frame.is_used_up(resource_id, limit.max_per_day)
            ]
            found = frame.once(key, timeline.union(*map(frame.day, full))) or timeline.NEVER
        return found

    def resource_id(self, rule: Rule, location_id: str, provider_id: str, local_date: date) -> str:
        """Return the quota that a visit of the provider on that day counts against."""
        is_per_provider = payload_of(rule, DailyLimit).is_per_provider
        return quota_id(rule.id, location_id, local_date, provider_id if is_per_provider else None)

    def sentence(self, rule: Rule) -> str:
        """Say how many visits a day may hold."""
        limit = payload_of(rule, DailyLimit)
        whose = "of a provider " if limit.is_per_provider else ""
        return f"At most {limit.max_per_day} such visits {whose}a day."
