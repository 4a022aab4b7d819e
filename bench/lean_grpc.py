"""A gRPC client that costs next to nothing: unary calls over one HTTP/2 connection, framed by hand.

grpc.aio's client takes as much of the two cores as the service that it measures. This one writes a call's frames with
one join, looks for the status in the trailers, and decodes nothing. It is for benchmarks only: no retries, no
compression, no requests beyond one frame.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Iterable
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_HEAD_BYTES: Final = 9
_WINDOW_MAX: Final = 2**31 - 1
_WINDOW_FIRST: Final = 65_535
_WINDOW_STEP: Final = 16 * 1_048_576
_FRAME_MAX: Final = 16_384
_STATUS: Final = re.compile(rb"grpc-status[\x01\x02](\d{1,2})")


class Refused(Exception):
    """The call ended with another status than OK; `code` is gRPC's number."""

    def __init__(self, code: int) -> None:
        super().__init__(f"gRPC status {code}")
        self.code = code


class LeanChannel(asyncio.Protocol):
    """One connection. `call` may be awaited by many tasks at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._calls: dict[int, tuple[asyncio.Future[bytes], list[bytes]]] = {}
        self._next_stream = 1
        self._received = 0

    @classmethod
    async def connect(cls, target: str) -> LeanChannel:
        """Connect to host:port."""
        host, _, port = target.rpartition(":")
        _, channel = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        return channel

    def close(self) -> None:
        """Hang up; what is under way fails."""
        self._transport.close()

    async def call(self, head: bytes, message: bytes, *, timeout_s: float = 20.0) -> bytes:
        """Send a message under a head from `head_of`; return the reply's bytes. Raises Refused, ConnectionError."""
        assert len(message) < _FRAME_MAX, "the request must fit into one frame"
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[stream] = done, []
        body = struct.pack(">BI", 0, len(message)) + message
        self._transport.write(
            _frame(_HEADERS, _END_HEADERS, stream, head) + _frame(_DATA, _END_STREAM, stream, body)
        )
        async with asyncio.timeout(timeout_s):
            return await done

    # ── asyncio.Protocol ────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HIHI", 1, 0, 4, _WINDOW_MAX)  # no table of headers, a window without end
        window = struct.pack(">I", _WINDOW_MAX - _WINDOW_FIRST)
        transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD_BYTES:
            length = int.from_bytes(buffer[at : at + 3], "big")
            end = at + _HEAD_BYTES + length
            if len(buffer) < end:
                break
            stream = int.from_bytes(buffer[at + 5 : at + _HEAD_BYTES], "big")
            self._frame_received(
                buffer[at + 3], buffer[at + 4], stream, bytes(buffer[at + _HEAD_BYTES : end])
            )
            at = end
        del buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        for done, _ in self._calls.values():
            if not done.done():
                done.set_exception(exc or ConnectionError("the server hung up"))
        self._calls.clear()

    # ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _frame_received(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._data(stream, payload)
        elif kind == _HEADERS and flags & _END_STREAM:
            self._ended(stream, payload)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _RST_STREAM:
            self._failed(stream, ConnectionError("the server reset the call"))
        elif kind == _GOAWAY:
            self._transport.close()

    def _data(self, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received >= _WINDOW_STEP:
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        if stream in self._calls:
            self._calls[stream][1].append(payload)

    def _ended(self, stream: int, trailers: bytes) -> None:
        status = _STATUS.search(trailers)
        if status is None:
            self._failed(stream, ConnectionError("the trailers have no status that can be read"))
        elif int(status[1]):
            self._failed(stream, Refused(int(status[1])))
        elif (found := self._calls.pop(stream, None)) and not found[0].done():
            found[0].set_result(b"".join(found[1])[5:])

    def _failed(self, stream: int, error: Exception) -> None:
        found = self._calls.pop(stream, None)
        if found is not None and not found[0].done():
            found[0].set_exception(error)


def head_of(method: str, metadata: Iterable[tuple[str, str]] = (), *, timeout_s: float = 20.0) -> bytes:
    """Return the encoded headers of calls of one method (`/package.Service/Method`); made once, used often."""
    fields = (
        (":path", method),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", f"{int(timeout_s * 1_000)}m"),
        *metadata,
    )
    # POST and http stand in HPACK's static table.
    return b"\x83\x86" + b"".join(
        _literal(name.encode()) + _literal(value.encode(), b"") for name, value in fields
    )


def _literal(text: bytes, prefix: bytes = b"\x00") -> bytes:
    """Return a text as HPACK has it, not indexed; a name begins with the zero of `prefix`."""
    if len(text) < 127:
        return prefix + bytes((len(text),)) + text
    rest, length = len(text) - 127, bytearray(b"\x7f")
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    length.append(rest)
    return prefix + bytes(length) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
