"""Part (b): one message to all sockets of one channel, until the last of them has it; ours and the bare server's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import httpx

from bench.realtime_clients import Message, Socket, connect_all
from bench.realtime_scene import bare_server, gateway_rss, rss
from tests.support.realtime import Clinic, RealtimeSuite, Visit

ROUNDS = 15
TEXT = json.dumps(
    {"type": "appointment.created", "payload": {"filler": "x" * 420}}, separators=(",", ":")
).encode()


class Arrivals:
    """When a message reached whom."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._wanted = 0
        self._done = asyncio.Event()

    def want(self, count: int) -> None:
        """Begin to wait for `count` messages."""
        self._at.clear()
        self._wanted = count
        self._done.clear()

    def heard(self, _: Socket, payload: bytes, at: float) -> None:
        """Note one."""
        if payload.startswith(b'{"type":"appointment.created"'):
            self._at.append(at)
            if len(self._at) >= self._wanted:
                self._done.set()

    async def all_heard(self) -> float:
        """Wait for all of them; when the last one came."""
        async with asyncio.timeout(60):
            await self._done.wait()
        return max(self._at)


async def bare(count: int, *, rounds: int = ROUNDS) -> tuple[list[float], float]:
    """Seconds to the last client in each round, and bytes of memory a connection."""
    arrivals = Arrivals()
    with bare_server() as (port, pid):
        before = rss(pid)
        sockets = await connect_all(port, [lambda: Socket("/", [], arrivals.heard)] * count)
        memory = (rss(pid) - before) / count
        taken = []
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            for _ in range(rounds):
                arrivals.want(count)
                began = time.perf_counter()
                posting = asyncio.create_task(http.post(f"http://127.0.0.1:{port}/", content=TEXT))
                taken.append(await arrivals.all_heard() - began)
                await posting
        for each in sockets:
            each.close()
    return taken, memory


async def ours(suite: RealtimeSuite, count: int) -> tuple[list[float], float]:
    """The same through realtime_svc and gateway, from the event's publication on."""
    arrivals, clinic = Arrivals(), Clinic()
    before = gateway_rss(suite)
    sockets = await connect_all(suite.http_port, [_joining(suite, clinic, n, arrivals) for n in range(count)])
    memory = (gateway_rss(suite) - before) / count
    taken = []
    async with suite.events() as events:
        for _ in range(ROUNDS):
            arrivals.want(count)
            event = Visit(clinic).event()
            began = time.perf_counter()
            publishing = asyncio.create_task(events.publish(event))
            taken.append(await arrivals.all_heard() - began)
            await publishing
    for each in sockets:
        each.close()
    return taken, memory


def _joining(suite: RealtimeSuite, clinic: Clinic, number: int, arrivals: Arrivals) -> Callable[[], Socket]:
    token = suite.token(clinic_id=clinic.id, subject=f"user-{number}")
    first: list[Message] = [
        {"type": "authenticate", "token": token},
        {"type": "subscribe", "channels": [f"clinic:{clinic.id}"]},
    ]
    return lambda: Socket("/v1/realtime/ws", first, arrivals.heard)
