"""The gateway beside its floor: an empty Starlette route that makes one gRPC call and answers the same bytes.

Three processes: services that answer ready-made messages, a server under test, and this one, which drives. The
floor and the gateway run one after the other in the same run, so that the noise of the machine meets both.

    python -m bench.gateway             # search through REST beside its floor, and beside the direct gRPC call
    python -m bench.gateway --home DIR  # with a running suite: REST create beside gRPC create as well
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import grpc
import httpx
import orjson
import psutil
from google.protobuf.timestamp_pb2 import Timestamp
from medforall.availability.v1 import availability_pb2 as pb
from medforall.availability.v1 import availability_pb2_grpc as rpc
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from medforall.type.v1.scheduling_pb2 import Slot

from chassis.auth.principal import Role
from chassis.auth.signing import generate_signing_key, public_jwks, sign_token
from ctl.ports import free_port
from gateway.transcoding.encoding import Encoder

CLINIC = "0190a000-0000-7000-8000-00000000000a"
SEARCH = (
    f"/v1/clinics/{CLINIC}/availability?serviceId={CLINIC}&locationId={CLINIC}"
    "&start=2026-02-20T00:00:00&end=2026-02-27T00:00:00"
)
# The same search, asked so that the services answer with slots that were not answered for a long time.
NEW_SLOTS_LIMIT = 50
NEW_SLOTS_PAGES = 400
SECONDS = 4.0
ROUNDS = 3

Call = Callable[[], Awaitable[None]]


def fifty_slots(page: int = 0) -> pb.SearchSlotsResponse:
    """The reply that everything here answers with: 50 slots with three rooms each; no two pages share a slot."""
    reply = pb.SearchSlotsResponse()
    first = datetime(2026, 2, 20, 9, tzinfo=ZoneInfo("America/New_York")) + timedelta(days=page)
    for index in range(50):
        start, end = (first + timedelta(minutes=15 * index + length) for length in (0, 30))
        slot = Slot(start=start.isoformat(), end=end.isoformat(), score=99 - index, location_id=CLINIC)
        slot.start_utc.CopyFrom(Timestamp(seconds=int(start.timestamp())))
        slot.end_utc.CopyFrom(Timestamp(seconds=int(end.timestamp())))
        slot.provider.id, slot.provider.name, slot.provider.specialty = CLINIC, "Dr. Smith", "Cardiology"
        for room in range(3):
            slot.room_options.add(id=CLINIC, name=f"Room {room}", type="exam")
        reply.slots.append(slot)
    reply.metadata.timezone = "America/New_York"
    reply.metadata.fetched_at.CopyFrom(Timestamp(seconds=int(time.time())))
    return reply


# --- The other processes --------------------------------------------------------------------------------------


async def serve_ready_made(port: int) -> None:
    """Answer SearchSlots with the 50 slots, or with a page of new ones, and FindNextAvailable with nothing."""
    ready = fifty_slots().SerializeToString()
    # More slots than the gateway remembers: what comes again has been forgotten.
    new = cycle([fifty_slots(page).SerializeToString() for page in range(1, NEW_SLOTS_PAGES + 1)])

    class Ready(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            is_search = handler_call_details.method.endswith("/SearchSlots")

            async def answer(request: bytes, __: Any) -> bytes:
                if not is_search:
                    return b""
                wants_new = pb.SearchSlotsRequest.FromString(request).limit == NEW_SLOTS_LIMIT
                return next(new) if wants_new else ready

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Ready(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def serve_floor(port: int, target: str) -> None:
    """Starlette with one route: an empty gRPC call, and the same bytes as the gateway's answer."""
    import uvicorn  # noqa: PLC0415 - only this process
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    body = orjson.dumps(Encoder().encode(fifty_slots()))
    calls: list[Any] = []

    async def answer(_: Request) -> Response:
        if not calls:
            calls.append(rpc.AvailabilityServiceStub(grpc.aio.insecure_channel(target)).FindNextAvailable)
        await calls[0](pb.FindNextAvailableRequest(), timeout=10)
        return Response(body, media_type="application/json")

    app = Starlette(routes=[Route("/{rest:path}", answer)])
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_level="error", access_log=False
    )


@contextlib.contextmanager
def process(*command: str, env: dict[str, str] | None = None) -> Iterator[psutil.Process]:
    """Run one of our own processes, and end it."""
    child = subprocess.Popen(
        [sys.executable, "-m", *command], env=os.environ | (env or {}), stdout=subprocess.DEVNULL
    )
    try:
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(timeout=15)


# --- Driving --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: calls a second, latencies, and the server's CPU time a call (0 where nobody looked)."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float = 0.0


