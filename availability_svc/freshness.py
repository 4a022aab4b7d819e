"""How far what this process knows has followed the truth, and what time it is there."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from scheduling.clock import Clock

STALE_AFTER: Final = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Stamp:
    """How fresh an answer is: it has everything committed before `fresh_at`.

    `is_stale` says that changes cannot be received, or not looked for, at this moment.
    """

    fetched_at: datetime
    fresh_at: datetime
    is_stale: bool

    @property
    def age_ms(self) -> int:
        """How old the facts may be."""
        return max(0, (self.fetched_at - self.fresh_at) // timedelta(milliseconds=1))


class Freshness:
    """Written by the watch, read by every call. The clock follows the database's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._offset = timedelta()
        self._fresh_at = clock()
        self._is_receiving = False

    def now(self) -> datetime:
        """Return the database's time, as well as it is known."""
        return self._clock() + self._offset

    def stamp(self) -> Stamp:
        """Return how fresh what is known is at this moment."""
        now = self.now()
        is_stale = not self._is_receiving or now - self._fresh_at > STALE_AFTER
        return Stamp(now, min(now, self._fresh_at), is_stale)

    def database_shows(self, instant: datetime, local: datetime) -> None:
        """Note the database's clock, read at `local` by this process's own."""
        self._offset = instant - local

    def followed_until(self, instant: datetime) -> None:
        """Note that everything committed before `instant` (database time) is known here."""
        with self._lock:
            self._fresh_at = max(self._fresh_at, instant)

    def receiving(self, *, is_receiving: bool) -> None:
        """Note whether changes can be received."""
        self._is_receiving = is_receiving
