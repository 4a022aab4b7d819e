"""Fan-out to many WebSockets beside a bare server that does the same, in the same run.

(a) 500 clinics with 20 sockets each, 30 bookings a second: from the event's publication to every client.
(b) 2,000 sockets on one channel: how long until the last of them has a message.

Servers are processes of their own; all clients live in this one. NATS and Valkey are embedded.

    python -m bench.realtime            # both, about two minutes
    python -m bench.realtime --quick    # a tenth of the sockets
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvloop

from bench.realtime_clients import Socket, connect_all
from ctl.embedded import EmbeddedValkey, start_server
from ctl.ports import free_port
from ctl.readiness import http_ok
from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit

_PASSWORD = "bench-only"  # noqa: S105 - a server that lives as long as the run
_ROUNDS = 15
_BOOKINGS_PER_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many of everything."""

    clinics: int = 500
    sockets_per_clinic: int = 20
    bookings: int = 600
    on_one_channel: int = 2_000


@contextmanager
def realtime_suite(redis_url: str, directory: Path) -> Iterator[RealtimeSuite]:
    """realtime_svc and gateway, running."""
    suite = RealtimeSuite(directory, redis_url, {"MEDFORALL_LOG_LEVEL": "warning"})
    try:
        suite.start()
        yield suite
    finally:
        suite.stop()


@contextmanager
def bare_server() -> Iterator[tuple[int, int]]:
    """The floor, running: its port and pid."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.realtime_bare", str(port)])
    try:
        deadline = time.monotonic() + 20
        while not _answers(port):
            assert time.monotonic() < deadline, "the bare server does not answer"
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 204
    except httpx.HTTPError:
        return http_ok(f"http://127.0.0.1:{port}/")


def _rss(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


class Arrivals:
    """When whom a message reached."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.delays: list[float] = []
        self.sent_at: dict[str, float] = {}
        self._wanted = 0
        self._done = asyncio.Event()

    def want(self, count: int) -> None:
        """Begin to wait for `count` messages."""
        self.at.clear()
        self._wanted = count
        self._done.clear()

    def heard(self, _: Socket, payload: bytes, at: float) -> None:
        """Note one."""
        self.at.append(at)
        if self.sent_at:
            event_id = json.loads(payload)["metadata"]["eventId"]
            self.delays.append(at - self.sent_at[event_id])
        if len(self.at) >= self._wanted:
            self._done.set()

    async def all_heard(self) -> float:
        """Wait for all of them; when the last one came."""
        async with asyncio.timeout(60):
            await self._done.wait()
        return max(self.at)


def _bare_client(arrivals: Arrivals) -> Callable[[], Socket]:
    return lambda: Socket("/", [], arrivals.heard)


async def bare_fan_out(count: int, text: bytes) -> tuple[list[float], float]:
    """Seconds to the last client in each round, and bytes of memory a connection."""
    arrivals = Arrivals()
    with bare_server() as (port, pid):
        before = _rss(pid)
        sockets = await connect_all(port, [_bare_client(arrivals)] * count)
        memory = (_rss(pid) - before) / count
        rounds = []
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            for _ in range(_ROUNDS):
                arrivals.want(count)
                began = time.perf_counter()
                posting = asyncio.create_task(http.post(f"http://127.0.0.1:{port}/", content=text))
                rounds.append(await arrivals.all_heard() - began)
                await posting
        for each in sockets:
            each.close()
    return rounds, memory


def _joining(suite: RealtimeSuite, clinic: Clinic, number: int, heard: Any) -> Callable[[], Socket]:
    token = suite.token(clinic_id=clinic.id, subject=f"user-{number}")
    first: list[dict[str, object]] = [
        {"type": "authenticate", "token": token},
        {"type": "subscribe", "channels": [f"clinic:{clinic.id}"]},
    ]
    return lambda: Socket("/v1/realtime/ws", first, heard)


async def our_fan_out(suite: RealtimeSuite, count: int) -> tuple[list[float], float]:
    """The same through realtime_svc and gateway, from the event's publication on."""
    arrivals, clinic = Arrivals(), Clinic()
    pid = suite.processes["gateway"].pid
    assert pid is not None
    makers = [_joining(suite, clinic, number, arrivals.heard) for number in range(count)]
    before = _rss(pid)
    sockets = await connect_all(suite.http_port, makers)
    memory = (_rss(pid) - before) / count
    rounds = []
    async with suite.events() as events:
        for _ in range(_ROUNDS):
            arrivals.want(count)
            event = Visit(clinic).event()
            began = time.perf_counter()
            publishing = asyncio.create_task(events.publish(event))
            rounds.append(await arrivals.all_heard() - began)
            await publishing
    for each in sockets:
        each.close()
    return rounds, memory