class Connection:
    """A keep-alive HTTP/1.1 connection that reads only what it must: the driver should not be what is measured."""

    def __init__(self, port: int, head: bytes, *, accepted: tuple[int, ...] = (200,)) -> None:
        self._port = port
        self._head = head
        self._accepted = accepted
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, request: bytes = b"") -> None:
        """One request and its whole answer. Raises RuntimeError for a status that is not accepted."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=262_144)
        self._writer.write(request or self._head)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if int(head[9:12]) not in self._accepted:
            raise RuntimeError(head.decode())
        await self._reader.readexactly(
            int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        )


async def drive(calls: list[Call], seconds: float = SECONDS) -> Measured:
    """Each of `calls` again and again, at once; the first tenth of the time is warming up."""
    latencies: list[float] = []
    begins = time.perf_counter() + seconds / 10
    ends = begins + seconds

    async def repeat(call: Call) -> None:
        while (started := time.perf_counter()) < ends:
            await call()
            if started >= begins:
                latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(repeat(call) for call in calls))
    ordered = sorted(latencies)
    return Measured(
        len(ordered) / seconds, 1_000 * statistics.median(ordered), 1_000 * ordered[len(ordered) * 99 // 100]
    )


async def drive_http(
    port: int, server: psutil.Process, token: str, at_once: int, search: str = SEARCH
) -> Measured:
    """The search, over `at_once` connections."""
    head = f"GET {search} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    used_s = sum(server.cpu_times()[:2])
    measured = await drive([Connection(port, head).call for _ in range(at_once)])
    used_s = sum(server.cpu_times()[:2]) - used_s
    # The warming up is in the time used: it made as many calls a second.
    return replace(measured, cpu_ms=1_000 * used_s / (measured.rate * SECONDS * 1.1))


async def drive_grpc(target: str, at_once: int) -> Measured:
    """The same search as a direct gRPC call."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = rpc.AvailabilityServiceStub(channel)

        async def call() -> None:
            await stub.SearchSlots(pb.SearchSlotsRequest(clinic_id=CLINIC), timeout=10)

        return await drive([call] * at_once)


async def wait_for(port: int, path: str = "/healthz") -> None:
    """Until the server at `port` answers."""
    async with httpx.AsyncClient() as client:
        for _ in range(200):
            with contextlib.suppress(httpx.HTTPError):
                await client.get(f"http://127.0.0.1:{port}{path}")
                return
            await asyncio.sleep(0.05)
    raise RuntimeError(f"nothing answers at port {port}")


async def measure_search() -> dict[str, list[Measured]]:
    """Floor, gateway and direct call, in turn, `ROUNDS` times."""
    services, floor, gateway = (free_port() for _ in range(3))
    target = f"127.0.0.1:{services}"
    key = generate_signing_key()
    token = sign_token(
        key,
        subject="bench",
        role=Role.FRONT_DESK,
        now_s=int(time.time()),
        ttl_s=600,
        clinic_id=CLINIC,
        scopes=["read:availability"],
    )
    found: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory() as folder:
        jwks = Path(folder) / "jwks.json"
        jwks.write_text(json.dumps(public_jwks([key])))
        environ = {
            "MEDFORALL_HTTP_LISTEN": f"127.0.0.1:{gateway}",
            "MEDFORALL_JWKS": str(jwks),
            "MEDFORALL_REDIS_URL": "redis://127.0.0.1:1",
            "MEDFORALL_RATE_LIMIT": "off",
            **{f"MEDFORALL_{name}_TARGET": target for name in ("BOOKING", "AVAILABILITY", "REALTIME")},
        }
        with (
            process("bench.gateway", "--role", "services", "--port", str(services)),
            process("bench.gateway", "--role", "floor", "--port", str(floor), "--target", target) as bare,
            process("gateway", env=environ) as full,
        ):
            async with grpc.aio.insecure_channel(target) as channel:
                await asyncio.wait_for(channel.channel_ready(), 30)
            for port in (floor, gateway):
                await wait_for(port)
            for _ in range(ROUNDS):
                for at_once in (1, 16, 64):
                    for name, port, server in (("floor", floor, bare), ("gateway", gateway, full)):
                        measured = await drive_http(port, server, token, at_once)
                        found.setdefault(f"{name} {at_once}", []).append(measured)
                found.setdefault("gateway, new slots, 64", []).append(
                    await drive_http(gateway, full, token, 64, f"{SEARCH}&limit={NEW_SLOTS_LIMIT}")
                )
                found.setdefault("grpc 1", []).append(await drive_grpc(target, 1))
    return found


