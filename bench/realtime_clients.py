"""Very many WebSocket clients in one process: a bare protocol that counts frames and notes when they come."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import cast

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class Socket(asyncio.Protocol):
    """One client; says `first` once the handshake is done, and hands every text to `heard`."""

    def __init__(
        self, path: str, first: Sequence[dict[str, object]], heard: Callable[[Socket, bytes, float], None]
    ) -> None:
        self._path = path
        self._first = first
        self._heard = heard
        self._buffer = b""
        self._is_open = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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
        """Say that it never became ready, if so."""
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("closed before it was ready"))

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
        elif opcode == _TEXT and not self.ready.done():
            if payload.startswith(b'{"type":"subscribed"'):
                self.ready.set_result(None)
            elif payload.startswith(b'{"type":"error"'):
                self.ready.set_exception(RuntimeError(payload.decode()))
        elif opcode == _TEXT:
            self._heard(self, payload, at)

    def _write(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = len(payload)
        head = (
            bytes((0x80 | opcode, 0x80 | size))
            if size < 126
            else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        )
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        assert self.transport is not None
        self.transport.write(head + mask + masked)

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
