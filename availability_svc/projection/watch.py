"""Watches how far the projections have followed the truth.

Everything committed before an instant is projected when the outbox holds nothing older that is unpublished (but what
is kept back there, and was projected from there), and the consumers have acknowledged everything that was published
until then, on the streams that are there now.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import nats.errors
import structlog
from nats.js import errors as js_errors

from availability_svc.freshness import Freshness
from availability_svc.projection.hearing import Hearing
from availability_svc.projection.incarnations import Incarnations
from availability_svc.projection.kept_back import KeptBack
from availability_svc.projection.worker import CONSUMERS
from chassis.bus import Bus
from chassis.metrics import Metrics
from chassis.supervisor import Supervisor
from database.transaction import Database
from scheduling.clock import Clock
from scheduling.errors import DomainError, Unavailable

_log = structlog.get_logger(__name__)

_EVERY_S: Final = 0.5
_TIMEOUT_S: Final = 2.0
_SAMPLES_MAX: Final = 64
_OUTBOX_SQL: Final = """
SELECT clock_timestamp(), (
    SELECT created_at FROM outbox_event
    WHERE published_at IS NULL AND NOT id = ANY (%(known)s::bigint[]) ORDER BY id LIMIT 1)
"""


class Watch:
    """Keeps `freshness` up to date, twice a second."""

    name = "watch"

    def __init__(
        self,
        bus: Bus,
        hearing: Hearing,
        database: Database,
        freshness: Freshness,
        incarnations: Incarnations,
        *,
        kept_back: KeptBack,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._hearing = hearing
        self._database = database
        self._freshness = freshness
        self._incarnations = incarnations
        self._kept_back = kept_back
        self._clock = clock
        self._supervisor = Supervisor()
        self._samples: deque[tuple[datetime, dict[str, int]]] = deque(maxlen=_SAMPLES_MAX)
        self._age = metrics.gauge(
            "projection_age_seconds", "How old what the projections know may be at this moment."
        )

    def on_fatal(self, callback: Callable[[BaseException], None]) -> None:
        """Tell `callback` of a loop that cannot be kept running."""
        self._supervisor.on_fatal(callback)

    async def start(self) -> None:
        """Begin to watch; returns at once."""
        self._supervisor.spawn("watch", self._run)

    async def stop(self) -> None:
        """Stop watching."""
        await self._supervisor.stop()

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Look once; what does not answer leaves the last instant as it was."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._incarnations.check()
                await self._kept_back.project()
                published_until = await self._published_until()
                projected_until = await self._projected_until(published_until)
        except (DomainError, TimeoutError, nats.errors.Error, js_errors.Error, OSError) as error:
            _log.debug("watch.cannot_see", error_type=type(error).__name__)
            self._freshness.receiving(is_receiving=False)
        else:
            self._freshness.receiving(is_receiving=self._hearing.is_hearing)
            if projected_until is not None:
                self._freshness.followed_until(projected_until)
        stamp = self._freshness.stamp()
        self._age.set(stamp.age_ms / 1_000)

    async def _published_until(self) -> datetime:
        """Return the database time before which every commit has been published."""
        began = self._clock()
        async with self._database.worker() as tx:
            row = await tx.row(_OUTBOX_SQL, {"known": self._kept_back.known})
        if row is None:
            raise Unavailable("The database did not say what time it is.")
        ended = self._clock()
        self._freshness.database_shows(row[0], began + (ended - began) / 2)
        now: datetime = row[0] - (ended - began)
        return now if row[1] is None else min(now, row[1] - timedelta(milliseconds=1))

    async def _projected_until(self, published_until: datetime) -> datetime | None:
        """Return the newest sampled instant whose messages all consumers have acknowledged."""
        floors: dict[str, int] = {}
        lasts: dict[str, int] = {}
        for stream, consumer in CONSUMERS:
            info = await self._bus.jetstream.consumer_info(stream.name, consumer)
            delivered = info.delivered.stream_seq if info.delivered else 0
            floors[consumer] = info.ack_floor.stream_seq if info.ack_floor else 0
            if not info.num_ack_pending:
                floors[consumer] = delivered
            lasts[consumer] = delivered + (info.num_pending or 0)
        self._samples.append((published_until, lasts))
        caught_up = [
            instant
            for instant, wanted in self._samples
            if all(floors[consumer] >= wanted[consumer] for consumer in wanted)
        ]
        if not caught_up:
            return None
        newest = max(caught_up)
        while self._samples and self._samples[0][0] <= newest:
            self._samples.popleft()
        return newest


__all__ = ["Watch"]
