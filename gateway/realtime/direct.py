"""WebSockets whose frames are written once for everybody.

uvicorn's own way to send awaits, frames and copies a message for every client. Fan-out wants neither: the same
bytes go to all of them, and a client that does not read must be noticed at once and cut off for good.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

EXTENSION: Final = "medforall.direct"


class DirectConnection:
    """The transport of an accepted WebSocket."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: WebSocketsSansIOProtocol) -> None:
        self._protocol = protocol

    def write(self, frame: bytes) -> None:
        """Queue a whole frame; nothing once the closing handshake has begun."""
        protocol = self._protocol
        if not protocol.close_sent and not protocol.transport.is_closing():
            protocol.transport.write(frame)

    @property
    def waiting_bytes(self) -> int:
        """What the client has not taken yet, beyond what its kernel and ours hold."""
        return self._protocol.transport.get_write_buffer_size()

    def close(self, code: int, reason: str, grace_s: float) -> None:
        """Begin the closing handshake behind what waits, and cut the connection after `grace_s`.

        A transport that is merely closed waits without end for a client that does not read.
        """
        protocol = self._protocol
        if protocol.close_sent or protocol.transport.is_closing():
            return
        protocol.stop_keepalive()
        protocol.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        protocol.close_sent = True
        protocol.close_timer = protocol.loop.call_later(grace_s, protocol.transport.abort)
        try:
            protocol.conn.send_close(code, reason)
        except InvalidState:
            protocol.transport.abort()
            return
        protocol.transport.write(b"".join(protocol.conn.data_to_send()))
        if protocol.read_paused:
            protocol.read_paused = False
            protocol.transport.resume_reading()


# uvicorn and websockets tell of every connection, with its whole address.
_quiet = logging.getLogger("gateway.realtime.protocol")
_quiet.setLevel(logging.WARNING)


class DirectWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, with a `DirectConnection` in the scope's extensions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _quiet
        self.conn.logger = _quiet

    def handle_connect(self, event: Any) -> None:
        """Begin the application's task, which finds the connection in its scope."""
        super().handle_connect(event)
        scope: dict[str, Any] | None = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = DirectConnection(self)


def direct_connection(scope: Scope) -> DirectConnection | None:
    """The connection of a WebSocket's scope; None under another server."""
    found: DirectConnection | None = scope.get("extensions", {}).get(EXTENSION)
    return found
