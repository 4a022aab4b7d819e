"""`blackout_dates`: local days on which the service is not given."""

# ruff: noqa: ARG002 - every rule type is asked with the provider, also where it makes no difference

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from scheduling import timeline
from scheduling.errors import Reason
from scheduling.facts import Provider, Rule
from scheduling.frame import Frame
from scheduling.rules.kind import Basis
from scheduling.rules.payload import PayloadReader, payload_of
from scheduling.timeline import Bits


@dataclass(frozen=True, slots=True)
class Blackout:
    """The payload. Ranges include both their days."""

    dates: frozenset[date]
    ranges: tuple[tuple[date, date], ...]

    def holds(self, day: date) -> bool:
        """Tell whether the day is blacked out."""
        return day in self.dates or any(low <= day <= high for low, high in self.ranges)


class BlackoutDates:
    """A visit is refused by the local day it starts on."""

    rule_type = "blackout_dates"
    reason = Reason.BLACKOUT_DATE
    is_soft = True
    depends_on_provider = False
    basis = Basis.QUESTION
    subject_kind = None

    def parse(self, payload: Mapping[str, object]) -> Blackout:
        """Read `dates` and `ranges`, at least one day in all."""
        reader = PayloadReader(self.rule_type, payload)
        found = Blackout(frozenset(reader.dates("dates")), reader.ranges("ranges"))
        if not (found.dates or found.ranges) and reader.is_good:
            reader.refuse("dates", "at least one date or range is required")
        reader.finish()
        return found

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse the starts on blacked-out days."""
        blackout = payload_of(rule, Blackout)
        return timeline.union(*(frame.day(day) for day in frame.days() if blackout.holds(day)))

    def sentence(self, rule: Rule) -> str:
        """Say that there are such days."""
        blackout = payload_of(rule, Blackout)
        return f"Not given on {len(blackout.dates)} date(s) and {len(blackout.ranges)} range(s) of dates."
