"""A client that stops reading is dropped; nobody else notices, and memory stays flat."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit
from tests.support.waiting import wait_until

_FAST = 40
_EVENTS = 1_500


@pytest.fixture
def suite(tmp_path: Path, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite whose gateway keeps at most 256 KiB for one client."""
    made = RealtimeSuite(tmp_path, redis_url, {"MEDFORALL_REALTIME_QUEUE_BYTES_MAX": "262144"})
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def _join(suite: RealtimeSuite, clinic: Clinic, connection: ClientConnection) -> None:
    await connection.send(json.dumps({"type": "authenticate", "token": suite.token(clinic_id=clinic.id)}))
    await connection.send(json.dumps({"type": "subscribe", "channels": [f"clinic:{clinic.id}"]}))
    while json.loads(await connection.recv())["type"] != "subscribed":
        pass


def _stuck_socket(suite: RealtimeSuite) -> socket.socket:
    """A connection whose kernel keeps as little as possible."""
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stuck.connect(("127.0.0.1", suite.http_port))
    return stuck


async def _follow(connection: ClientConnection, sent_at: dict[str, float], delays: list[float]) -> None:
    for _ in range(_EVENTS):
        message = json.loads(await connection.recv())
        delays.append(time.perf_counter() - sent_at[message["metadata"]["eventId"]])


async def _publish(events: Events, clinic: Clinic, sent_at: dict[str, float]) -> None:
    for number in range(_EVENTS):
        event = Visit(clinic).event()
        sent_at[event.event_id] = time.perf_counter()
        await events.publish(event)
        if number % 10 == 9:
            await asyncio.sleep(0.01)


async def _measure(
    suite: RealtimeSuite, clinic: Clinic, *, with_stuck: bool
) -> tuple[float, int, int | None]:
    """p99 of the fast readers in seconds, growth of the gateway's memory in bytes, the stuck one's close code."""
    sent_at: dict[str, float] = {}
    delays: list[float] = []
    pid = suite.processes["gateway"].pid
    assert pid is not None
    gateway = psutil.Process(pid)
    async with AsyncExitStack() as stack:
        events = await stack.enter_async_context(suite.events())
        fast = []
        for _ in range(_FAST):
            connection = await stack.enter_async_context(connect(suite.ws_url, compression=None, proxy=None))
            await _join(suite, clinic, connection)
            fast.append(connection)
        stuck: ClientConnection | None = None
        if with_stuck:
            stuck = await connect(
                suite.ws_url,
                compression=None,
                proxy=None,
                sock=_stuck_socket(suite),
                ping_interval=None,
                max_queue=1,
            )
            await _join(suite, clinic, stuck)
        before = gateway.memory_info().rss
        async with asyncio.timeout(90):
            await asyncio.gather(
                _publish(events, clinic, sent_at), *(_follow(each, sent_at, delays) for each in fast)
            )
        growth = gateway.memory_info().rss - before
        code = await _end_of(stuck) if stuck is not None else None
    delays.sort()
    return delays[int(len(delays) * 0.99)], growth, code


async def _end_of(connection: ClientConnection) -> int | None:
    """Read again, and see how it ended: told, or cut off."""
    try:
        async with asyncio.timeout(20):
            while True:
                await connection.recv()
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 1006


@pytest.mark.slow
async def test_a_reader_that_stops_harms_nobody(suite: RealtimeSuite) -> None:
    """One of 101 readers stops: it is dropped, the others get everything as fast, memory does not grow."""
    alone, _, _ = await _measure(suite, Clinic(), with_stuck=False)
    beside, growth, code = await _measure(suite, Clinic(), with_stuck=True)
    print(  # noqa: T201
        f"p99 alone {alone * 1e3:.1f} ms, beside a stuck reader {beside * 1e3:.1f} ms, {growth >> 10} KiB more"
    )
    assert code in {4413, 1006}
    wait_until(lambda: "slow_reader" in suite.log("gateway"), what="the gateway to tell of the slow reader")
    assert growth < 16 * 1_048_576
    assert beside < max(3 * alone, 0.25)
