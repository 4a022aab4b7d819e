"""A circuit breaker: a dependency that is down costs microseconds instead of a timeout a call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from prometheus_client import Gauge


class CircuitBreaker:
    """Opens after some failures in a row; while open, `allows` says no, but once a pause lets one call probe.

    Safe between threads. Every call that `allows` let through is followed, in its thread, by `succeeded` or `failed`,
    or by `undecided` when it never came to the dependency.
    """

    def __init__(
        self,
        *,
        failures_max: int,
        open_ms: int,
        now_s: Callable[[], float] = time.monotonic,
        gauge: Gauge | None = None,
    ) -> None:
        self._failures_max = failures_max
        self._open_s = open_ms / 1_000
        self._now_s = now_s
        self._gauge = gauge
        self._failures = 0
        self._retry_at_s: float | None = None
        self._prober: int | None = None
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the dependency is thought to be down."""
        return self._retry_at_s is not None

    def allows(self) -> bool:
        """Whether a call may be tried now."""
        if self._retry_at_s is None:
            return True
        with self._lock:
            now_s = self._now_s()
            if self._retry_at_s is None or now_s < self._retry_at_s:
                return self._retry_at_s is None
            # This caller probes; the others wait for its answer, or for the next pause to end.
            self._retry_at_s = now_s + self._open_s
            self._prober = threading.get_ident()
            return True

    def succeeded(self) -> None:
        """Note a success: the breaker closes."""
        if self._failures == 0 and self._retry_at_s is None:
            return
        with self._lock:
            self._failures = 0
            self._retry_at_s = self._prober = None
        self._show(0)

    def failed(self) -> None:
        """Note a failure: enough of them in a row open the breaker."""
        with self._lock:
            self._failures += 1
            opens = self._failures >= self._failures_max
            if opens:
                self._retry_at_s = self._now_s() + self._open_s
                self._prober = None
        if opens:
            self._show(1)

    def undecided(self) -> None:
        """Note that a call tells nothing: if it was to probe, the next one does."""
        with self._lock:
            if self._retry_at_s is not None and self._prober == threading.get_ident():
                self._retry_at_s = self._now_s()
                self._prober = None

    def _show(self, value: int) -> None:
        if self._gauge is not None:
            self._gauge.set(value)
