"""What the projections of each clinic were last seen at: as long as that stays the same, so does all that was read."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from availability_svc.layers import Layer
from availability_svc.store.memory import TTL_S
from availability_svc.store.redis_projection import Pulse, RedisProjection
from scheduling.errors import Unavailable

_CLINICS_MAX: Final = 20_000
# What was seen serves the others so much longer while one asks; no question to Redis takes as long.
_ASKING_S: Final = 1.0


@dataclass(slots=True)
class _Seen:
    pulse: Pulse
    until_s: float


class Pulses:
    """Asks Redis for a clinic's pulse once in ten seconds, however much of the clinic is remembered.

    Safe between threads: one of them asks, the others go by what was seen before.
    """

    def __init__(
        self,
        projection: RedisProjection,
        *,
        ttl_s: float = TTL_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._projection = projection
        self._ttl_s = ttl_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def of(self, clinic_id: str, *, exists: bool = False) -> tuple[Pulse | None, Layer]:
        """Return the clinic's pulse as it was at most eleven seconds ago, and who was asked; None while Redis is away.

        Only where the caller knows that the clinic `exists`, it is given a pulse that it lacks.
        """
        now_s = self._now_s()
        seen = self._seen.get(clinic_id)
        if seen is not None and not self._is_to_ask(seen, now_s):
            return seen.pulse, Layer.L1
        try:
            pulse = self._projection.pulse(clinic_id)
            if exists and not pulse.calendars:
                pulse = self._projection.begin_pulse(clinic_id)
        except Unavailable:
            with self._lock:
                self._seen.pop(clinic_id, None)
            return None, Layer.L1
        self._note(clinic_id, pulse, now_s + self._ttl_s)
        return pulse, Layer.L2

    def _is_to_ask(self, seen: _Seen, now_s: float) -> bool:
        """Tell whether this caller is the first to find that the time of what was seen is over."""
        if seen.until_s > now_s:
            return False
        with self._lock:
            is_first = seen.until_s <= now_s
            if is_first:
                seen.until_s = now_s + _ASKING_S
            return is_first

    def _note(self, clinic_id: str, pulse: Pulse, until_s: float) -> None:
        """Note a pulse, unless it is one that is about to be made, or somebody has asked later."""
        with self._lock:
            before = self._seen.get(clinic_id)
            if not pulse.is_whole:
                self._seen.pop(clinic_id, None)
            elif before is None or before.until_s <= until_s:
                self._seen[clinic_id] = _Seen(pulse, until_s)
                self._seen.move_to_end(clinic_id)
                if len(self._seen) > _CLINICS_MAX:
                    self._seen.popitem(last=False)
