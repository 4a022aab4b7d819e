"""Bookings through gRPC beside their floor: the product's own statements, recorded and replayed by pgbench.

Embedded servers, one clinic, the service in a process of its own, and this process as the client, all on the same
cores. One CreateAppointment is recorded statement by statement, round trip by round trip; pgbench replays it in
pipelines of the same shape, prepared, as the same role, with ids and times that make every booking another one. The
disk alone is measured beside each number of clients (see `disk_floor`): every booking waits for it.

    python -m bench.booking
    python -m bench.booking --bookings 400 --crowded 1000
    python -m bench.booking --processes 2
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import booking_processes
from bench.booking_floor import Floor, pgbench, pgbench_script, prepare, record
from bench.booking_scene import LANES, Bench, running
from bench.disk_floor import Flushes, flushes
from tests.support.booking import BookingProcess
from tests.support.invariants import OVERLAPS, deadlocks
from tests.support.waiting import wait_until_async

CONCURRENCY = (1, 16, 64)
ROUNDS = 3
_UNSETTLED = """
SELECT (SELECT count(*) FROM outbox_event WHERE published_at IS NULL)
    + (SELECT count(*) FROM audit_event) - (SELECT count(*) FROM audit_seal)
"""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Measured:
    """One run: bookings a second, and what a booking took and cost."""

    rate: float
    p50_ms: float
    p99_ms: float
    service_cpu_ms: float


async def through_grpc(
    bench: Bench, concurrency: int, bookings: int, first: int, processes: Sequence[BookingProcess] = ()
) -> Measured:
    """Book in `concurrency` lanes at once, through these processes in turn; the first one unless others are given."""
    caller = await bench.caller(processes)
    numbers = iter(range(bookings))
    taken: list[float] = []

    async def lane(which: int) -> None:
        practice, place = bench.practice, first
        for _ in numbers:
            began = time.perf_counter()
            found = await caller.create(
                bench.start(place),
                patient=which,
                provider_id=practice.providers[which],
                room_id=practice.rooms[which],
            )
            assert found == "OK", found
            taken.append(time.perf_counter() - began)
            place += 1

    cpu, began = _cpu_s(bench.process.popen.pid), time.perf_counter()
    await asyncio.gather(*(lane(which) for which in range(concurrency)))
    elapsed = time.perf_counter() - began
    cpu = _cpu_s(bench.process.popen.pid) - cpu
    caller.close()
    return Measured(bookings / elapsed, *_percentiles_ms(taken), cpu / bookings * 1_000)


async def contended(bench: Bench, number: int) -> tuple[Counter[str], float, float]:
    """64 clients, one slot, alternatives included."""
    caller = await bench.caller()
    taken: list[float] = []

    async def want(which: int) -> str:
        began = time.perf_counter()
        found = await caller.create(bench.start(number), patient=which)
        taken.append(time.perf_counter() - began)
        return found

    found = Counter(await asyncio.gather(*(want(which) for which in range(LANES))))
    caller.close()
    return found, *_percentiles_ms(taken)


def _percentiles_ms(taken: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(taken)
    return ordered[len(ordered) // 2] * 1_000, ordered[
        min(len(ordered) - 1, len(ordered) * 99 // 100)
    ] * 1_000


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _print_row(concurrency: int, rounds: Sequence[tuple[Measured, Floor]]) -> None:
    """The medians of the rounds; the share is the median of each round's own."""
    columns = zip(*(_figures(found, floor) for found, floor in rounds), strict=True)
    rate, p50, p99, cpu, floor, floor_p99, share = (statistics.median(values) for values in columns)
    mine = f"{rate:.0f} | {p50:.1f} | {p99:.1f} | {cpu:.2f}"
    print(f"| {concurrency} | {mine} | {floor:.0f} | {floor_p99:.1f} | {share:.0%} |")


def _print_p99s(rounds: Sequence[tuple[Measured, Floor]]) -> None:
    """Of each round: one in which the disk stops stands out."""
    mine, floor = (", ".join(f"{found.p99_ms:.0f}" for found in of) for of in zip(*rounds, strict=True))
    print(f"  p99 of each round: {mine} ms, pgbench's {floor} ms")


