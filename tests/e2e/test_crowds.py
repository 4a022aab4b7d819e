"""Crowds and heavy weights at the running suite's ports: others are served meanwhile, and memory stays flat.

The processes attacked are the suite's own, so what their memory does is theirs alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import resource
import struct
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import httpx
import psutil
import pytest
from medforall.availability.v1 import availability_pb2, availability_pb2_grpc
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc

from ctl.run_file import DemoFacts, RunFile
from tests.support.waiting import wait_until_async

CROWD = 1_000
HEAD_S = 10  # what the gateway gives a client to send its headers, by default
SERVED_S = 15
MEMORY_MAX_BYTES = 50 * 1_048_576
RESETS = 20_000
BATCH = 200

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, CONTINUATION = 1, 3, 4, 8, 9
END_HEADERS = 4


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for this end of every connection of the crowd."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CROWD if hard == resource.RLIM_INFINITY else min(hard, 4 * CROWD)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def little_memory(suite: RunFile, service: str) -> Iterator[psutil.Process]:
    """The process of a service, which must not have grown by more than 50 MB in the block."""
    process = psutil.Process(suite.pids[service])
    before = process.memory_info().rss
    yield process
    grown = process.memory_info().rss - before
    assert grown < MEMORY_MAX_BYTES, f"{service} grew by {grown} bytes"


async def at_rest(process: psutil.Process) -> None:
    """Return once the process works no more than an idle one: nothing goes on for those who left."""

    async def is_idle() -> bool:
        used_s = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.5)
        return sum(process.cpu_times()[:2]) - used_s < 0.25

    await wait_until_async(is_idle, timeout_s=20, what="the process to be at rest")


# ── HTTP/1 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def stay(port: int, *, drips: bool) -> None:
    """Connect, say nothing or a byte of a head at a time, and return when the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if drips:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    closed = asyncio.create_task(reader.read())
    try:
        while not (await asyncio.wait({closed}, timeout=1))[0]:
            if drips:
                writer.write(b"a")
    finally:
        closed.cancel()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await closed
        writer.close()


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
async def test_a_crowd_that_says_little_is_sent_away_and_keeps_nobody_waiting(suite: RunFile) -> None:
    """T37: a thousand slow or silent connections are all closed, cost little, and others are served meanwhile."""
    url = httpx.URL(suite.gateway_url)
    assert url.port is not None
    with little_memory(suite, "gateway") as process:
        crowd = [asyncio.create_task(stay(url.port, drips=bool(number % 2))) for number in range(CROWD)]
        async with httpx.AsyncClient(base_url=url, timeout=SERVED_S) as client:
            async with asyncio.timeout(HEAD_S + 30):
                while not all(task.done() for task in crowd):
                    assert (await client.get("/healthz")).status_code == 200
                    await asyncio.wait(crowd, timeout=0.2)
        await asyncio.gather(*crowd)
        await at_rest(process)


async def test_heavy_requests_are_refused_and_leave_nothing(suite: RunFile, demo: DemoFacts) -> None:
    """T34: a large body, a deep one, a gzip bomb, long lists and a long note: refused, in less than 50 MB."""
    bomb = gzip.compress(b" " * 100_000_000, 9)
    ids = b",".join([b'"%036d"' % 0] * 25_000)
    headers = {"authorization": f"Bearer {suite.tokens['admin']}", "content-type": "application/json"}
    path = f"/v1/clinics/{demo.clinic_id}/appointments"
    with little_memory(suite, "gateway"):
        async with httpx.AsyncClient(base_url=suite.gateway_url, headers=headers, timeout=SERVED_S) as client:
            for content, more in (
                (b" " * 5_242_880, {}),
                (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, {}),
                (bomb, {"content-encoding": "gzip"}),
                (b'{"resourceIds":[' + ids + b"]}", {}),
                (b'{"resourceIds":[' + b",".join([ids] * 4) + b"]}", {}),
                (b'{"notes":"' + b"x" * 1_000_000 + b'"}', {}),
            ):
                # The gateway need not read to the end what it refuses.
                with contextlib.suppress(httpx.WriteError, httpx.ReadError):
                    answer = await client.post(path, content=content, headers=more)
                    assert answer.status_code in (400, 413, 415), answer.text
            assert (await client.get("/healthz")).status_code == 200


# ── HTTP/2, by hand ─────────────────────────────────────────────────────────────────────────────────────────────────


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing; both parts are shorter than 127 bytes."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


HEAD = (
    b"\x83\x86"  # :method POST, :scheme http, of the static table
    + literal(b":path", b"/medforall.booking.v1.BookingService/GetAppointment")
    + literal(b":authority", b"x")
    + literal(b"content-type", b"application/grpc")
    + literal(b"te", b"trailers")
)


