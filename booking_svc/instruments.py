"""What the service measures of itself; no label holds a clinic, a user or a patient."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from booking_svc.model import Conflicts
from booking_svc.outbox.queue import Backlog, OutboxEvent
from booking_svc.outbox.wakeup import Wakeup
from chassis.metrics import Metrics
from scheduling.errors import DomainError

_LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)


class MutationInstruments:
    """Counts what happens to mutations, and wakes the relay after a commit."""

    def __init__(self, metrics: Metrics, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._replays = metrics.counter("booking_idempotency_replay_total", "Stored answers given again.")
        self._retries = metrics.counter("booking_retries_total", "Transactions begun anew.", ("sqlstate",))
        self._refusals = metrics.counter("booking_refusals_total", "Refused mutations.", ("reason",))
        self._conflicts = metrics.counter(
            "booking_conflicts_total", "Things that stood in a booking's way.", ("resource_kind",)
        )

    def committed(self) -> None:
        """Something was committed that has an event."""
        self._wakeup.wake()

    def replayed(self) -> None:
        """A stored answer was given again."""
        self._replays.inc()

    def retried(self, cause: str) -> None:
        """A transaction begins anew."""
        self._retries.labels(cause).inc()

    def refused(self, refusal: DomainError) -> None:
        """A mutation was refused."""
        self._refusals.labels(refusal.reason.value).inc()
        if isinstance(refusal.alternatives, Conflicts):
            for kind in {item.kind for item in refusal.alternatives.taken}:
                self._conflicts.labels(kind.value).inc()


class RelayInstruments:
    """Counts what the relay does."""

    def __init__(self, metrics: Metrics) -> None:
        self._published = metrics.counter("outbox_published_total", "Events published.")
        self._parked_total = metrics.counter("outbox_parked_total", "Events given up until re-driven.")
        self._waiting = metrics.gauge("outbox_unpublished_events", "Events that wait to be published.")
        self._parked = metrics.gauge("outbox_parked_events", "Events that are parked.")
        self._oldest = metrics.gauge("outbox_oldest_age_seconds", "Age of the oldest event that waits.")
        self._lag = metrics.histogram(
            "outbox_publish_lag_seconds",
            "From an event's insertion to its acknowledgement.",
            (),
            _LAG_BUCKETS_S,
        )

    def published(self, events: Sequence[OutboxEvent]) -> None:
        """These are out and marked."""
        self._published.inc(len(events))
        now = datetime.now(UTC)
        for event in events:
            self._lag.observe(max(0.0, (now - event.created_at).total_seconds()))

    def parked(self, event: OutboxEvent) -> None:
        """This one was given up until somebody re-drives it."""
        del event
        self._parked_total.inc()

    def backlog(self, backlog: Backlog) -> None:
        """How much waits."""
        self._waiting.set(backlog.waiting)
        self._parked.set(backlog.parked)
        self._oldest.set(backlog.oldest_age_s)