def _print_disk(rounds: Sequence[Flushes]) -> None:
    """Of each round, before it: the disk alone."""
    worst = ", ".join(f"{found.worst_ms:.0f}" for found in rounds)
    stalled = statistics.mean(found.stalled_share for found in rounds)
    p50, p99 = (
        statistics.median(values) for values in zip(*((f.p50_ms, f.p99_ms) for f in rounds), strict=True)
    )
    print(
        f"  the disk alone, 400 flushes/s: p50 {p50:.2f} ms, p99 {p99:.1f} ms, worst of each round {worst} ms,"
        f" {stalled:.1%} of the time in flushes of 20 ms and more"
    )


def _figures(found: Measured, floor: Floor) -> tuple[float, ...]:
    mine = found.rate, found.p50_ms, found.p99_ms, found.service_cpu_ms
    return *mine, floor.rate, floor.p99_ms, found.rate / floor.rate


async def _warm_up(bench: Bench) -> None:
    """Fill calendars a little and let PostgreSQL count its rows, as autovacuum does within a minute."""
    caller, practice = await bench.caller(), bench.practice
    for place in range(4):
        for lane in range(LANES):
            await caller.create(
                bench.start(place),
                patient=lane,
                provider_id=practice.providers[lane],
                room_id=practice.rooms[lane],
            )
    caller.close()
    with psycopg.connect(bench.database.owner_url, autocommit=True) as owner:
        owner.execute("VACUUM (ANALYZE)")


async def settled(bench: Bench) -> None:
    """Return when the service has published and sealed what was written: the floor's bookings are its work too.

    Raises AssertionError after a minute.
    """

    async def is_settled() -> bool:
        with psycopg.connect(bench.database.owner_url) as owner:
            return owner.execute(_UNSETTLED).fetchone() == (0,)

    await wait_until_async(
        is_settled, timeout_s=60, what="events to be published and audit rows to be sealed"
    )


async def add_processes(bench: Bench, count: int, bookings: int, first: int) -> None:
    """What more processes add."""

    async def book(processes: Sequence[BookingProcess], place: int) -> float:
        found = await through_grpc(bench, booking_processes.CONCURRENCY, bookings, place, processes)
        return found.rate

    places = bookings // booking_processes.CONCURRENCY + bookings // 4
    await booking_processes.compare(bench, count, book, first, places)


async def measure(alone: int, crowded: int, processes: int) -> None:
    """`alone` bookings a round of one client, `crowded` of many: a stop of the disk holds all of those at once."""
    with running() as bench:
        prepare(bench)
        await _warm_up(bench)
        recorded = await record(bench, 4)
        print(f"one booking: {sum(map(len, recorded.trips))} statements in {len(recorded.trips)} round trips")
        print(
            "| clients | bookings/s | p50 ms | p99 ms | service CPU ms | pgbench/s | its p99 ms | share of the floor |"
        )
        print("|---|---|---|---|---|---|---|---|")
        place = 10
        for concurrency in CONCURRENCY:
            rounds, disk = [], []
            bookings = alone if concurrency == 1 else crowded
            for _ in range(ROUNDS):
                await settled(bench)
                disk.append(flushes(bench.folder))
                found = await through_grpc(bench, concurrency, bookings, place)
                place += bookings // concurrency + bookings // 4
                floor = pgbench(bench, pgbench_script(bench, recorded), concurrency, bookings, place)
                place += bookings // concurrency + 10
                rounds.append((found, floor))
            _print_row(concurrency, rounds)
            _print_p99s(rounds)
            _print_disk(disk)
        outcomes, p50_ms, p99_ms = await contended(bench, place + 2_000)
        print(f"one slot, 64 clients: {dict(outcomes)}, p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms")
        if processes > 1:
            await add_processes(bench, processes, alone, place + 2_100)
        with psycopg.connect(bench.database.owner_url) as owner:
            print("overlaps:", owner.execute(OVERLAPS).fetchall())
        print("deadlocks:", deadlocks(bench.database))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bookings", type=int, default=600, help="bookings of each round of one client")
    parser.add_argument("--crowded", type=int, default=2_000, help="bookings of each round of more clients")
    parser.add_argument(
        "--processes", type=int, default=1, help="compare one process with so many, afterwards"
    )
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.bookings, chosen.crowded, chosen.processes))


if __name__ == "__main__":
    main()
