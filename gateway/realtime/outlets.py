"""Ways to a client: written straight to the transport, or through a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.realtime.direct import DirectConnection
from gateway.realtime.instruments import Instruments
from gateway.realtime.news import Form, notice, sse_event, text_frame
from scheduling.positions import Position

GRACE_S: Final = 5.0
"""How long a client that is told good-bye has to hear it before its connection is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What may wait for one connection."""

    bytes_max: int = 1_048_576
    messages_max: int = 4_096


class DirectOutlet:
    """Writes frames to a WebSocket's transport, whose own buffer is the queue."""

    __slots__ = ("_connection", "_limits", "_messages", "_on_overflow", "_waiting")

    def __init__(
        self,
        connection: DirectConnection,
        limits: QueueLimits,
        instruments: Instruments,
        on_overflow: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._messages = instruments.messages.labels("websocket")
        self._on_overflow: Callable[[], None] | None = on_overflow
        self._waiting = 0

    def tell(self, form: Form, position: Position) -> None:
        """Write a message."""
        self.write(form.frame_at(position))

    def resync(self, position: Position, reason: str) -> None:
        """Write the news that the client must fetch again."""
        self.write(text_frame(resync_notice(position, reason)))

    def say(self, text: bytes) -> None:
        """Write a message of the gateway itself."""
        self.write(text_frame(text))

    def write(self, frame: bytes) -> None:
        """Write a frame, unless the client has stopped reading: then end it."""
        if self._on_overflow is None:
            return
        connection = self._connection
        connection.write(frame)
        self._messages.inc()
        waiting_bytes = connection.waiting_bytes
        if not waiting_bytes:
            self._waiting = 0
            return
        self._waiting += 1
        if waiting_bytes > self._limits.bytes_max or self._waiting > self._limits.messages_max:
            self.overflow()

    def overflow(self) -> None:
        """Tell once that the reader is too slow; nothing is written after."""
        on_overflow, self._on_overflow = self._on_overflow, None
        if on_overflow is not None:
            on_overflow()

    def close(self) -> None:
        """Write nothing more."""
        self._on_overflow = None


class QueueOutlet:
    """Chunks that wait to be sent by a task of the connection's own; bounded by bytes and count."""

    def __init__(
        self,
        limits: QueueLimits,
        instruments: Instruments,
        on_overflow: Callable[[], None],
        *,
        transport: str,
    ) -> None:
        self._limits = limits
        self._messages = instruments.messages.labels(transport)
        self._on_overflow: Callable[[], None] | None = on_overflow
        self._is_sse = transport == "sse"
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()

    def tell(self, form: Form, position: Position) -> None:
        """Queue a message."""
        self.put(form.event_at(position) if self._is_sse else form.json_at(position))

    def resync(self, position: Position, reason: str) -> None:
        """Queue the news that the client must fetch again."""
        text = resync_notice(position, reason)
        self.put(sse_event("resync", text, str(position)) if self._is_sse else text)

    def say(self, text: bytes) -> None:
        """Queue a message of the gateway itself."""
        self.put(text)

    def put(self, chunk: bytes) -> None:
        """Queue a chunk, unless too much waits already: then end the connection."""
        if self._on_overflow is None:
            return
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        self._messages.inc()
        self._changed.set()
        if self._bytes > self._limits.bytes_max or len(self._chunks) > self._limits.messages_max:
            self.overflow()

    def overflow(self) -> None:
        """Drop what waits and tell once that the reader is too slow."""
        on_overflow, self._on_overflow = self._on_overflow, None
        self._chunks.clear()
        self._bytes = 0
        if on_overflow is not None:
            on_overflow()

    def close(self) -> None:
        """Take nothing more."""
        self._on_overflow = None

    def last(self, chunk: bytes) -> None:
        """Queue a last chunk behind what waits, and take nothing more."""
        self._on_overflow = None
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        self._changed.set()

    async def next(self, timeout_s: float) -> bytes | None:
        """The oldest chunk, waiting for one; None after `timeout_s` without."""
        while not self._chunks:
            self._changed.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return None
        chunk = self._chunks.popleft()
        self._bytes -= len(chunk)
        return chunk


def resync_notice(position: Position, reason: str) -> bytes:
    """The message that says: fetch the state again, then go on from `position`."""
    return notice("resync", {"reason": reason}, sequence=str(position))
