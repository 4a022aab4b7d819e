"""What this service measures."""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.metrics import Metrics

_AGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Instruments:
    """The instruments of realtime_svc."""

    def __init__(self, metrics: Metrics) -> None:
        self.events = metrics.counter(
            "realtime_events_total", "Events read from the streams.", ("stream", "result")
        )
        self.readers = metrics.gauge("realtime_readers", "Open streams by kind.", ("kind",))
        self.replays = metrics.counter(
            "realtime_replays_total", "Positions resumed from, by source.", ("result",)
        )
        self.dropped = metrics.counter("realtime_dropped_total", "Readers dropped by reason.", ("reason",))
        self.age = metrics.histogram(
            "realtime_event_age_seconds", "Time from an event's commit to this service.", (), _AGE_BUCKETS_S
        )

    def note_age(self, occurred_at: Timestamp) -> None:
        """Observe how long ago an event was committed."""
        self.age.observe(max(0.0, time.time() - occurred_at.seconds - occurred_at.nanos / 1e9))
