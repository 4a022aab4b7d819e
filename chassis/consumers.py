"""Readers of streams.

Durable ones that acknowledge, and ordered ones that follow a stream from a position.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import api
from nats.js import errors as js_errors

from chassis.bus import Bus
from chassis.publishing import unavailable
from chassis.pull import Message, Pull, message_of
from chassis.supervisor import Backoff
from chassis.tracing import use_traceparent
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)

Handler = Callable[[Message], Awaitable[None]]
OnPoison = Callable[[Message, Exception], Awaitable[None]]

_FAILING_MAX = 10_000
_ORDERED_INACTIVE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableSpec:
    """A durable consumer: many instances may share it, each message goes to one of them at a time."""

    stream: str
    name: str
    subjects: tuple[str, ...] = ()
    ack_wait_ms: int = 30_000
    failures_max: int = 5
    in_flight_max: int = 32
    from_new: bool = False

    def config(self) -> api.ConsumerConfig:
        """The consumer as JetStream wants it told.

        Deliveries are not limited there: an outage is no poison.
        """
        return api.ConsumerConfig(
            name=self.name,
            durable_name=self.name,
            deliver_policy=api.DeliverPolicy.NEW if self.from_new else api.DeliverPolicy.ALL,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_ms / 1_000,
            max_deliver=-1,
            max_ack_pending=4 * self.in_flight_max,
            filter_subjects=list(self.subjects) or None,
        )


class DurableConsumer:
    """Hands each message to `handle` and acknowledges it when that returns; give `run` to a Supervisor.

    A message whose handling raises Unavailable is delivered again after a growing wait, for as long as it
    takes. One that fails otherwise `failures_max` times is poison: `on_poison` keeps it (parks it, raises
    an alarm), and the stream goes on. Messages may be handled at the same time and again: handlers are
    idempotent by version.
    """

    def __init__(
        self,
        bus: Bus,
        spec: DurableSpec,
        handle: Handler,
        on_poison: OnPoison,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self._bus = bus
        self._spec = spec
        self._handle = handle
        self._on_poison = on_poison
        self._backoff = backoff or Backoff(first_ms=200, max_ms=10_000)
        self._failures: dict[int, int] = {}
        self._is_pulling = asyncio.Event()

    async def wait_pulling(self, timeout_ms: int) -> None:
        """Return once the consumer exists and messages are asked for. Raises TimeoutError."""
        async with asyncio.timeout(timeout_ms / 1_000):
            await self._is_pulling.wait()

    async def run(self) -> None:
        """Read until cancelled; what is being handled then is finished first. Raises Unavailable."""
        await _add_consumer(self._bus, self._spec.stream, self._spec.config())
        places = asyncio.Semaphore(self._spec.in_flight_max)
        running: set[asyncio.Task[None]] = set()
        try:
            async with Pull(
                self._bus, self._spec.stream, self._spec.name, batch=self._spec.in_flight_max
            ) as pull:
                self._is_pulling.set()
                while True:
                    await places.acquire()
                    task = asyncio.create_task(self._settle(await pull.next(), places))
                    running.add(task)
                    task.add_done_callback(running.discard)
        finally:
            self._is_pulling.clear()
            if running:
                await asyncio.wait(running, timeout=self._spec.ack_wait_ms / 1_000)

    async def _settle(self, raw: Msg, places: asyncio.Semaphore) -> None:
        try:
            message = message_of(raw)
            with use_traceparent(message.traceparent):
                await self._process(raw, message)
        except nats.errors.Error as error:
            # The acknowledgement was not sent: the message comes again.
            _log.warning("consumer.ack_failed", consumer=self._spec.name, error_type=type(error).__name__)
        finally:
            places.release()

    async def _process(self, raw: Msg, message: Message) -> None:
        try:
            await self._handle(message)
        except Unavailable as error:
            _log.warning(
                "consumer.waiting",
                consumer=self._spec.name,
                sequence=message.sequence,
                reason=str(error.reason),
            )
            await raw.nak(delay=self._backoff.wait_s(message.deliveries, 0.5))
        except Exception as error:  # noqa: BLE001 - reported, tried again, and parked in the end
            await self._failed(raw, message, error)
        else:
            self._failures.pop(message.sequence, None)
            await raw.ack()

    async def _failed(self, raw: Msg, message: Message, error: Exception) -> None:
        failures = self._failures.get(message.sequence, 0) + 1
        _log.error(
            "consumer.failed",
            consumer=self._spec.name,
            sequence=message.sequence,
            failures=failures,
            exc_info=error,
        )
        if failures < self._spec.failures_max:
            self._note_failure(message.sequence, failures)
            await raw.nak(delay=self._backoff.wait_s(failures, 0.5))
            return
        try:
            await self._on_poison(message, error)
        except Exception:  # noqa: BLE001 - reported, and delivered again
            _log.exception("consumer.poison_not_kept", consumer=self._spec.name, sequence=message.sequence)
            await raw.nak(delay=self._backoff.wait_s(failures, 0.5))
            return
        self._failures.pop(message.sequence, None)
        await raw.term()

    def _note_failure(self, sequence: int, failures: int) -> None:
        if len(self._failures) >= _FAILING_MAX:
            self._failures.pop(next(iter(self._failures)))
        self._failures[sequence] = failures


class OrderedConsumer:
    """Follows a stream from a position, in order and without gaps, as one reader of its own.

    Nothing is acknowledged. When a message is missing or the connection is lost, the reader is made again
    behind the last message that was handed over. What the stream no longer holds is skipped: compare
    `Bus.bounds`.
    """

    def __init__(self, bus: Bus, stream: str, subjects: Sequence[str] = (), *, batch: int = 500) -> None:
        self._bus = bus
        self._stream = stream
        self._subjects = tuple(subjects)
        self._batch = batch
        self.is_following = asyncio.Event()

    async def messages(self, start: int | None = None) -> AsyncIterator[Message]:
        """Yield messages from sequence `start` on, or only new ones; ends never. Raises Unavailable.

        After Unavailable, call it again with the last sequence plus one.
        """
        wanted = start
        while True:
            name = await self._make(wanted)
            try:
                async with Pull(self._bus, self._stream, name, batch=self._batch) as pull:
                    self.is_following.set()
                    expected = 1
                    while (message := message_of(await pull.next())).consumer_sequence == expected:
                        expected += 1
                        wanted = message.sequence + 1
                        yield message
            finally:
                self.is_following.clear()
                await self._drop(name)
            if wanted is None:
                # The very first message was missed: it is the one before what came.
                wanted = message.sequence
            _log.warning("consumer.gap", stream=self._stream, sequence=wanted)

    async def _make(self, start: int | None) -> str:
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.NEW if start is None else api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if start is None else max(1, start),
            ack_policy=api.AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=_ORDERED_INACTIVE_S,
            filter_subjects=list(self._subjects) or None,
        )
        return await _add_consumer(self._bus, self._stream, config)

    async def _drop(self, name: str) -> None:
        if self._bus.is_connected:
            # It also ends by itself when nobody pulls.
            await asyncio.gather(
                self._bus.jetstream.delete_consumer(self._stream, name), return_exceptions=True
            )


async def _add_consumer(bus: Bus, stream: str, config: api.ConsumerConfig) -> str:
    try:
        return (await bus.jetstream.add_consumer(stream, config)).name
    except js_errors.NotFoundError as error:
        # Streams are made by whoever starts first: soon it will be there.
        raise unavailable(error) from error
    except js_errors.BadRequestError:
        raise
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise unavailable(error) from error
