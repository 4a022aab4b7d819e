"""Prometheus metrics, on a port of their own.

A process has one `Metrics`: its registry, the helpers that make instruments with bounded labels, and the
metrics that the chassis itself keeps. Labels never hold a clinic, a user or a patient.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence
from http.server import HTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from chassis.config import Listen
from chassis.lifecycle import Fatal

RPC_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

OTHER = "other"


class Labels:
    """A label whose values are bounded: from `size` distinct ones on, every new one becomes `other`."""

    def __init__(self, size: int = 100) -> None:
        self._seen: set[str] = set()
        self._size = size

    def bound(self, value: str) -> str:
        """Return `value`, or `other` when it is one too many."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._size:
            return OTHER
        self._seen.add(value)
        return value


class Metrics:
    """The instruments of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.rpc_duration = self.histogram(
            "scheduling_rpc_duration_seconds",
            "Time from a call's arrival to its end.",
            ("service", "method", "code"),
            RPC_BUCKETS_S,
        )
        self.rpc_in_flight = self.gauge("scheduling_rpc_in_flight", "Calls that are being served.", ("kind",))
        self.rpc_overloaded = self.counter(
            "scheduling_rpc_overloaded_total", "Calls refused because the process was full.", ("kind",)
        )
        self.cache_requests = self.counter(
            "cache_requests_total", "Lookups by cache layer and result.", ("layer", "result")
        )
        self.breaker_open = self.gauge(
            "breaker_open", "1 while a dependency is not asked because it failed.", ("dependency",)
        )

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """A counter; `name` ends in `_total`."""
        return Counter(name, documentation, labels, registry=self.registry)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """A gauge."""
        return Gauge(name, documentation, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = RPC_BUCKETS_S,
    ) -> Histogram:
        """A histogram in base units; `name` ends in its unit (`_seconds`, `_bytes`)."""
        return Histogram(name, documentation, labels, registry=self.registry, buckets=tuple(buckets))


def build_metrics() -> Metrics:
    """The metrics of a process, with those of the interpreter and the operating system."""
    metrics = Metrics()
    ProcessCollector(registry=metrics.registry)
    PlatformCollector(registry=metrics.registry)
    GCCollector(registry=metrics.registry)
    return metrics


class MetricsServer:
    """Serves /metrics; `port` is the real one once it has started."""

    name = "metrics"

    def __init__(self, metrics: Metrics, listen: Listen) -> None:
        self._metrics = metrics
        self._listen = listen
        self._server: HTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.port = listen.port

    async def start(self) -> None:
        """Listen. Raises Fatal when the port is taken."""
        try:
            self._server, self._thread = start_http_server(
                self._listen.port, self._listen.host, self._metrics.registry
            )
        except OSError as error:
            raise Fatal(f"The metrics port {self._listen} cannot be opened: {error.strerror}.") from error
        self.port = self._server.server_port

    async def stop(self) -> None:
        """Close the port."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            await asyncio.to_thread(_end, server)
            await asyncio.to_thread(thread.join, 2.0)


def _end(server: HTTPServer) -> None:
    """Close the port, and return when nobody is served any more."""
    # The server looks twice a second for whether it shall end, unless something happens to its socket. Linux lets a
    # listening one be shut down; where that is refused, the look is waited for.
    with contextlib.suppress(OSError):
        server.socket.shutdown(socket.SHUT_RDWR)
    server.shutdown()
    server.server_close()