async def measure_create(run: dict[str, Any], at_once: int = 8) -> dict[str, list[Measured]]:
    """REST create beside gRPC create on a running suite, in turn, `ROUNDS` times.

    The suite must run with MEDFORALL_RATE_LIMIT=off. Each call takes a start that no other one has; one that the
    clinic's hours or demo visits refuse counts like one that is booked, for both alike.
    """
    demo, token = run["demo"], run["tokens"]["front_desk"]
    body = _bodies(demo)
    head = (
        f"POST /v1/clinics/{demo['clinic_id']}/appointments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\n"
    )
    port = int(run["gateway_url"].rpartition(":")[2])
    found: dict[str, list[Measured]] = {"gRPC create": [], "REST create": []}
    async with grpc.aio.insecure_channel(run["grpc"]["booking"]) as channel:
        stub = booking_pb2_grpc.BookingServiceStub(channel)

        async def direct() -> None:
            given = next(body)
            request = booking_pb2.CreateAppointmentRequest(clinic_id=demo["clinic_id"])
            for name, value in given.items():
                setattr(request, "".join(f"_{c.lower()}" if c.isupper() else c for c in name), value)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.CreateAppointment(
                    request, timeout=20, metadata=(("authorization", f"Bearer {token}"),)
                )

        def rest() -> Call:
            connection = Connection(port, b"", accepted=(201, 409, 422))

            async def call() -> None:
                content = orjson.dumps(next(body))
                await connection.call(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

            return call

        for _ in range(ROUNDS):
            found["gRPC create"].append(await drive([direct] * at_once, SECONDS / 2))
            found["REST create"].append(await drive([rest() for _ in range(at_once)], SECONDS / 2))
    return found


def _bodies(demo: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Bookings on working days from six weeks ahead, no start of a provider twice."""
    day = datetime.now(ZoneInfo(demo["timezone"])).replace(minute=0, second=0, microsecond=0) + timedelta(
        days=42
    )
    patients = demo["patient_ids"]
    for number in range(400):
        if (day + timedelta(days=number)).weekday() > 4:
            continue
        for quarter in range(4 * 9, 4 * 16, 2):
            start = (day + timedelta(days=number)).replace(hour=quarter // 4, minute=quarter % 4 * 15)
            for index, provider in enumerate(demo["provider_ids"]):
                yield {
                    "patientId": patients[(quarter * 7 + index) % len(patients)],
                    "serviceId": demo["service_id"],
                    "locationId": demo["location_id"],
                    "providerId": provider,
                    "start": start.isoformat(),
                    "idempotencyKey": str(uuid4()),
                }


def report(found: dict[str, list[Measured]]) -> int:
    """Print medians of the rounds, and each ratio beside its target; 1 when a target is missed."""
    print("| search, 50 slots, 23 KB | calls/s | p50 ms | p99 ms | CPU ms a call |\n|---|---|---|---|---|")
    middle = {name: sorted(runs, key=lambda run: run.rate)[len(runs) // 2] for name, runs in found.items()}
    for name, run in middle.items():
        print(
            f"| {name} at once | {run.rate:,.0f} | {run.p50_ms:.2f} | {run.p99_ms:.2f} | {run.cpu_ms:.2f} |"
        )
    ratios = {n: middle[f"gateway {n}"].rate / middle[f"floor {n}"].rate for n in (1, 16, 64)}
    of_new = middle["gateway, new slots, 64"].rate / middle["floor 64"].rate
    added_ms = middle["gateway 1"].p50_ms - middle["grpc 1"].p50_ms
    print(
        "\n" + ", ".join(f"{ratio:.0%} of the floor at {n}" for n, ratio in ratios.items()) + " (target 50 %)"
    )
    print(f"{of_new:.0%} of the floor at 64 when no slot was answered before")
    print(f"{added_ms:.2f} ms p50 over the direct gRPC call (target under 3 ms)")
    return int(min(ratios[16], ratios[64]) < 0.5 or added_ms >= 3)


def report_create(found: dict[str, list[Measured]]) -> int:
    """Print medians of the rounds and their ratio; 1 when the target is missed."""
    print("\n| create, 8 at once | calls/s | p50 ms | p99 ms |\n|---|---|---|---|")
    middle = {name: sorted(runs, key=lambda run: run.rate)[len(runs) // 2] for name, runs in found.items()}
    for name, run in middle.items():
        print(f"| {name} | {run.rate:,.0f} | {run.p50_ms:.2f} | {run.p99_ms:.2f} |")
    ratio = middle["REST create"].rate / middle["gRPC create"].rate
    print(f"\n{ratio:.0%} of gRPC create's rate (target 80 %)")
    return int(ratio < 0.8)


def main() -> int:
    """Measure and report, or be one of the other processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--role", choices=("drive", "services", "floor"), default="drive", help=argparse.SUPPRESS
    )
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help="home of a running suite, for create")
    arguments = parser.parse_args()
    if arguments.role == "services":
        asyncio.run(serve_ready_made(arguments.port))
    elif arguments.role == "floor":
        serve_floor(arguments.port, arguments.target)
    else:
        missed = report(asyncio.run(measure_search()))
        if arguments.home is not None:
            run = json.loads((arguments.home / "run.json").read_text())
            missed |= report_create(asyncio.run(measure_create(run)))
        return missed
    return 0


if __name__ == "__main__":
    sys.exit(main())
