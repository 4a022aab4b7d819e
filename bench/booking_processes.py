"""What a second booking process adds on the same database, and who had the cores meanwhile.

`python -m bench.booking --processes 2` runs it after the rest. A second process can only add what is left: the share
of the cores that the database, the services, this client and everything else on the machine took stands beside it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from bench.booking_scene import Bench
from tests.support.booking import BookingProcess, booking_processes

CONCURRENCY: Final = 32
ROUNDS: Final = 3
TARGET: Final = 1.5

Book = Callable[[Sequence[BookingProcess], int], Awaitable[float]]
"""Books through these processes from this place of the lanes' calendars on; bookings a second."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all cores' time: what each took, and what nobody did."""

    services: float
    database: float
    client: float
    idle: float


class Meter:
    """Reads what processes have used, at two moments."""

    def __init__(self, bench: Bench, processes: Sequence[BookingProcess]) -> None:
        self._services = [process.popen.pid for process in processes]
        self._database = bench.postgres_pid
        self._began = self._read()

    def shares(self) -> Shares:
        """Since this meter was made."""
        began, ended = self._began, self._read()
        elapsed_s, *used_s = (late - early for early, late in zip(began, ended, strict=True))
        services, database, client, idle = (used / elapsed_s / (os.cpu_count() or 1) for used in used_s)
        return Shares(services, database, client, idle)

    def _read(self) -> tuple[float, ...]:
        services_s = sum(_used_s(psutil.Process(pid)) for pid in self._services)
        postmaster = psutil.Process(self._database)
        database_s = sum(map(_used_s, [postmaster, *postmaster.children(recursive=True)]))
        return (
            time.monotonic(),
            services_s,
            database_s,
            _used_s(psutil.Process()),
            psutil.cpu_times().idle,
        )


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def compare(bench: Bench, count: int, book: Book, first: int, places: int) -> None:
    """Book through one process and through `count`, in turns; print the rates, the shares and their ratio."""
    folder = bench.folder / "more"
    folder.mkdir()
    found: dict[int, list[tuple[float, Shares]]] = {1: [], count: []}
    with booking_processes(bench.environment, folder, count - 1) as more:
        together = [bench.process, *more]
        await book(together, first)
        for round_ in range(1, ROUNDS + 1):
            for number, rounds in found.items():
                meter = Meter(bench, together[:number])
                rate = await book(together[:number], first + (2 * round_ - (number == 1)) * places)
                rounds.append((rate, meter.shares()))
    _print(found, count)


def _print(found: dict[int, list[tuple[float, Shares]]], count: int) -> None:
    print(f"| processes | bookings/s ({CONCURRENCY} clients) | services | database | client | idle |")
    print("|---|---|---|---|---|---|")
    for number, rounds in found.items():
        rate, *shares = (
            statistics.median(values)
            for values in zip(
                *((rate, s.services, s.database, s.client, s.idle) for rate, s in rounds), strict=True
            )
        )
        print(f"| {number} | {rate:.0f} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    ratio = statistics.median(many[0] / one[0] for one, many in zip(found[1], found[count], strict=True))
    idle = statistics.median(shares.idle for _, shares in found[1])
    room = (
        ""
        if idle > 1 / (os.cpu_count() or 1)
        else "; one process left less than one core idle: no room to add"
    )
    print(f"{count} processes: {ratio:.2f} × one (target {TARGET} where there is room{room})")
