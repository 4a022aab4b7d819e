"""What is taken on one local day of a clinic, minute by minute, while visits are being made up."""

from __future__ import annotations

from collections.abc import Iterable

from scheduling import timeline
from scheduling.facts import PlannedClaim, ResourceKind
from scheduling.timeline import Bits, Horizon

# Buffers, turnarounds and gaps of a day's visits reach no further than this beyond the day.
_MARGIN_MIN = 360


class DayBook:
    """The units of all resources on one local day. Quotas last all day and are counted instead."""

    def __init__(self, day_start_min: int, day_end_min: int) -> None:
        self._horizon = Horizon(day_start_min - _MARGIN_MIN, day_end_min + _MARGIN_MIN)
        self._taken: dict[tuple[str, int], Bits] = {}
        self._quota_counts: dict[str, int] = {}

    def is_free(self, resource_id: str, unit: int, start_min: int, end_min: int) -> bool:
        """Whether nothing touches the unit in `[start_min, end_min)`."""
        span = timeline.interval(self._horizon, start_min, end_min)
        return not self._taken.get((resource_id, unit), timeline.NEVER) & span

    def free_unit(self, resource_id: str, units: int, start_min: int, end_min: int) -> int | None:
        """The lowest of `units` units that is free."""
        for unit in range(1, units + 1):
            if self.is_free(resource_id, unit, start_min, end_min):
                return unit
        return None

    def quota_count(self, resource_id: str) -> int:
        """How many visits count against a quota so far."""
        return self._quota_counts.get(resource_id, 0)

    def take(self, claims: Iterable[PlannedClaim]) -> bool:
        """Write the claims down if every one is free; otherwise nothing, and say so."""
        wanted = tuple(claims)
        lasting = [claim for claim in wanted if claim.kind is not ResourceKind.QUOTA]
        if not all(
            self.is_free(claim.resource_id, claim.unit, claim.start_min, claim.end_min) for claim in lasting
        ):
            return False
        for claim in lasting:
            key = claim.resource_id, claim.unit
            span = timeline.interval(self._horizon, claim.start_min, claim.end_min)
            self._taken[key] = self._taken.get(key, timeline.NEVER) | span
        for claim in wanted:
            if claim.kind is ResourceKind.QUOTA:
                self._quota_counts[claim.resource_id] = self.quota_count(claim.resource_id) + 1
        return True
