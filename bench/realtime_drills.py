"""What goes wrong on an ordinary day, with very many connections: a gateway's restart, and a reader that stops.

Each drill says what it found; the tests run the same drills with fewer connections.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from bench.realtime_clients import Follower, Message, Socket, connect_all
from bench.realtime_scene import gateway_rss
from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit
from tests.support.waiting import wait_until_async

_SOCKETS_PER_CLINIC = 20
_WITHIN_S = 170.0
"""Bounds the waits: a machine that is busy with other things is slow, not wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """After a gateway's end and return: `wrong` clients did not hear exactly their clinic's events in order."""

    back_s: float
    wrong: int
    resyncs: int
    busiest_tenth: float
    """The share of all attempts to come back that fell into the busiest 100 ms."""


async def restart(suite: RealtimeSuite, count: int) -> Restarted:
    """Connect `count` sockets of many clinics, kill the gateway, let things happen, start it again."""
    clinics = [Clinic() for _ in range(max(1, count // _SOCKETS_PER_CLINIC))]
    owners = list(itertools.islice(itertools.cycle(clinics), count))
    followers = [
        Follower(
            suite.http_port, suite.token(clinic_id=clinic.id, subject=f"user-{n}"), f"clinic:{clinic.id}"
        )
        for n, clinic in enumerate(owners)
    ]
    happened: dict[str, list[str]] = {clinic.id: [] for clinic in clinics}

    async def happen(events: Events) -> None:
        for clinic in clinics:
            event = Visit(clinic).event()
            await events.publish(event)
            happened[clinic.id].append(event.event_id)

    async with suite.events() as events, _following(followers):
        await happen(events)
        await _until_told(followers, owners, happened)
        suite.kill("gateway")
        await happen(events)
        suite.restart("gateway")
        await asyncio.to_thread(suite.processes["gateway"].wait_ready)
        began = time.perf_counter()
        await happen(events)
        await _all_live(followers)
        back_s = time.perf_counter() - began
        await happen(events)
        await _until_told(followers, owners, happened)
    wrong = sum(each.heard != happened[owner.id] for each, owner in zip(followers, owners, strict=True))
    return Restarted(
        back_s=back_s,
        wrong=wrong,
        resyncs=sum(len(each.resyncs) for each in followers),
        busiest_tenth=_busiest_tenth([at for each in followers for at in each.tried_at[1:]]),
    )


@asynccontextmanager
async def _following(followers: Sequence[Follower]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        running = []
        for number, each in enumerate(followers):
            running.append(group.create_task(each.run()))
            if number % 200 == 199:
                await _all_live(followers[: number + 1])
        await _all_live(followers)
        yield
        for task in running:
            task.cancel()


async def _all_live(followers: Sequence[Follower]) -> None:
    async with asyncio.timeout(_WITHIN_S):
        for each in followers:
            await each.is_live.wait()


async def _until_told(
    followers: Sequence[Follower], owners: Sequence[Clinic], happened: dict[str, list[str]]
) -> None:
    """Wait until everybody has its clinic's last event."""

    async def has_come_to(follower: Follower, event_id: str) -> bool:
        return bool(follower.heard) and follower.heard[-1] == event_id

    for each, owner in zip(followers, owners, strict=True):
        goal = happened[owner.id][-1]
        await wait_until_async(partial(has_come_to, each, goal), timeout_s=_WITHIN_S, what=goal)


def _busiest_tenth(moments: Sequence[float]) -> float:
    tenths = Counter(int(at * 10) for at in moments)
    return max(tenths.values(), default=0) / max(1, len(moments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """Beside a reader that stops (or without one): p99 of the others, what the gateway grew, how the reader ended."""

    p99_s: float
    growth_bytes: int
    close_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """`events` go out at `events_per_s`, every second one to the clinic that the stuck reader listens to."""

    readers: int
    events: int
    events_per_s: float


async def stuck_reader(suite: RealtimeSuite, flood: Flood, *, is_there: bool) -> Stuck:
    """Send a flood to many readers; with `is_there` one more of the first clinic reads nothing of it."""
    clinics = [Clinic() for _ in range(max(1, flood.readers // _SOCKETS_PER_CLINIC))]
    per_clinic = flood.readers // len(clinics)
    delays = _Delays()
    makers = [
        partial(Socket, "/v1/realtime/ws", _first(suite, clinic, n), delays.heard)
        for n, clinic in enumerate(clinics * per_clinic)
    ]
    readers = await connect_all(suite.http_port, makers)
    stuck = await _stuck(suite, clinics[0]) if is_there else None
    ending = asyncio.create_task(_end_of(suite, stuck)) if stuck is not None else None
    before = gateway_rss(suite)
    async with suite.events() as events:
        for number in range(flood.events):
            clinic = clinics[0] if number % 2 else random.choice(clinics)
            delays.wanted += per_clinic
            await _publish(events, clinic, delays)
            await asyncio.sleep(
                max(0.0, delays.began + (number + 1) / flood.events_per_s - time.perf_counter())
            )
        await delays.all_heard()
    growth = gateway_rss(suite) - before
    code = await ending if ending is not None else None
    for each in readers:
        each.close()
    ordered = sorted(delays.taken)
    return Stuck(p99_s=ordered[int(len(ordered) * 0.99)], growth_bytes=growth, close_code=code)


class _Delays:
    """From an event's publication to each reader."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.sent_at: dict[str, float] = {}
        self.taken: list[float] = []
        self.wanted = 0

    def heard(self, _: Socket, payload: bytes, at: float) -> None:
        if b'"eventId"' in payload:
            self.taken.append(at - self.sent_at[json.loads(payload)["metadata"]["eventId"]])

    async def all_heard(self) -> None:
        async def are_heard() -> bool:
            return len(self.taken) >= self.wanted

        await wait_until_async(are_heard, timeout_s=60, what=f"{self.wanted} messages")


async def _publish(events: Events, clinic: Clinic, delays: _Delays) -> None:
    event = Visit(clinic).event()
    delays.sent_at[event.event_id] = time.perf_counter()
    await events.publish(event)


def _first(suite: RealtimeSuite, clinic: Clinic, number: int) -> list[Message]:
    token = suite.token(clinic_id=clinic.id, subject=f"user-{number}")
    return [
        {"type": "authenticate", "token": token},
        {"type": "subscribe", "channels": [f"clinic:{clinic.id}"]},
    ]


async def _stuck(suite: RealtimeSuite, clinic: Clinic) -> Socket:
    """A reader whose kernel keeps as little as possible, and who reads nothing from now on."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.connect(("127.0.0.1", suite.http_port))
    raw.setblocking(False)
    _, made = await asyncio.get_running_loop().create_connection(
        lambda: Socket("/v1/realtime/ws", _first(suite, clinic, -1), lambda *_: None), sock=raw
    )
    await made.ready
    assert made.transport is not None
    made.transport.pause_reading()
    return made


async def _end_of(suite: RealtimeSuite, stuck: Socket) -> int:
    """Read on once the gateway has dropped it: the close code."""

    async def is_dropped() -> bool:
        return "slow_reader" in suite.log("gateway")

    await wait_until_async(is_dropped, timeout_s=_WITHIN_S, what="the gateway to drop the slow reader")
    assert stuck.transport is not None
    stuck.transport.resume_reading()
    async with asyncio.timeout(30):
        return await stuck.closed
