"""Drops events that were published again."""

from __future__ import annotations

from collections import OrderedDict


class Versions:
    """The newest version seen of the aggregates that changed last; bounded.

    An outbox that failed between publishing and noting it publishes again. Nothing else is published in
    between for long, so that the copy follows its original closely and finds it here.
    """

    def __init__(self, aggregates_max: int = 100_000) -> None:
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._aggregates_max = aggregates_max

    def is_new(self, aggregate_id: str, version: int) -> bool:
        """Tell whether this version has not been passed yet, and remember it."""
        if version <= self._newest.get(aggregate_id, 0):
            return False
        self._newest[aggregate_id] = version
        self._newest.move_to_end(aggregate_id)
        if len(self._newest) > self._aggregates_max:
            self._newest.popitem(last=False)
        return True

    def clear(self) -> None:
        """Forget all: the streams were made anew."""
        self._newest.clear()
