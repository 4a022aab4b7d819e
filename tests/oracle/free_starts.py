"""The oracle with a grid that begins anew wherever all that a visit needs begins to be free, minute by minute."""

from collections.abc import Iterable
from typing import Any

from scheduling.facts import Claim, Provider, SlotRequest, StaticFacts
from tests.oracle.availability import Oracle, local_time

ROUND = (60, 30, 20, 15, 10, 5)


class FreeStartOracle(Oracle):
    """Answers as the oracle does, but for the grid, which it lays in the minutes `first`..`end`."""

    def __init__(
        self,
        static: StaticFacts,
        claims: Iterable[Claim],
        request: SlotRequest,
        *,
        first: int,
        end: int,
        **others: Any,
    ) -> None:
        super().__init__(static, claims, request, first=first, end=end, **others)
        self.window = range(first, end - self.duration + 1)
        self._grids: dict[str, set[int]] = {}

    def is_on_grid(self, provider: Provider, start: int) -> bool:
        """Tell whether the provider's visits may start then."""
        if provider.id not in self._grids:
            self._grids[provider.id] = self.grid_of(provider)
        return start in self._grids[provider.id]

    def grid_of(self, provider: Provider) -> set[int]:
        """Return the starts that are whole steps after the round beginning of a time that is free throughout."""
        found: set[int] = set()
        following: int | None = None
        for minute in self.window:
            if self.reasons_of_place(provider, minute):
                following = None
                continue
            if following is None:
                following = self.rounded_up(minute)
            if minute == following:
                found.add(minute)
                following += self.service.slot_step_min
        return found

    def rounded_up(self, minute: int) -> int:
        """Return the next minute that the clock, as it goes on from here, shows as a round one."""
        divisors = [unit for unit in ROUND if self.service.slot_step_min % unit == 0]
        shown, ahead = local_time(self.zone, minute), 0
        while divisors and (shown.minute + ahead) % divisors[0]:
            ahead += 1
        return minute + ahead
