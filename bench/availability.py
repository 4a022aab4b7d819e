"""SearchSlots through gRPC beside its floor: the same server, interceptors and all, answering a ready-made message.

Embedded servers, seeded clinics, the service in a process of its own, and this process as the client. The floor and
the service are driven in turns, so that the noise of the machine meets both. CPU is the server process's own, user and
system, divided by the calls.

    python -m bench.availability                          # 40 clinics: minutes
    python -m bench.availability --clinics 500 --days 30  # the targets' data
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import psycopg
import redis
from medforall.availability.v1 import availability_pb2 as pb
from medforall.availability.v1 import availability_pb2_grpc as rpc
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc

from availability_svc.calendars import BUCKET_DAYS
from bench.availability_growth import print_growth
from bench.lean_grpc import LeanChannel, head_of
from chassis.auth.signing import SigningKey, generate_signing_key, public_jwks, sign_token
from chassis.master_keys import create_master_key_file, load_master_keys
from chassis.settings import EncryptionSettings
from ctl.embedded import EmbeddedNats, EmbeddedPostgres, EmbeddedValkey, start_server
from ctl.ports import free_port
from ctl.readiness import grpc_serving
from ctl.seed.facts import ClinicFacts, read_clinic
from ctl.seed.load import SeedOptions, seed_clinics
from ctl.seed.words import clinic_id
from ctl.transfer.sections import id_of
from database.migrate import migrate
from database.roles import APP_ROLE, WORKER_ROLE, enable_login, url_for

_PASSWORD = "bench-only"  # noqa: S105 - servers that live as long as the run
# Asking again without a pause would measure the load of asking.
_POLL_S = 0.003
_TICKS = os.sysconf("SC_CLK_TCK")
_SEARCH = "/medforall.availability.v1.AvailabilityService/SearchSlots"
SCOPES = ("read:availability", "write:appointments", "read:appointments")


@dataclass(slots=True)
class Suite:
    """The servers of a run, and how to call its services."""

    environment: dict[str, str]
    signing: SigningKey
    clinics: Sequence[ClinicFacts]
    days: int
    first_day: date
    tokens: dict[str, str] = field(default_factory=dict)

    def caller(self, clinic_id: str) -> tuple[tuple[str, str], ...]:
        """Metadata of a front desk."""
        token = self.tokens.get(clinic_id)
        if token is None:
            token = self.tokens[clinic_id] = sign_token(
                self.signing,
                subject="bench",
                role="front_desk",
                now_s=int(time.time()),
                ttl_s=36_000,
                clinic_id=clinic_id,
                scopes=SCOPES,
            )
        return (("authorization", f"Bearer {token}"),)


@dataclass(frozen=True, slots=True)
class Measured:
    """One phase: calls, seconds, each call's ms, and the server's CPU ms per call."""

    calls: int
    seconds: float
    latencies_ms: list[float]
    cpu_ms: float
    layers: dict[int, int]
    slots: int

    @property
    def line(self) -> str:
        """Rate, p50, p99 and CPU as one row's cells."""
        found = sorted(self.latencies_ms)
        p50, p99 = found[len(found) // 2], found[min(len(found) - 1, int(len(found) * 0.99))]
        return f"{self.calls / self.seconds:8.0f}/s  p50 {p50:7.2f}  p99 {p99:7.2f} ms  cpu {self.cpu_ms:6.3f} ms"


class Service:
    """A server process: its target, and the CPU it has used."""

    def __init__(self, process: subprocess.Popen[bytes], target: str) -> None:
        self.process = process
        self.target = target

    def cpu_s(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def service(suite: Suite, *module: str, **extra: str) -> Iterator[Service]:
    """A service process that is ready; SIGTERM at the end."""
    port = free_port()
    environment = {
        **os.environ,
        **suite.environment,
        "MEDFORALL_GRPC_LISTEN": f"127.0.0.1:{port}",
        "MEDFORALL_LOG_LEVEL": "info",
        **extra,
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 30
            while not grpc_serving(f"127.0.0.1:{port}"):
                if time.monotonic() > deadline or process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(log.read().decode()[-2_000:])
                time.sleep(0.05)
            yield Service(process, f"127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def suite_of(clinics: int, days: int) -> Iterator[Suite]:
    """Embedded servers with migrated, seeded data."""
    with tempfile.TemporaryDirectory(prefix="medforall-bench-") as name, ExitStack() as stack:
        home = Path(name)
        home.chmod(0o755)
        ports = [free_port() for _ in range(4)]
        servers = (
            EmbeddedPostgres(home / "pg", port=ports[0], password=_PASSWORD, log_path=home / "pg.log"),
            EmbeddedNats(
                home / "nats",
                port=ports[1],
                monitor_port=ports[2],
                password=_PASSWORD,
                log_path=home / "nats.log",
            ),
            EmbeddedValkey(home / "vk", port=ports[3], password=_PASSWORD, log_path=home / "vk.log"),
        )
        for server in servers:
            stack.callback(start_server(server).stop)
        postgres, nats, valkey = servers
        migrate(postgres.url)
        enable_login(postgres.url, app_password=_PASSWORD, worker_password=_PASSWORD)
        master, jwks, signing = home / "master.key", home / "jwks.json", generate_signing_key()
        create_master_key_file(master)
        jwks.write_text(json.dumps(public_jwks([signing])))
        options = SeedOptions(clinics=clinics, days=days, first_day=datetime.now(UTC).date())
        seeded = _seeded(postgres.url, master, options)
        yield Suite(
            environment={
                "MEDFORALL_APP_DATABASE_URL": url_for(postgres.url, APP_ROLE, _PASSWORD),
                "MEDFORALL_WORKER_DATABASE_URL": url_for(postgres.url, WORKER_ROLE, _PASSWORD),
                "MEDFORALL_REDIS_URL": valkey.url,
                "MEDFORALL_NATS_URL": nats.url,
                "MEDFORALL_JWKS": str(jwks),
                "MEDFORALL_MASTER_KEY_FILE": str(master),
            },
            signing=signing,
            clinics=seeded,
            days=days,
            first_day=options.first_day,
        )


def _seeded(owner_url: str, master: Path, options: SeedOptions) -> list[ClinicFacts]:
    """Seed, and leave nothing to do beside what is measured; the clinics."""
    report = seed_clinics(owner_url, load_master_keys(EncryptionSettings(master_key_file=master)), options)
    print(
        f"seeded {options.clinics} clinics, {10 * options.clinics} providers, {options.days} days:"
        f" {report.visits} visits in {report.seconds:.0f} s"
    )
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("UPDATE outbox_event SET published_at = now() WHERE published_at IS NULL")
        # As autovacuum and the next checkpoint do within minutes.
        owner.execute("VACUUM (ANALYZE)")
        owner.execute("CHECKPOINT")
        return [read_clinic(owner, clinic_id(number)) for number in range(1, options.clinics + 1)]


def queries(suite: Suite, wanted: int) -> list[pb.SearchSlotsRequest]:
    """Distinct week searches over all clinics: service, first day, time of day and order differ."""
    rng = random.Random(1)
    found: dict[bytes, pb.SearchSlotsRequest] = {}
    while len(found) < wanted:
        clinic = suite.clinics[len(found) % len(suite.clinics)]
        static = rng.choice(clinic.statics)
        start = suite.first_day + timedelta(days=rng.randrange(1, max(2, suite.days - 7)))
        request = pb.SearchSlotsRequest(
            clinic_id=clinic.id,
            service_id=rng.choice(static.services).id,
            location_id=static.location.id,
            start=f"{start}T{rng.randrange(0, 9):02d}:00",
            end=(start + timedelta(days=7)).isoformat(),
            preferred_time_of_day=pb.SearchSlotsRequest().preferred_time_of_day + rng.randrange(4),  # type: ignore[arg-type]
            order_by=pb.SLOT_ORDER_SCORE,
        )
        found[request.SerializeToString(deterministic=True)] = request
    return list(found.values())


async def drive(
    suite: Suite, target: Service, asked: Sequence[pb.SearchSlotsRequest], at_once: int
) -> Measured:
    """Send every query once, `at_once` at a time."""
    latencies: list[float] = []
    layers: dict[int, int] = {}
    slots = 0
    prepared = [(head_of(_SEARCH, suite.caller(one.clinic_id)), one.SerializeToString()) for one in asked]
    waiting = iter(prepared)
    channel = await LeanChannel.connect(target.target)

    async def worker() -> None:
        nonlocal slots
        for head, message in waiting:
            began = time.perf_counter()
            reply = await channel.call(head, message)
            latencies.append((time.perf_counter() - began) * 1_000)
            if at_once == 1:
                found = pb.SearchSlotsResponse.FromString(reply)
                layer = found.metadata.cache_layer
                layers[layer] = layers.get(layer, 0) + 1
                slots += len(found.slots)

    cpu_s, began = target.cpu_s(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    seconds = time.perf_counter() - began
    cpu_ms = (target.cpu_s() - cpu_s) * 1_000 / len(asked)
    channel.close()
    return Measured(len(asked), seconds, latencies, cpu_ms, layers, slots)


async def search_beside_floor(suite: Suite, asked: list[pb.SearchSlotsRequest]) -> None:
    """Warm searches at 1, 16 and 64 at once, each beside the floor."""
    # Weeks of one service and place lie in the same buckets: what is warmed first is what the others find.
    with (
        service(suite, "availability_svc", MEDFORALL_GRPC_IN_FLIGHT_MAX="512") as under_test,
        service(suite, "bench.availability_floor") as floor,
    ):
        await drive(suite, under_test, asked, 8)
        await drive(suite, floor, asked[:200], 8)
        for at_once in (1, 16, 64):
            ready = await drive(suite, floor, asked, at_once)
            found = await drive(suite, under_test, asked, at_once)
            print(f"at {at_once:3d}  ready-made {ready.line}")
            print(
                f"        search     {found.line}  = floor + {found.cpu_ms - ready.cpu_ms:.3f} ms  {_layers(found)}"
            )
    print("        whole replies are never cached: 0 % of calls")


async def cold(suite: Suite, asked: list[pb.SearchSlotsRequest]) -> None:
    """A fresh process with a warm Redis, then with nothing at all: each place once."""
    places: dict[tuple[str, str], pb.SearchSlotsRequest] = {}
    for request in asked:
        places.setdefault((request.clinic_id, request.location_id), request)
    once = list(places.values())
    with service(suite, "availability_svc") as fresh:
        found = await drive(suite, fresh, once, 1)
        print(f"cold, Redis only   {found.line}  {_layers(found)}")
    redis.Redis.from_url(suite.environment["MEDFORALL_REDIS_URL"]).flushall()
    with service(suite, "availability_svc") as fresh:
        found = await drive(suite, fresh, once, 1)
        print(f"no cache at all    {found.line}  {_layers(found)}")


def _layers(found: Measured) -> str:
    names = {1: "L1", 2: "L2", 3: "database"}
    parts = [f"{names[layer]} {count / found.calls:.0%}" for layer, count in sorted(found.layers.items())]
    return " ".join([*parts, f"{found.slots / found.calls:.0f} slots a reply"] if parts else parts)


async def freshness(suite: Suite, *, bookings: int, per_second: float) -> None:
    """Book at a steady rate; for each, the time from its commit until a search without a token no longer has it."""
    with (
        service(suite, "booking_svc") as booking,
        service(suite, "availability_svc") as availability,
    ):
        async with (
            grpc.aio.insecure_channel(booking.target) as to_booking,
            grpc.aio.insecure_channel(availability.target) as to_availability,
        ):
            create = booking_pb2_grpc.BookingServiceStub(to_booking).CreateAppointment
            search = rpc.AvailabilityServiceStub(to_availability).SearchSlots
            found: list[float] = []
            running: list[asyncio.Task[None]] = []
            began = time.perf_counter()
            for index in range(bookings):
                await asyncio.sleep(max(0.0, began + index / per_second - time.perf_counter()))
                running.append(asyncio.create_task(_booked_until_gone(suite, index, create, search, found)))
            await asyncio.gather(*running)
    found.sort()
    print(
        f"commit to gone     {len(found)} of {bookings} booked, {per_second:.0f}/s:"
        f" p50 {found[len(found) // 2]:.1f}  p99 {found[int(len(found) * 0.99)]:.1f} ms"
    )


async def _booked_until_gone(suite: Suite, index: int, create: Any, search: Any, found: list[float]) -> None:
    clinic = suite.clinics[index % len(suite.clinics)]
    caller = suite.caller(clinic.id)
    start = suite.first_day + timedelta(days=2 + index // len(suite.clinics) % 14)
    request = pb.SearchSlotsRequest(
        clinic_id=clinic.id,
        service_id=id_of("check-up", clinic.id),
        location_id=clinic.statics[0].location.id,
        start=start.isoformat(),
        end=(start + timedelta(days=2)).isoformat(),
        limit=500,
    )
    reply = await search(request, metadata=caller, timeout=20)
    if not reply.slots:
        return
    slot = reply.slots[index * 7 % len(reply.slots)]
    try:
        await create(
            booking_pb2.CreateAppointmentRequest(
                clinic_id=clinic.id,
                patient_id=clinic.patient_ids[index % len(clinic.patient_ids)],
                service_id=request.service_id,
                provider_id=slot.provider.id,
                location_id=request.location_id,
                start=slot.start,
                idempotency_key=str(uuid4()),
            ),
            metadata=caller,
            timeout=20,
        )
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ALREADY_EXISTS):
            raise
        return
    committed = time.perf_counter()
    request.start, request.end, request.limit = slot.start, slot.end, 1
    request.provider_ids.append(slot.provider.id)
    while time.perf_counter() - committed < 10:
        reply = await search(request, metadata=caller, timeout=20)
        if not reply.slots:
            found.append((time.perf_counter() - committed) * 1_000)
            return
        # A tenth of the time waited so far is exact enough, and keeps what asks from becoming the load.
        await asyncio.sleep(max(_POLL_S, (time.perf_counter() - committed) / 10))
    raise RuntimeError("a booked slot was still offered after ten seconds")


def main() -> None:
    """Print every figure beside its floor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clinics", type=int, default=40)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--bookings", type=int, default=300)
    parser.add_argument("--only", choices=("search", "cold", "freshness"))
    options = parser.parse_args()
    parts: list[tuple[str, Callable[[Suite], Any]]] = [
        ("search", lambda suite: search_beside_floor(suite, asked)),
        ("cold", lambda suite: cold(suite, asked)),
        ("freshness", lambda suite: freshness(suite, bookings=options.bookings, per_second=30)),
    ]
    with suite_of(options.clinics, options.days) as suite:
        asked = queries(suite, options.queries)
        print(f"{len(asked)} distinct queries of 7 days, 50 slots by score; buckets of {BUCKET_DAYS} days")
        for name, part in parts:
            if options.only in (None, name):
                asyncio.run(part(suite))
    print_growth()


if __name__ == "__main__":
    main()
