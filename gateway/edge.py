"""The outermost layer: request id, trace, CORS, security headers, admission, errors, access log, metrics."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.grpc.context import CallContext, current_call, use_call
from chassis.metrics import Metrics
from chassis.tracing import Tracing
from gateway.calls import Calls, Endpoint
from gateway.clients import ClientAddresses
from gateway.messages import Reply, Request
from gateway.problems import ClientGone, Full, HttpProblem, NoRoute
from gateway.refusals import Refusals
from scheduling.errors import Expired

_REQUEST_ID = re.compile(r"[\w.:-]{8,128}", re.ASCII)
_OTHER_ROUTE = "other"
_FULL_RETRY_S = 1.0

# The API's answers are data: nothing may frame, sniff, run or embed them. Pages set a policy of their own.
_SECURITY_HEADERS = (
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
    b"authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, "
    b"traceparent, x-request-id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """Bounds of one instance."""

    deadline_s: float = 30.0
    in_flight_max: int = 256


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
        self.route = _OTHER_ROUTE
        self.status = 0
        self.reason = ""
        self.started_s = time.perf_counter()
        self._added = added
        self._has_tls = scope["scheme"] == "https"
        self._send = send

    @property
    def duration_s(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self.started_s

    async def send(self, message: Message) -> None:
        """Hand an ASGI message on; the first one gets the common headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._common(message.get("headers", ()))]
        await self._send(message)

    def _common(self, given: Any) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", self.request_id.encode("latin-1")), *_SECURITY_HEADERS, *self._added]
        if _CONTENT_POLICY[0] not in dict(given):
            headers.append(_CONTENT_POLICY)
        if self._has_tls:
            headers.append(_STRICT_TRANSPORT)
        rate = self.scope.get("gateway.rate")
        if rate:
            headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in rate.items()]
        return headers


