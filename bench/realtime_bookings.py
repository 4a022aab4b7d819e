"""Part (a): a storm of connections, then bookings at a steady rate, measured from their commit to every client."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
from medforall.booking.v1 import booking_pb2 as pb
from medforall.booking.v1 import booking_pb2_grpc

from bench.realtime_clients import Message, Socket, connect_all
from bench.realtime_scene import BookingScene, gateway_rss
from tests.support.booking import ALL_SCOPES
from tests.support.practice import MONDAY, Practice, new_id

BOOKINGS_PER_S = 30
_STEP_MIN = 30
_WARM_UP = 60


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles in seconds."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, taken: Iterable[float]) -> Spread:
        ordered = sorted(taken)
        return cls(ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one run gave; seconds and bytes."""

    storm_s: float
    memory: float
    from_commit: Spread
    from_reply: Spread
    booking: Spread
    late_s: float


class Bookings:
    """Books through gRPC, each clinic's next free half hour, and notes when the replies came."""

    def __init__(self, scene: BookingScene, stubs: Sequence[Any]) -> None:
        self._stubs = itertools.cycle(stubs)
        self._tokens = {
            practice.clinic: scene.suite.token(clinic_id=practice.clinic, scopes=ALL_SCOPES)
            for practice in scene.practices
        }
        self._next = {practice.clinic: itertools.count() for practice in scene.practices}
        self.taken: list[float] = []
        self.replied_at: dict[str, float] = {}

    async def book(self, practice: Practice) -> None:
        """Book. Raises AioRpcError."""
        midnight = datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=UTC)
        start = midnight + timedelta(minutes=_STEP_MIN * next(self._next[practice.clinic]))
        request = pb.CreateAppointmentRequest(
            clinic_id=practice.clinic,
            idempotency_key=new_id(),
            patient_id=practice.patients[0],
            service_id=practice.service,
            provider_id=practice.provider,
            location_id=practice.location,
            start=start.isoformat(),
        )
        metadata = [("authorization", f"Bearer {self._tokens[practice.clinic]}")]
        began = time.time()
        reply = await next(self._stubs).CreateAppointment(request, metadata=metadata, timeout=30)
        replied_at = time.time()
        self.taken.append(replied_at - began)
        self.replied_at[reply.appointment.id] = replied_at

    async def steadily(self, practices: Sequence[Practice], count: int) -> None:
        """Begin `BOOKINGS_PER_S` a second, however long each takes."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self.book(random.choice(practices)))
                next_at += 1 / BOOKINGS_PER_S
                await asyncio.sleep(max(0.0, next_at - loop.time()))


@asynccontextmanager
async def _bookings(scene: BookingScene) -> AsyncIterator[Bookings]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(scene.booking.target, options=options) for _ in range(4)]
    try:
        yield Bookings(scene, [booking_pb2_grpc.BookingServiceStub(channel) for channel in channels])
    finally:
        for channel in channels:
            await channel.close()


@dataclass(slots=True)
class Arrivals:
    """Which appointment's news reached a client when, seconds since the epoch."""

    wanted: int
    at: list[tuple[str, float]] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, _: Socket, payload: bytes, __: float) -> None:
        """Note one."""
        at = time.time()
        if payload.startswith(b'{"type":"appointment.created"'):
            self.at.append((json.loads(payload)["payload"]["appointmentId"], at))
            if len(self.at) >= self.wanted:
                self.done.set()


async def many_clinics(scene: BookingScene, sockets_per_clinic: int, bookings: int) -> Found:
    """Connect everybody, then book."""
    arrivals = Arrivals(bookings * sockets_per_clinic)
    makers = [
        _joining(scene, practice, number, arrivals)
        for number in range(sockets_per_clinic)
        for practice in scene.practices
    ]
    async with _bookings(scene) as client:
        await client.steadily(scene.practices, _WARM_UP)
        client.taken.clear()
        before, began = gateway_rss(scene.suite), time.perf_counter()
        sockets = await connect_all(scene.suite.http_port, makers)
        storm_s = time.perf_counter() - began
        memory = (gateway_rss(scene.suite) - before) / len(makers)
        # What these clients are made of is not what is measured: a collection would walk all of it.
        gc.collect()
        gc.freeze()
        async with _lateness() as late:
            await client.steadily(scene.practices, bookings)
            async with asyncio.timeout(60):
                await arrivals.done.wait()
        committed_at = await asyncio.to_thread(scene.committed_at)
    for each in sockets:
        each.close()
    return Found(
        storm_s=storm_s,
        memory=memory,
        from_commit=Spread.of(at - committed_at[id_] for id_, at in arrivals.at),
        from_reply=Spread.of(at - client.replied_at[id_] for id_, at in arrivals.at),
        booking=Spread.of(client.taken),
        late_s=max(late),
    )


@asynccontextmanager
async def _lateness() -> AsyncIterator[list[float]]:
    """How late this process's own loop woke from short sleeps, seconds."""
    late = [0.0]

    async def sleep() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            late.append(time.perf_counter() - began - 0.01)

    sleeping = asyncio.create_task(sleep())
    try:
        yield late
    finally:
        sleeping.cancel()


def _joining(scene: BookingScene, practice: Practice, number: int, arrivals: Arrivals) -> Any:
    token = scene.suite.token(clinic_id=practice.clinic, subject=f"user-{number}")
    first: list[Message] = [
        {"type": "authenticate", "token": token},
        {"type": "subscribe", "channels": [f"clinic:{practice.clinic}"]},
    ]
    return lambda: Socket("/v1/realtime/ws", first, arrivals.heard)
