"""The floor of a fan-out: uvicorn with `websockets-sansio` and nothing behind it.

Every WebSocket is accepted and kept; the body of a POST is sent to all of them, one `await send` after another.

    python -m bench.realtime_bare PORT
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

_connections: dict[Any, None] = {}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Keep WebSockets; send what is posted to all of them."""
    if scope["type"] == "websocket":
        await _keep(receive, send)
    elif scope["type"] == "http":
        await _fan_out(receive, send)


async def _keep(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    _connections[send] = None
    try:
        while (await receive())["type"] != "websocket.disconnect":
            pass
    finally:
        _connections.pop(send, None)


async def _fan_out(receive: Any, send: Any) -> None:
    text = (await receive())["body"].decode()
    if text:
        for each in tuple(_connections):
            await each({"type": "websocket.send", "text": text})
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=2_048,
    )
