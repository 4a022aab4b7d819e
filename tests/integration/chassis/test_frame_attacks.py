"""HTTP/2 frames that attackers send to a gRPC port, made by hand, and calls that are too heavy."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest

from tests.integration.chassis.calls import Token, bearer
from tests.integration.chassis.conftest import CLINIC, Served

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE = 1, 3, 4, 8
END_HEADERS = 4
RESETS = 20_000
BESIDE_MAX_S = 2.0
MEMORY_MAX_BYTES = 50 * 1_048_576
METHOD = b"/medforall.testing.echo.v1.EchoService/Free"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing; both parts are shorter than 127 bytes."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


HEAD = (
    b"\x83\x86"  # :method POST, :scheme http, of the static table
    + literal(b":path", METHOD)
    + literal(b":authority", b"x")
    + literal(b"content-type", b"application/grpc")
    + literal(b"te", b"trailers")
)
OPEN = PREFACE + frame(SETTINGS, 0, 0, b"")


def rapid_reset(stream: int) -> bytes:
    """A call that its client resets at once."""
    return frame(HEADERS, END_HEADERS, stream, HEAD) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def made_you_reset(stream: int) -> bytes:
    """A call that its server must reset: a window that grows by nothing is a fault of the stream."""
    return frame(HEADERS, END_HEADERS, stream, HEAD) + frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0))


async def attack(port: int, pieces: Any) -> bool:
    """Send all pieces while reading what comes; whether the server closed the connection before or after the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drain_input() -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass

    reading = asyncio.create_task(drain_input())
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), 10)
            if reading.done():
                return True
        await asyncio.wait({reading}, timeout=1)
        return reading.done()
    except ConnectionError:
        return True
    finally:
        writer.transport.abort()
        await reading


async def slowest_beside(
    served: Served, echo: ModuleType, token: Token, attacking: asyncio.Task[Any]
) -> float:
    """How long the slowest ordinary call took, of those made while the attack ran and one after it."""
    slowest = 0.0
    is_last = False
    while not is_last:
        is_last = attacking.done()
        began = time.monotonic()
        request = echo.EchoRequest(clinic_id=CLINIC, text="x")
        assert (await served.stub.Echo(request, metadata=bearer(token()), timeout=10)).text == "x"
        slowest = max(slowest, time.monotonic() - began)
    return slowest


@pytest.mark.parametrize("made", [rapid_reset, made_you_reset])
async def test_resets_starve_nobody(served: Served, echo: ModuleType, token: Token, made: Any) -> None:
    """Twenty thousand calls that are reset at once leave ordinary calls quick, and memory and processor at rest."""
    process = psutil.Process()
    before = process.memory_info().rss
    batch = 200

    def pieces() -> Any:
        yield OPEN
        for first in range(0, RESETS, batch):
            yield b"".join(made(2 * number + 1) for number in range(first, first + batch))

    attacking = asyncio.create_task(attack(served.server.port, pieces()))
    assert await slowest_beside(served, echo, token, attacking) < BESIDE_MAX_S
    await attacking
    assert process.memory_info().rss - before < MEMORY_MAX_BYTES
    await assert_at_rest(process)


async def assert_at_rest(process: psutil.Process) -> None:
    """The processor is idle again soon: nothing goes on working for those who left."""
    async with asyncio.timeout(5):
        while True:
            used = sum(process.cpu_times()[:2])
            await asyncio.sleep(0.2)
            if sum(process.cpu_times()[:2]) - used < 0.1:
                return


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_heavy_calls_cost_little(served: Served, echo: ModuleType, token: Token) -> None:
    """Five megabytes, a hundred thousand wrong items, a text of a megabyte: refused, in less than 50 MB."""
    process = psutil.Process()
    before = process.memory_info().rss
    parts = [echo.Part(size_bytes=-1)] * 60_000
    refusals = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    for request in (
        echo.EchoRequest(clinic_id=CLINIC, text="x" * 5_242_880),
        echo.EchoRequest(clinic_id=CLINIC, parts=parts + parts),
        echo.EchoRequest(clinic_id=CLINIC, text="x" * 1_000_000),
    ):
        assert await code_of(served.stub.Echo(request, metadata=bearer(token()), timeout=20)) in refusals
    assert process.memory_info().rss - before < MEMORY_MAX_BYTES


async def test_heavy_metadata_are_refused(served: Served, echo: ModuleType, token: Token) -> None:
    """Ten thousand entries of metadata are RESOURCE_EXHAUSTED, and the next call is served."""
    many = (*bearer(token()), *((f"x-{number}", "y") for number in range(10_000)))
    request = echo.EchoRequest(clinic_id=CLINIC, text="x")
    assert await code_of(served.stub.Echo(request, metadata=many, timeout=10)) is (
        grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    assert (await served.stub.Echo(request, metadata=bearer(token()), timeout=10)).text == "x"
