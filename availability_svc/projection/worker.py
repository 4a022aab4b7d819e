"""The projection worker: events in, projections up to date.

Every process runs one; together they are one durable consumer, so each event is handled by one of them, at
least once and in any order. Versions make that harmless (see the scripts of the store).
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter, Histogram

from availability_svc.calendars import CalendarChange
from availability_svc.projection.events import Effects, effects_of
from availability_svc.projection.ports import Locations, Projection
from chassis.bus import Bus
from chassis.consumers import DurableConsumer, DurableSpec
from chassis.metrics import Metrics
from chassis.pull import Message
from chassis.streams import APPOINTMENTS, DIRECTORY, REPUBLISH, STREAMS, StreamSpec
from chassis.supervisor import Supervisor
from chassis.tasks import end_tasks
from scheduling.clock import Clock
from scheduling.errors import DomainError, Unavailable

_log = structlog.get_logger(__name__)

APPOINTMENT_CONSUMER = "availability-appointments"
DIRECTORY_CONSUMER = "availability-directory"
REPUBLISH_CONSUMER = "availability-republish"
CONSUMERS = (
    (APPOINTMENTS, APPOINTMENT_CONSUMER),
    (DIRECTORY, DIRECTORY_CONSUMER),
    (REPUBLISH, REPUBLISH_CONSUMER),
)

_IN_FLIGHT_MAX = 128
_BATCH_CHANGES_MAX = 512
_RENEW_AFTER_S = 0.1


class ProjectionWorker:
    """Applies events to the shared projections."""

    name = "projector"

    def __init__(
        self,
        bus: Bus,
        projection: Projection,
        locations: Locations,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._projection = projection
        self._clock = clock
        self._supervisor = Supervisor()
        self._batch = _Batch(projection)
        self._renewals = _Renewals(locations)
        self._lag = metrics.histogram(
            "projection_lag_seconds", "Time from an event's publication to its projection."
        )
        self._events: Counter = metrics.counter(
            "projection_events_total", "Events by what became of them.", ("result",)
        )
        self._poison = metrics.counter(
            "projection_poison_total", "Events that could not be projected.", ("stream",)
        )

    def on_fatal(self, callback: Callable[[BaseException], None]) -> None:
        """Tell `callback` of a loop that cannot be kept running."""
        self._supervisor.on_fatal(callback)

    async def start(self) -> None:
        """Make the streams that are missing, if the bus is there, and begin to read."""
        try:
            await self._bus.ensure_streams(STREAMS)
        except Unavailable:
            _log.warning("projection.bus_away")
        for stream, consumer in CONSUMERS:
            self._supervisor.spawn(consumer, self._reader(stream, consumer).run)

    async def stop(self) -> None:
        """Finish what is being projected and stop reading."""
        await self._supervisor.stop()
        await self._renewals.stop()

    def _reader(self, stream: StreamSpec, consumer: str) -> DurableConsumer:
        spec = DurableSpec(stream=stream.name, name=consumer, in_flight_max=_IN_FLIGHT_MAX)
        return DurableConsumer(self._bus, spec, self.handle, self._keep_poison)

    async def handle(self, message: Message) -> None:
        """Project one event. Raises Unavailable when Redis is away: the event comes again."""
        await self.project(message.data)
        _observe_lag(self._lag, message, self._clock)

    async def project(self, data: bytes) -> None:
        """Project an event's bytes. Raises Unavailable when Redis is away, DecodeError for bytes that are no event."""
        effects = effects_of(data)
        if effects.calendars:
            new = await self._batch.apply(effects.calendars)
            self._events.labels("applied" if new else "known").inc()
        await self._apply_directory(effects)

    async def give_up(self, clinic_id: str) -> None:
        """Have all that is projected of a clinic be read from the database anew."""
        await asyncio.to_thread(self._projection.forget_clinic, clinic_id)
        await asyncio.to_thread(self._projection.directory_changed, clinic_id)

    async def _apply_directory(self, effects: Effects) -> None:
        if effects.unknown_calendars:
            calendar_ids = [calendar_id for calendar_id, _ in effects.unknown_calendars]
            await asyncio.to_thread(self._projection.forget, effects.clinic_id, calendar_ids)
        if effects.directory is not None:
            change = effects.directory
            await asyncio.to_thread(self._projection.directory_changed, change.clinic_id)
            self._renewals.ask(change.clinic_id, change.location_ids)
            self._events.labels("directory").inc()

    async def _keep_poison(self, message: Message, error: Exception) -> None:
        """Let an event go that cannot be projected: its clinic's calendars are read from the database anew.

        The event itself stays in the stream, under the sequence that is logged.
        """
        _, kind, clinic_id, *_ = *message.subject.split("."), "", ""
        await self.give_up(clinic_id)
        self._poison.labels(kind).inc()
        _log.error("projection.poison", sequence=message.sequence, error_type=type(error).__name__)


_Waiting = tuple[Sequence[CalendarChange], "asyncio.Future[int]"]


def _settle(taken: Sequence[_Waiting], outcome: int | Exception) -> None:
    """Tell events that wait what became of them."""
    for _, done in taken:
        if done.done():
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)


class _Batch:
    """Collects the changes of events that arrive together and writes them in one round trip."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._waiting: list[_Waiting] = []
        self._flushing: asyncio.Task[None] | None = None

    async def apply(self, changes: Sequence[CalendarChange]) -> int:
        """Return how many of the changes' whole batch were new. Raises what the projection raises."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await done

    async def _flush(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:_BATCH_CHANGES_MAX], self._waiting[_BATCH_CHANGES_MAX:]
            changes = sorted(
                (change for of_event, _ in taken for change in of_event), key=lambda change: change.clinic_id
            )
            try:
                new = await asyncio.to_thread(self._projection.apply, changes)
            except Unavailable as error:
                _settle(taken, error)
            except Exception:  # noqa: BLE001 - one of them is to blame, and is told
                await self._one_by_one(taken)
            else:
                _settle(taken, new)

    async def _one_by_one(self, taken: Sequence[_Waiting]) -> None:
        """Apply each event's changes alone, so that one that cannot be applied fails no other."""
        for one in taken:
            try:
                new = await asyncio.to_thread(self._projection.apply, one[0])
            except Exception as error:  # noqa: BLE001 - the event that waits gets it
                _settle([one], error)
            else:
                _settle([one], new)


class _Renewals:
    """Reads changed locations anew a moment later: whoever edits a directory seldom edits one thing.

    Nothing is lost when it fails or the process ends: the document is invalid, and the next search reads it.
    """

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._asked: dict[str, set[str] | None] = {}
        self._running: asyncio.Task[None] | None = None

    def ask(self, clinic_id: str, location_ids: Sequence[str]) -> None:
        """Have these locations read anew soon, or all of the clinic's when none is named."""
        before = self._asked.get(clinic_id, set())
        self._asked[clinic_id] = None if before is None or not location_ids else before | set(location_ids)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leave what is not read yet to the next search."""
        self._asked.clear()
        if self._running is not None:
            await end_tasks(self._running)

    async def _run(self) -> None:
        while self._asked:
            await asyncio.sleep(_RENEW_AFTER_S)
            asked, self._asked = self._asked, {}
            for clinic_id, location_ids in asked.items():
                try:
                    await asyncio.to_thread(self._locations.renew, clinic_id, sorted(location_ids or ()))
                except DomainError:
                    _log.info("projection.not_renewed")


def _observe_lag(histogram: Histogram, message: Message, clock: Clock) -> None:
    histogram.observe(max(0.0, (clock() - message.published_at).total_seconds()))
