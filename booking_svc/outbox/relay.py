"""Publishes the outbox: in order within each aggregate, at least once, never dropping anything.

    poll ── waves: at most one event an aggregate ── publish, wait for the acknowledgements ── mark ── gather
      ▲                                                                                                  │
      └───────────────── woken by a commit of this process, or after the poll interval ◄─────────────────┘

What NATS rejects is tried again with growing waits and then parked, with its aggregate's later events behind it, until
somebody re-drives it. While NATS is away nothing is counted against an event. A relay that dies between publishing and
marking publishes again; the message id makes that harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import psycopg
import structlog

from booking_svc.outbox.queue import Backlog, OutboxEvent, OutboxQueue
from booking_svc.outbox.subjects import subject_of
from booking_svc.outbox.wakeup import Wakeup
from chassis.leases import Lease
from chassis.publishing import Outcome, OutgoingMessage, Published, Rejected
from database.pipeline import Connection
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)

LEASE_NAME = "outbox-relay"

_REJECTED_FIRST_WAIT_S = 0.1
_REJECTED_MAX_WAIT_S = 30.0
_BACKLOG_EVERY_S = 2.0


class Publisher(Protocol):
    """What the relay needs of the bus."""

    async def publish_all(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send in order; for each its acknowledgement, Unavailable or Rejected."""
        ...


class RelayObserver(Protocol):
    """Sees what the relay does."""

    def published(self, events: Sequence[OutboxEvent]) -> None:
        """These are out and marked."""
        ...

    def parked(self, event: OutboxEvent) -> None:
        """This one was given up until somebody re-drives it."""
        ...

    def backlog(self, backlog: Backlog) -> None:
        """How much waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """How much at once, how often, and when to give up.

    The first event after a pause goes out at once; those that follow closely gather and share a batch: for `gather_s`,
    and the longer, up to `gather_max_s`, the more events the last batch had.
    """

    batch_events: int = 200
    gather_s: float = 0.010
    gather_max_s: float = 0.080
    poll_s: float = 0.020
    attempts_max: int = 10

    def gathering_s(self, sent: int) -> float:
        """How long events gather after a batch of so many."""
        return min(self.gather_s * sent, self.gather_max_s)


Connect = Callable[[], Awaitable[Connection]]
FailPoint = Callable[[str], Awaitable[None]]


class Relay:
    """Works while it holds the lease; hand `work` to a LeaseRunner."""

    def __init__(
        self,
        connect: Connect,
        publisher: Publisher,
        wakeup: Wakeup,
        observer: RelayObserver,
        *,
        limits: RelayLimits,
        fail_point: FailPoint,
    ) -> None:
        self._connect = connect
        self._publisher = publisher
        self._wakeup = wakeup
        self._observer = observer
        self._limits = limits
        self._fail_point = fail_point
        self._backlog_due_s = 0.0

    async def work(self, lease: Lease) -> None:
        """Publish until cancelled. Raises Unavailable when the database or the bus is away."""
        del lease
        try:
            connection = await self._connect()
            try:
                queue = OutboxQueue(connection)
                await queue.let_marks_be_lost()
                await self._publish_for_ever(queue)
            finally:
                await connection.close()
        except psycopg.OperationalError as error:
            raise Unavailable("The database is away.") from error

    async def _publish_for_ever(self, queue: OutboxQueue) -> None:
        while True:
            # First, since publishing fails while the bus is away, and that is when the backlog must be seen.
            await self._observe(queue)
            sent = await self.publish_next(queue)
            if sent < self._limits.batch_events:
                await asyncio.sleep(self._limits.gathering_s(sent))
                await self._wakeup.wait(self._limits.poll_s)

    async def publish_next(self, queue: OutboxQueue) -> int:
        """Publish one batch and return its size. Raises Unavailable when the bus is away."""
        events = await queue.next(self._limits.batch_events)
        await self._fail_point("relay.read")
        failed: set[tuple[str, str]] = set()
        for wave in waves(events):
            await self._publish_wave(
                queue, [event for event in wave if event.aggregate not in failed], failed
            )
        return len(events)

    async def _publish_wave(
        self, queue: OutboxQueue, wave: Sequence[OutboxEvent], failed: set[tuple[str, str]]
    ) -> None:
        outcomes = await self._publisher.publish_all([_message(event) for event in wave])
        await self._fail_point("relay.published")
        done = [
            event for event, outcome in zip(wave, outcomes, strict=True) if isinstance(outcome, Published)
        ]
        if done:
            await queue.mark_published(done)
            self._observer.published(done)
        for event, outcome in zip(wave, outcomes, strict=True):
            if isinstance(outcome, Rejected):
                failed.add(event.aggregate)
                await self._put_off(queue, event, outcome)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, Rejected):
                raise outcome

    async def _put_off(self, queue: OutboxQueue, event: OutboxEvent, rejection: Rejected) -> None:
        wait_s = min(_REJECTED_MAX_WAIT_S, _REJECTED_FIRST_WAIT_S * 2**event.attempts)
        if await queue.put_off(event, str(rejection), wait_s, self._limits.attempts_max):
            _log.error("outbox.parked", event_id=event.event_id, event_type=event.event_type)
            self._observer.parked(event)

    async def _observe(self, queue: OutboxQueue) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._backlog_due_s:
            self._backlog_due_s = now_s + _BACKLOG_EVERY_S
            self._observer.backlog(await queue.backlog())


def waves(events: Iterable[OutboxEvent]) -> Iterator[list[OutboxEvent]]:
    """Yield the events in runs without two of one aggregate: the n-th of an aggregate is in the n-th run."""
    runs: list[list[OutboxEvent]] = []
    seen: dict[tuple[str, str], int] = {}
    for event in events:
        place = seen.get(event.aggregate, 0)
        seen[event.aggregate] = place + 1
        if place == len(runs):
            runs.append([])
        runs[place].append(event)
    yield from runs


def _message(event: OutboxEvent) -> OutgoingMessage:
    return OutgoingMessage(
        subject=subject_of(event),
        data=event.payload,
        message_id=event.event_id,
        traceparent=event.traceparent,
    )
