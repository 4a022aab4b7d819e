"""The outermost layer: request id, trace, CORS, security headers, admission, errors, access log, metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from medforall.options.v1 import options_pb2
from prometheus_client import Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.grpc.context import REQUEST_ID, CallContext, current_call, use_call
from chassis.metrics import Metrics
from chassis.tracing import Tracing
from gateway.calls import Calls, Endpoint
from gateway.clients import ClientAddresses
from gateway.exchange import OTHER_ROUTE, RATE, SWITCHING_PROTOCOLS, Cors, Exchange
from gateway.messages import Reply, Request
from gateway.problems import ClientGone, Full, HttpProblem, MethodNotAllowed, NoRoute, RateLimited
from gateway.rate_limit import Limiter
from gateway.refusals import Refusals
from scheduling.errors import Expired

_FULL_RETRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """Bounds of one instance."""

    deadline_s: float = 30.0
    in_flight_max: int = 256


class Edge:
    """The gateway as an ASGI application: contract routes go to `calls`, everything else to `others`."""

    def __init__(
        self,
        *,
        calls: Calls,
        others: ASGIApp,
        refusals: Refusals,
        limiter: Limiter,
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
        self._limiter = limiter
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
        headers = dict(scope["headers"])
        exchange = Exchange(
            scope,
            send,
            request_id=self._request_id(headers.get(b"x-request-id")),
            added=self._cors.headers(headers.get(b"origin")),
        )
        if scope["type"] == "websocket":
            with use_call(self._context(exchange, headers)):
                await self._serve_websocket(exchange, receive)
            return
        traceparent, span = self._tracing.enter_server(exchange.method, _text(headers.get(b"traceparent")))
        deadline = time.monotonic() + self._limits.deadline_s
        try:
            with use_call(self._context(exchange, headers, traceparent=traceparent, deadline=deadline)):
                try:
                    await self._serve(exchange, headers, receive)
                finally:
                    self._report(exchange)
        finally:
            self._tracing.leave_server(span, str(exchange.status), failed=exchange.status >= 500)

    def _context(self, exchange: Exchange, headers: Mapping[bytes, bytes], **more: Any) -> CallContext:
        client = exchange.scope.get("client")
        peer = client[0] if client else ""
        return CallContext(
            request_id=exchange.request_id,
            method=exchange.method,
            client_address=self._clients.of(peer, _text(headers.get(b"x-forwarded-for"))),
            **more,
        )

    def _request_id(self, given: bytes | None) -> str:
        text = _text(given)
        return text if text is not None and REQUEST_ID.fullmatch(text) else self._new_id()

    async def _serve(self, exchange: Exchange, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        scope = exchange.scope
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await self._cors.preflight(headers.get(b"origin")).send(exchange.send)
            return
        try:
            request = Request(scope, receive)
            endpoint, variables = self._calls.route(request)
        except NoRoute:
            await self._visit(exchange, receive)
            return
        except HttpProblem as problem:
            await self._refuse_stranger(exchange, problem)
            return
        exchange.route, exchange.names = endpoint.binding.template, endpoint.names
        await self._call(exchange, request, endpoint, variables)

    async def _visit(self, exchange: Exchange, receive: Receive) -> None:
        """Let the pages answer; what they refuse looks like every other refusal."""
        try:
            await self._others(exchange.scope, receive, exchange.send)
        except (NoRoute, MethodNotAllowed) as problem:
            await self._refuse_stranger(exchange, problem)
        except Exception as error:
            if exchange.status:
                raise
            await self._refuse(exchange, error)

    async def _serve_websocket(self, exchange: Exchange, receive: Receive) -> None:
        try:
            await self._visit(exchange, receive)
        finally:
            # What happens on an open one is told where it happens.
            if exchange.status != SWITCHING_PROTOCOLS:
                self._report(exchange)

    async def _refuse_stranger(self, exchange: Exchange, problem: HttpProblem) -> None:
        """Refuse what no call takes. It counts: whoever looks for addresses has no more of them than of others."""
        client = current_call().client_address or ""
        try:
            rate = await self._limiter.admit(None, client, "", options_pb2.RATE_CLASS_READ)
        except RateLimited as limited:
            await self._refuse(exchange, limited)
            return
        exchange.scope[RATE] = rate
        await self._refuse(exchange, problem)

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
        refusal = self._refusals.of(error, exchange.request_id, exchange.names)
        exchange.reason = refusal.code
        self._refused.labels(refusal.code).inc()
        if refusal.status == 500 and not isinstance(error, grpc.aio.AioRpcError):
            # A fault of a service is in that service's log, under the same request id.
            self._log.error("http.failed", exc_info=error)
        return refusal.reply(exchange.request_id)

    def _measure(self, route: str, method: str, status: int, duration_s: float) -> None:
        # Methods of unknown addresses are as many as clients can think of.
        key = (route, method if route != OTHER_ROUTE else "", status)
        child = self._durations.get(key)
        if child is None:
            child = self._durations[key] = self._duration.labels(*key)
        child.observe(duration_s)

    def _report(self, exchange: Exchange) -> None:
        """One measurement and one line. The line has the route's template: an address may hold anything."""
        duration_s = exchange.duration_s
        scope = exchange.scope
        self._measure(exchange.route, exchange.method, exchange.status, duration_s)
        path = exchange.route if exchange.route != OTHER_ROUTE else _known_path(scope)
        fields: dict[str, Any] = {
            "method": exchange.method[:16],
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
    return path if path in _PAGES else OTHER_ROUTE


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
