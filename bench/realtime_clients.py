"""Very many WebSocket clients in one process: a bare protocol that counts frames and notes when they come."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import cast

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_CUT_OFF = 1006

Message = dict[str, object]
Heard = Callable[["Socket", bytes, float], None]


class Socket(asyncio.Protocol):
    """One client; says `first` once the handshake is done, and hands what it is told to `heard`.

    `ready` is done once it has subscribed (with an empty `first`: once it is connected), `closed` with the close
    code, 1006 when there was none.
    """

    def __init__(self, path: str, first: Sequence[Message], heard: Heard) -> None:
        self._path = path
        self._first = first
        self._heard = heard
        self._buffer = b""
        self._is_open = False
        self._code = _CUT_OFF
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        # uvloop's transports are not asyncio's by class.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that it never became ready, if so, and how it ended."""
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("closed before it was ready"))
        if not self.closed.done():
            self.closed.set_result(self._code)

    def data_received(self, data: bytes) -> None:
        """Take frames apart."""
        at = time.perf_counter()
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101"), head[:80]
            self._is_open, self._buffer = True, rest
            for message in self._first:
                self._write(_TEXT, json.dumps(message).encode())
            if not self._first:
                self.ready.set_result(None)
        while (frame := self._frame()) is not None:
            self._take(*frame, at)

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < 2:
            return None
        opcode, size, start = self._buffer[0] & 0x0F, self._buffer[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(self._buffer[2:4], "big"), 4
        if len(self._buffer) < start + size:
            return None
        payload, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
        return opcode, payload

    def _take(self, opcode: int, payload: bytes, at: float) -> None:
        if opcode == _PING:
            self._write(_PONG, payload)
        elif opcode == _CLOSE:
            self._code = int.from_bytes(payload[:2], "big")
        elif opcode == _TEXT:
            if not self.ready.done():
                self._see_whether_ready(payload)
            self._heard(self, payload, at)

    def _see_whether_ready(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"subscribed"'):
            self.ready.set_result(None)
        elif payload.startswith(b'{"type":"error"'):
            self.ready.set_exception(RuntimeError(payload.decode()))

    def _write(self, opcode: int, payload: bytes) -> None:
        mask, size = os.urandom(4), len(payload)
        head = (
            bytes((0x80 | opcode, 0x80 | size))
            if size < 126
            else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        )
        key = (mask * (size // 4 + 1))[:size]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
        assert self.transport is not None
        self.transport.write(head + mask + masked.to_bytes(size, "big"))

    def close(self) -> None:
        """Go without a word."""
        if self.transport is not None:
            self.transport.abort()


async def connect_all(
    port: int, sockets: Sequence[Callable[[], Socket]], *, at_once: int = 500
) -> list[Socket]:
    """Connect everybody, `at_once` at a time, and wait until all are ready."""
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(at_once)

    async def one(make: Callable[[], Socket]) -> Socket:
        async with places:
            _, made = await loop.create_connection(make, "127.0.0.1", port)
            await made.ready
            return made

    return list(await asyncio.gather(*(one(make) for make in sockets)))


class Follower:
    """A client that comes back by itself after every break: with jitter, and from where it was, as `/live` does."""

    def __init__(self, port: int, token: str, channel: str) -> None:
        self._port = port
        self._token = token
        self._channel = channel
        self._socket: Socket | None = None
        self.position = ""
        self.heard: list[str] = []
        self.resyncs: list[str] = []
        self.tried_at: list[float] = []
        self.is_live = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        try:
            while True:
                if await self._follow():
                    failures = 0
                failures += 1
                wait_s = min(8.0, 0.4 * 2.0 ** min(failures, 5))
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._socket is not None:
            self._socket.close()

    async def _follow(self) -> bool:
        """Connect and listen until the connection ends; whether it ever became live."""
        subscribe: Message = {"type": "subscribe", "channels": [self._channel]}
        if self.position:
            subscribe["resumeFrom"] = self.position
        first: list[Message] = [{"type": "authenticate", "token": self._token}, subscribe]
        self.tried_at.append(time.perf_counter())
        try:
            _, self._socket = await asyncio.get_running_loop().create_connection(
                lambda: Socket("/v1/realtime/ws", first, self._take), "127.0.0.1", self._port
            )
            await self._socket.ready
        except (OSError, RuntimeError):
            self._leave()
            return False
        self.is_live.set()
        await self._socket.closed
        self.is_live.clear()
        return True

    def _take(self, _: Socket, payload: bytes, __: float) -> None:
        message = json.loads(payload)
        told = message.get("metadata", {})
        self.position = told.get("sequence", self.position)
        if "eventId" in told:
            self.heard.append(told["eventId"])
        elif message["type"] == "resync":
            self.resyncs.append(message["payload"]["reason"])
