"""What the projections of each clinic were last seen at: as long as that stays the same, so does all that was read."""

import time
from collections.abc import Callable
from typing import Final

from availability_svc.layers import Layer
from availability_svc.store.memory import TTL_S
from availability_svc.store.redis_projection import Pulse, RedisProjection
from scheduling.errors import Unavailable

_CLINICS_MAX: Final = 20_000


class Pulses:
    """Asks Redis for a clinic's pulse once in ten seconds, however much of the clinic is remembered.

    Safe between threads: at worst two of them ask.
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
        self._seen: dict[str, tuple[Pulse, float]] = {}

    def of(self, clinic_id: str) -> tuple[Pulse | None, Layer]:
        """Return the clinic's pulse as it was at most ten seconds ago, and who was asked; None while Redis is away."""
        now_s = self._now_s()
        seen = self._seen.get(clinic_id)
        if seen is not None and seen[1] > now_s:
            return seen[0], Layer.L1
        try:
            pulse = self._projection.pulse(clinic_id)
        except Unavailable:
            return None, Layer.L1
        if len(self._seen) >= _CLINICS_MAX:
            self._seen.clear()
        self._seen[clinic_id] = pulse, now_s + self._ttl_s
        return pulse, Layer.L2

    def clear(self) -> None:
        """Forget all that was seen."""
        self._seen.clear()