class Edge:
    """The gateway as an ASGI application: contract routes go to `calls`, everything else to `others`."""

    def __init__(
        self,
        *,
        calls: Calls,
        others: ASGIApp,
        refusals: Refusals,
        clients: ClientAddresses,
        cors: Cors,
        limits: EdgeLimits,
        metrics: Metrics,
        tracing: Tracing,
        new_id: Callable[[], str],
    ) -> None:
        self._calls = calls
        self._others = others
        self._refusals = refusals
        self._clients = clients
        self._cors = cors
        self._limits = limits
        self._tracing = tracing
        self._new_id = new_id
        self._in_flight = 0
        self._log: Any = structlog.get_logger("gateway.access").bind()
        gauge = metrics.gauge("gateway_requests_in_flight", "REST requests that are being served.")
        gauge.set_function(lambda: self._in_flight)
        self._duration = metrics.histogram(
            "gateway_request_duration_seconds",
            "Time from a request's headers to its answer's last byte.",
            ("route", "method", "status"),
        )
        self._durations: dict[tuple[str, str, int], Histogram] = {}
        self._refused = metrics.counter(
            "gateway_refusals_total", "Refused requests by error code.", ("code",)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        request_id = self._request_id(headers.get(b"x-request-id"))
        exchange = Exchange(scope, send, request_id=request_id, added=self._cors.headers(origin))
        traceparent, span = self._tracing.enter_server(_span_name(scope), _text(headers.get(b"traceparent")))
        context = CallContext(
            request_id=request_id,
            method=scope["method"],
            traceparent=traceparent,
            deadline=time.monotonic() + self._limits.deadline_s,
        )
        try:
            with use_call(context):
                try:
                    await self._serve(exchange, headers, receive)
                finally:
                    self._report(exchange)
        finally:
            self._tracing.leave_server(span, str(exchange.status), failed=exchange.status >= 500)

    def _request_id(self, given: bytes | None) -> str:
        text = _text(given)
        return text if text is not None and _REQUEST_ID.fullmatch(text) else self._new_id()

    async def _serve(self, exchange: Exchange, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        scope = exchange.scope
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await self._cors.preflight(headers.get(b"origin")).send(exchange.send)
            return
        try:
            request = self._request(exchange, receive, headers)
            endpoint, variables = self._calls.route(request)
        except NoRoute:
            await self._others(scope, receive, exchange.send)
            return
        except HttpProblem as problem:
            await self._refuse(exchange, problem)
            return
        exchange.route = endpoint.binding.template
        await self._call(exchange, request, endpoint, variables)

    def _request(self, exchange: Exchange, receive: Receive, headers: Mapping[bytes, bytes]) -> Request:
        client = exchange.scope.get("client")
        peer = client[0] if client else ""
        address = self._clients.of(peer, _text(headers.get(b"x-forwarded-for")))
        return Request(exchange.scope, receive, request_id=exchange.request_id, client=address)

    async def _call(
        self, exchange: Exchange, request: Request, endpoint: Endpoint, variables: Mapping[str, str]
    ) -> None:
        if self._in_flight >= self._limits.in_flight_max:
            await self._refuse(exchange, Full(retry_after_s=_FULL_RETRY_S))
            return
        self._in_flight += 1
        try:
            # The answer's way to a client that reads slowly is bounded as well: it holds a place here.
            async with asyncio.timeout(self._limits.deadline_s):
                await (await self._reply(exchange, request, endpoint, variables)).send(exchange.send)
        except TimeoutError:
            if not exchange.status:
                await self._refuse(exchange, Expired("The call took too long and was given up."))
        except ClientGone:
            exchange.status = 499
        finally:
            self._in_flight -= 1

    async def _reply(
        self, exchange: Exchange, request: Request, endpoint: Endpoint, variables: Mapping[str, str]
    ) -> Reply:
        try:
            return await self._calls.serve(request, endpoint, variables)
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the log all of it
            return self._refusal(exchange, error)

    async def _refuse(self, exchange: Exchange, error: Exception) -> None:
        await self._refusal(exchange, error).send(exchange.send)

    def _refusal(self, exchange: Exchange, error: Exception) -> Reply:
        refusal = self._refusals.of(error, exchange.request_id)
        exchange.reason = refusal.code
        self._refused.labels(refusal.code).inc()
        if refusal.status == 500 and not isinstance(error, grpc.aio.AioRpcError):
            # A fault of a service is in that service's log, under the same request id.
            self._log.error("http.failed", exc_info=error)
        return refusal.reply(exchange.request_id)

    def _measure(self, route: str, method: str, status: int, duration_s: float) -> None:
        # Methods of unknown addresses are as many as clients can think of.
        key = (route, method if route != _OTHER_ROUTE else "", status)
        child = self._durations.get(key)
        if child is None:
            child = self._durations[key] = self._duration.labels(*key)
        child.observe(duration_s)

    def _report(self, exchange: Exchange) -> None:
        """One measurement and one line. The line has the route's template: an address may hold anything."""
        duration_s = exchange.duration_s
        scope = exchange.scope
        self._measure(exchange.route, scope["method"], exchange.status, duration_s)
        path = exchange.route if exchange.route != _OTHER_ROUTE else _known_path(scope)
        fields: dict[str, Any] = {
            "method": scope["method"][:16],
            "path": path,
            "status": exchange.status,
            "duration_ms": round(duration_s * 1_000, 3),
        }
        if exchange.reason:
            fields["reason"] = exchange.reason
        principal = current_call().principal
        if principal is not None:
            fields["clinic_id"], fields["user_id"] = principal.clinic_id, principal.subject
        if path in _PROBES and exchange.status < 500:
            return
        self._log.info("http.served", **fields)


_PAGES = frozenset(
    (
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/asyncapi.json",
        "/docs",
        "/live",
        "/v1/realtime/ws",
        "/v1/realtime/sse",
    )
)


# Asked every few seconds by whatever watches the process.
_PROBES = frozenset(("/healthz", "/readyz"))


def _known_path(scope: Scope) -> str:
    path = scope["path"]
    return path if path in _PAGES else _OTHER_ROUTE


def _span_name(scope: Scope) -> str:
    return f"{scope['method']}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
