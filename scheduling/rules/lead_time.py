"""`lead_time`: how soon and how far ahead a visit may be booked, from now."""

# ruff: noqa: ARG002 - every rule type is asked with the provider, also where it makes no difference

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from scheduling import localtime, timeline
from scheduling.errors import Reason
from scheduling.facts import Provider, Rule
from scheduling.frame import Frame
from scheduling.rules.kind import Basis
from scheduling.rules.payload import PayloadReader, payload_of
from scheduling.timeline import Bits

MINUTES_MAX = 525_600
DAYS_AHEAD_MAX = 731


@dataclass(frozen=True, slots=True)
class Lead:
    """The payload; None where a part is absent."""

    min_minutes: int | None
    no_same_day: bool
    max_days_ahead: int | None


class LeadTime:
    """Days are the location's. Starts too far ahead are refused with a reason of their own."""

    rule_type = "lead_time"
    reason = Reason.LEAD_TIME
    is_soft = True
    depends_on_provider = False
    basis = Basis.QUESTION
    subject_kind = None

    def parse(self, payload: Mapping[str, object]) -> Lead:
        """Read `min_minutes`, `no_same_day` and `max_days_ahead`, at least one of them."""
        reader = PayloadReader(self.rule_type, payload)
        found = Lead(
            reader.number("min_minutes", 0, MINUTES_MAX),
            reader.flag("no_same_day"),
            reader.number("max_days_ahead", 0, DAYS_AHEAD_MAX),
        )
        if found == Lead(None, False, None) and reader.is_good:
            reader.refuse("min_minutes", "one of min_minutes, no_same_day and max_days_ahead is required")
        reader.finish()
        return found

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse what is too soon and what is too far ahead."""
        return timeline.union(self.too_soon(frame, rule), self.too_far(frame, rule))

    def too_soon(self, frame: Frame, rule: Rule) -> Bits:
        """Return the starts before the notice is over, and today's where the rule says so."""
        lead = payload_of(rule, Lead)
        earliest_min = math.ceil(frame.now_min + (lead.min_minutes or 0))
        if lead.no_same_day:
            today = localtime.day_at(frame.zone, math.floor(frame.now_min))
            earliest_min = max(earliest_min, localtime.day_bounds(frame.zone, today)[1])
        return frame.before(earliest_min)

    def too_far(self, frame: Frame, rule: Rule) -> Bits:
        """Return the starts after the last local day that may be booked."""
        lead = payload_of(rule, Lead)
        if lead.max_days_ahead is None:
            return timeline.NEVER
        today = localtime.day_at(frame.zone, math.floor(frame.now_min))
        last_day = today + timedelta(days=lead.max_days_ahead)
        return frame.since(localtime.day_bounds(frame.zone, last_day)[1])

    def sentence(self, rule: Rule) -> str:
        """Say how soon and how far ahead."""
        lead = payload_of(rule, Lead)
        parts = []
        if lead.min_minutes is not None:
            parts.append(f"at least {lead.min_minutes} minutes ahead")
        if lead.no_same_day:
            parts.append("not on the same day")
        if lead.max_days_ahead is not None:
            parts.append(f"at most {lead.max_days_ahead} days ahead")
        return f"May be booked {', '.join(parts) or 'at any time'}."
