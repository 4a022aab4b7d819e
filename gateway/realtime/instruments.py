"""What the gateway measures of its realtime connections."""

from __future__ import annotations

from chassis.metrics import Metrics


class Instruments:
    """The instruments of WebSocket and SSE."""

    def __init__(self, metrics: Metrics) -> None:
        self.connections = metrics.gauge(
            "realtime_connections", "Open connections by transport.", ("transport",)
        )
        self.messages = metrics.counter(
            "realtime_messages_total", "Messages sent to clients.", ("transport",)
        )
        self.closed = metrics.counter(
            "realtime_closed_total",
            "Connections that the gateway closed, by transport and reason.",
            ("transport", "reason"),
        )
        self.link_up = metrics.gauge("realtime_link_up", "1 while the stream to realtime_svc stands.")
