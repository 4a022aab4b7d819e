"""Refuses calls that the process has no room for, before they cost anything."""

from __future__ import annotations

import threading

from chassis.interceptors.chain import Call, IdleChecks
from chassis.metrics import Metrics
from scheduling.errors import Exhausted, Reason

_RETRY_AFTER_S = 0.5


class Overload(IdleChecks):
    """Bounds the unary calls and the streams that are in flight, each on its own."""

    def __init__(self, metrics: Metrics, *, unary_max: int, streams_max: int) -> None:
        self._room = {False: unary_max, True: streams_max}
        self._lock = threading.Lock()
        self._refused = metrics.rpc_overloaded

    def enter(self, call: Call) -> None:
        """Take a place. Raises Exhausted with reason OVERLOADED when there is none."""
        is_stream = call.method.is_stream
        with self._lock:
            has_room = self._room[is_stream] > 0
            if has_room:
                self._room[is_stream] -= 1
        if not has_room:
            self._refused.labels("stream" if is_stream else "unary").inc()
            raise Exhausted(
                "This instance is full; try again shortly.",
                reason=Reason.OVERLOADED,
                retry_after_s=_RETRY_AFTER_S,
            )

    def leave(self, call: Call) -> None:
        """Give the place back."""
        with self._lock:
            self._room[call.method.is_stream] += 1
