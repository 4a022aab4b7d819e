"""One request at the edge and what was answered: the headers that every answer has, and pages of other origins."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, Final

from starlette.types import Message, Scope, Send

from gateway.messages import Reply
from gateway.transcoding.names import RestNames

OTHER_ROUTE: Final = "other"
RATE: Final = "gateway.rate"
"""Where a scope keeps the rate headers of its answer."""

SWITCHING_PROTOCOLS: Final = 101

# The API's answers are data: nothing may frame, sniff, run or embed them. Pages set a policy of their own.
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

_EXPOSED = (
    b"etag, idempotent-replayed, location, retry-after, x-fetched-at, x-ratelimit-limit, "
    b"x-ratelimit-remaining, x-ratelimit-reset, x-request-id"
)
_ALLOWED_HEADERS = (
    b"authorization, content-type, hold-token, idempotency-key, if-match, if-none-match, last-event-id, "
    b"traceparent, x-request-id"
)


class Cors:
    """Which pages of other origins may call."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origin.rstrip("/").encode("latin-1") for origin in origins)

    def headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """What to add to an answer for a page of `origin`."""
        if origin is None or origin not in self._origins:
            return []
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED)]

    def preflight(self, origin: bytes | None) -> Reply:
        """The answer to a browser that asks before it calls."""
        reply = Reply(204, headers={"vary": "origin", "cache-control": "no-store"})
        if origin is not None and origin in self._origins:
            reply.headers["access-control-allow-methods"] = "GET, POST, PATCH, PUT, DELETE"
            reply.headers["access-control-allow-headers"] = _ALLOWED_HEADERS.decode()
            reply.headers["access-control-max-age"] = "600"
        return reply


class Exchange:
    """One request and what was answered; adds the common headers when the answer starts."""

    __slots__ = (
        "_added",
        "_has_tls",
        "_send",
        "names",
        "reason",
        "request_id",
        "route",
        "scope",
        "started_s",
        "status",
    )

    def __init__(
        self, scope: Scope, send: Send, *, request_id: str, added: list[tuple[bytes, bytes]]
    ) -> None:
        self.scope = scope
        self.request_id = request_id
        self.route = OTHER_ROUTE
        self.names: RestNames | None = None
        self.status = 0
        self.reason = ""
        self.started_s = time.perf_counter()
        self._added = added
        self._has_tls = scope["scheme"] in ("https", "wss")
        self._send = send

    @property
    def method(self) -> str:
        """The HTTP method; a handshake's is GET."""
        return str(self.scope.get("method", "GET"))

    @property
    def duration_s(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self.started_s

    async def send(self, message: Message) -> None:
        """Hand an ASGI message on; the first one gets the common headers, and HTTP may answer a handshake."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._common(message.get("headers", ()))]
        elif message["type"] == "websocket.accept":
            self.status = SWITCHING_PROTOCOLS
        if self.scope["type"] == "websocket" and message["type"].startswith("http."):
            message["type"] = f"websocket.{message['type']}"
        await self._send(message)

    def _common(self, given: Any) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", self.request_id.encode("latin-1")), *SECURITY_HEADERS, *self._added]
        if _CONTENT_POLICY[0] not in dict(given):
            headers.append(_CONTENT_POLICY)
        if self._has_tls:
            headers.append(_STRICT_TRANSPORT)
        rate = self.scope.get(RATE)
        if rate:
            headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in rate.items()]
        return headers