def rapid_reset(number: int) -> bytes:
    """A call that its client resets at once."""
    stream = 2 * number + 1
    return frame(HEADERS, END_HEADERS, stream, HEAD) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def made_you_reset(number: int) -> bytes:
    """A call that its server must reset: a window that grows by nothing is a fault of the stream."""
    stream = 2 * number + 1
    return frame(HEADERS, END_HEADERS, stream, HEAD) + frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0))


def endless_head(number: int) -> bytes:
    """One call whose head never ends."""
    kind, payload = (CONTINUATION, literal(b"x-more", b"y" * 100)) if number else (HEADERS, HEAD)
    return frame(kind, 0, 1, payload)


async def attack(port: int, made: Callable[[int], bytes]) -> None:
    """Send twenty thousand pieces as fast as they are taken, or until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drain_input() -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass

    reading = asyncio.create_task(drain_input())
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(PREFACE + frame(SETTINGS, 0, 0, b""))
            for first in range(0, RESETS, BATCH):
                writer.write(b"".join(made(number) for number in range(first, first + BATCH)))
                await asyncio.wait_for(writer.drain(), 20)
                if reading.done():
                    return
    finally:
        writer.transport.abort()
        await reading


@pytest.mark.slow
@pytest.mark.parametrize("service", ["booking", "availability"])
@pytest.mark.parametrize("made", [rapid_reset, made_you_reset, endless_head])
async def test_floods_of_frames_starve_nobody(
    suite: RunFile, demo: DemoFacts, service: str, made: Callable[[int], bytes]
) -> None:
    """T36: twenty thousand reset calls, or a head without end: others' calls succeed, then the process is at rest."""
    target = suite.grpc[service]
    with little_memory(suite, service) as process:
        attacking = asyncio.create_task(attack(int(target.rpartition(":")[2]), made))
        async with grpc.aio.insecure_channel(target) as channel:
            while True:
                is_last = attacking.done()
                assert await ordinary_call(suite, demo, channel, service)
                if is_last:
                    break
        await attacking
        await at_rest(process)


async def ordinary_call(suite: RunFile, demo: DemoFacts, channel: grpc.aio.Channel, service: str) -> bool:
    """A call that must be answered."""
    if service == "booking":
        stub: Any = booking_pb2_grpc.BookingServiceStub(channel).ListAppointments
        request: Any = booking_pb2.ListAppointmentsRequest(clinic_id=demo.clinic_id, limit=1)
    else:
        stub = availability_pb2_grpc.AvailabilityServiceStub(channel).GetFreeBusy
        request = availability_pb2.GetFreeBusyRequest(
            clinic_id=demo.clinic_id,
            location_id=demo.location_id,
            resource_id=demo.provider_ids[0],
            start="2027-03-01",
            end="2027-03-02",
        )
    await stub(request, metadata=bearer(suite), timeout=SERVED_S)
    return True


def bearer(suite: RunFile) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {suite.tokens['admin']}"),)


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_heavy_calls_are_refused_and_leave_nothing(suite: RunFile, demo: DemoFacts) -> None:
    """T34: five megabytes, a hundred thousand ids, a note of a megabyte, ten thousand metadata: refused, in 50 MB."""
    refusals = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    clinic_id, caller = demo.clinic_id, bearer(suite)
    many = (*caller, *((f"x-{number}", "y") for number in range(10_000)))
    heavy = [
        (booking_pb2.CreateAppointmentRequest(clinic_id=clinic_id, notes="x" * 5_242_880), caller),
        (booking_pb2.CreateAppointmentRequest(clinic_id=clinic_id, notes="x" * 1_000_000), caller),
        (booking_pb2.CreateAppointmentRequest(clinic_id=clinic_id), many),
    ]
    with little_memory(suite, "booking"):
        async with grpc.aio.insecure_channel(suite.grpc["booking"]) as channel:
            create = booking_pb2_grpc.BookingServiceStub(channel).CreateAppointment
            for request, metadata in heavy:
                call = create(request, metadata=metadata, timeout=SERVED_S)
                assert await code_of(call) in refusals
            assert await ordinary_call(suite, demo, channel, "booking")
    ids = availability_pb2.SearchSlotsRequest(
        clinic_id=clinic_id, provider_ids=[demo.provider_ids[0]] * 100_000
    )
    with little_memory(suite, "availability"):
        async with grpc.aio.insecure_channel(suite.grpc["availability"]) as channel:
            search = availability_pb2_grpc.AvailabilityServiceStub(channel).SearchSlots
            assert await code_of(search(ids, metadata=caller, timeout=SERVED_S)) in refusals
            assert await ordinary_call(suite, demo, channel, "availability")