async def many_clinics(suite: RealtimeSuite, size: Size) -> dict[str, float]:
    """(a): the storm of connections, then bookings at a steady rate."""
    arrivals = Arrivals()
    clinics = [Clinic() for _ in range(size.clinics)]
    makers = [
        _joining(suite, clinic, number, arrivals.heard)
        for number in range(size.sockets_per_clinic)
        for clinic in clinics
    ]
    pid = suite.processes["gateway"].pid
    assert pid is not None
    before = _rss(pid)
    began = time.perf_counter()
    sockets = await connect_all(suite.http_port, makers)
    storm_s = time.perf_counter() - began
    memory = (_rss(pid) - before) / len(makers)
    arrivals.want(size.bookings * size.sockets_per_clinic)
    async with suite.events() as events:
        await _book(events, clinics, size.bookings, arrivals)
        await arrivals.all_heard()
    for each in sockets:
        each.close()
    delays = sorted(arrivals.delays)
    return {
        "storm_s": storm_s,
        "memory": memory,
        "p50": statistics.median(delays),
        "p99": delays[int(len(delays) * 0.99)],
        "max": delays[-1],
    }


async def _book(events: Events, clinics: list[Clinic], count: int, arrivals: Arrivals) -> None:
    loop = asyncio.get_running_loop()
    next_at = loop.time()
    for _ in range(count):
        event = Visit(random.choice(clinics)).event()
        arrivals.sent_at[event.event_id] = time.perf_counter()
        await events.publish(event)
        next_at += 1 / _BOOKINGS_PER_S
        await asyncio.sleep(max(0.0, next_at - loop.time()))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _kb(size: float) -> str:
    return f"{size / 1024:.1f} KiB"


async def run(size: Size, redis_url: str, directory: Path) -> bool:
    """Measure and print; True when every target is met."""
    text = json.dumps({"type": "appointment.created", "payload": {"filler": "x" * 420}}).encode()
    with realtime_suite(redis_url, directory / "b") as suite:
        ours, our_memory = await our_fan_out(suite, size.on_one_channel)
    bare, bare_memory = await bare_fan_out(size.on_one_channel, text)
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"(b) {size.on_one_channel:,} sockets on one channel, last client after (median of {_ROUNDS})")
    _compare(_ms(statistics.median(bare)), _ms(statistics.median(ours)), ratio)
    print("    memory a connection")
    _compare(_kb(bare_memory), _kb(our_memory), our_memory / bare_memory)
    count = size.clinics * size.sockets_per_clinic
    with realtime_suite(redis_url, directory / "a") as suite:
        found = await many_clinics(suite, size)
    _, bare_memory = await bare_fan_out(count, text)
    memory_ratio = found["memory"] / bare_memory
    print(f"(a) {size.clinics} clinics x {size.sockets_per_clinic} sockets, {_BOOKINGS_PER_S} bookings/s")
    print(f"    all connected, authenticated and subscribed after {found['storm_s']:.1f} s (target 30)")
    told = "   ".join(f"{name} {_ms(found[name])}" for name in ("p50", "p99", "max"))
    print(f"    publication to client: {told} (target p99 150)")
    print("    memory a connection")
    _compare(_kb(bare_memory), _kb(found["memory"]), memory_ratio)
    return ratio <= 2 and memory_ratio <= 2 and found["p99"] <= 0.150 and found["storm_s"] <= 30


def _compare(bare: str, ours: str, ratio: float) -> None:
    print(f"    bare {bare}   medforall {ours}   ratio {ratio:.2f} (target 2)")


def main() -> int:
    """Run; 1 when a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the sockets")
    quick = parser.parse_args().quick
    size = Size(clinics=50, bookings=150, on_one_channel=500) if quick else Size()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="medforall-bench-") as folder:
        directory = Path(folder)
        for name in ("a", "b"):
            (directory / name).mkdir()
        valkey = EmbeddedValkey(
            directory / "valkey",
            port=free_port(),
            password=_PASSWORD,
            log_path=directory / "valkey.log",
        )
        process = start_server(valkey)
        try:
            is_good = uvloop.run(run(size, valkey.url, directory))
        finally:
            process.stop()
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
