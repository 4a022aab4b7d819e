"""Realtime to many WebSockets, beside a bare server that does the same in the same run.

bookings   500 clinics with 20 sockets each: the storm of connections, then 30 bookings a second through booking_svc,
           PostgreSQL, outbox and relay, from each transaction's commit to every client.
fan-out    2,000 sockets on one channel: how long until the last of them has a message.
restart    5,000 idle sockets and a gateway that is killed: who is back when, and what they heard.
slow       A reader that stops beside 1,000 that do not.

Servers are processes of their own; all clients live in this one. PostgreSQL, NATS and Valkey are embedded.

    python -m bench.realtime                     # all, about five minutes
    python -m bench.realtime --quick restart     # these parts, with a tenth of the sockets
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import realtime_fan_out
from bench.realtime_bookings import BOOKINGS_PER_S, Spread, many_clinics
from bench.realtime_drills import Flood, restart, stuck_reader
from bench.realtime_scene import booking_scene, realtime_suite, redis
from gateway.realtime.protocol import CloseCode

FLOOD = Flood(readers=1_000, events=1_800, events_per_s=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many of everything."""

    clinics: int = 500
    sockets_per_clinic: int = 20
    bookings: int = 900
    on_one_channel: int = 2_000
    idle: int = 5_000
    flood: Flood = FLOOD


QUICK = Size(
    clinics=50,
    bookings=150,
    on_one_channel=500,
    idle=500,
    flood=Flood(readers=100, events=900, events_per_s=60),
)


async def measure_bookings(size: Size, redis_url: str, directory: Path) -> bool:
    """Print; True when every target is met."""
    count = size.clinics * size.sockets_per_clinic
    with booking_scene(redis_url, directory, size.clinics) as scene:
        found = await many_clinics(scene, size.sockets_per_clinic, size.bookings)
    _, bare_memory = await realtime_fan_out.bare(count, rounds=0)
    print(f"{size.clinics} clinics x {size.sockets_per_clinic} sockets, {BOOKINGS_PER_S} bookings/s")
    print(
        f"    all {count:,} connected, authenticated and subscribed after {found.storm_s:.1f} s (target 30)"
    )
    print(f"    commit to client: {_spread(found.from_commit)} (target p99 150)")
    print(f"    reply to client:  {_spread(found.from_reply)}; below 0 the client knew before the caller")
    print(f"    CreateAppointment: {_spread(found.booking)}")
    print(f"    the clients' own loop was late by at most {_ms(found.late_s)}")
    print("    memory a connection")
    _compare(_kib(bare_memory), _kib(found.memory), found.memory / bare_memory)
    return found.memory <= 2 * bare_memory and found.from_commit.p99 <= 0.150 and found.storm_s <= 30


async def measure_fan_out(size: Size, redis_url: str, directory: Path) -> bool:
    """Print; True when every target is met."""
    with realtime_suite(redis_url, directory) as suite:
        ours, our_memory = await realtime_fan_out.ours(suite, size.on_one_channel)
    bare, bare_memory = await realtime_fan_out.bare(size.on_one_channel)
    ratio = statistics.median(ours) / statistics.median(bare)
    rounds = realtime_fan_out.ROUNDS
    print(f"{size.on_one_channel:,} sockets on one channel, last client after (median of {rounds})")
    _compare(_ms(statistics.median(bare)), _ms(statistics.median(ours)), ratio)
    print("    memory a connection")
    _compare(_kib(bare_memory), _kib(our_memory), our_memory / bare_memory)
    return ratio <= 2 and our_memory <= 2 * bare_memory


async def measure_restart(size: Size, redis_url: str, directory: Path) -> bool:
    """Print; True when nobody missed or repeated anything."""
    with realtime_suite(redis_url, directory) as suite:
        found = await restart(suite, size.idle)
    print(f"{size.idle:,} idle sockets, gateway killed and started again")
    print(
        f"    all back {found.back_s:.1f} s after it serves; busiest 100 ms: {found.busiest_tenth:.1%} of attempts"
    )
    print(
        f"    {found.wrong} heard anything but exactly their clinic's events; {found.resyncs} had to fetch again"
    )
    return not found.wrong and not found.resyncs


async def measure_slow_reader(size: Size, redis_url: str, directory: Path) -> bool:
    """Print; True when the reader was dropped and nobody else noticed."""
    with realtime_suite(redis_url, directory, MEDFORALL_REALTIME_QUEUE_BYTES_MAX="65536") as suite:
        alone = await stuck_reader(suite, size.flood, is_there=False)
        beside = await stuck_reader(suite, size.flood, is_there=True)
    print(
        f"a reader that stops beside {size.flood.readers:,} that do not, {size.flood.events_per_s:g} events/s"
    )
    print(f"    p99 of the others {_ms(beside.p99_s)}, without it {_ms(alone.p99_s)}")
    print(f"    closed with {beside.close_code}; the gateway grew {beside.growth_bytes / 2**20:.1f} MiB")
    return beside.close_code == CloseCode.SLOW_READER and beside.growth_bytes < 16 * 2**20


PARTS: Mapping[str, Callable[[Size, str, Path], Awaitable[bool]]] = {
    "bookings": measure_bookings,
    "fan-out": measure_fan_out,
    "restart": measure_restart,
    "slow": measure_slow_reader,
}


def _spread(spread: Spread) -> str:
    return f"p50 {_ms(spread.p50)}   p99 {_ms(spread.p99)}   max {_ms(spread.max)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _kib(size: float) -> str:
    return f"{size / 1024:.1f} KiB"


def _compare(bare: str, ours: str, ratio: float) -> None:
    print(f"    bare {bare}   medforall {ours}   ratio {ratio:.2f} (target 2)")


async def run(parts: list[str], size: Size, redis_url: str, directory: Path) -> bool:
    """Measure each part; True when every target is met."""
    met = []
    for part in parts:
        met.append(await PARTS[part](size, redis_url, directory / part))
        print(f"    load {os.getloadavg()[0]:.1f}", flush=True)
    return all(met)


def main() -> int:
    """Run; 1 when a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the sockets")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; none means all")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.parts) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="medforall-bench-") as folder, redis(Path(folder)) as redis_url:
        size = QUICK if chosen.quick else Size()
        is_good = uvloop.run(run(chosen.parts or list(PARTS), size, redis_url, Path(folder)))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
