"""Request id, trace, access log and metrics: the outermost step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import Histogram

from chassis.grpc.context import REQUEST_ID, leave_call
from chassis.interceptors.chain import Call, IdleChecks
from chassis.metrics import Metrics
from chassis.tracing import Tracing

_SERVER_FAULTS = frozenset(
    {"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"}
)
_QUIET_SERVICES = ("grpc.health.", "grpc.reflection.")


class Observe(IdleChecks):
    """Names the call, follows its trace, and writes one line and one measurement when it ends."""

    def __init__(self, metrics: Metrics, tracing: Tracing, new_id: Callable[[], str]) -> None:
        self._histogram = metrics.rpc_duration
        self._in_flight = {kind: metrics.rpc_in_flight.labels(kind) for kind in ("unary", "stream")}
        self._tracing = tracing
        self._new_id = new_id
        self._children: dict[tuple[str, str], Histogram] = {}
        self._log: Any = structlog.get_logger("chassis.access").bind()

    def enter(self, call: Call) -> None:
        """Give the call its request id and its place in a trace."""
        given = call.metadata.get("x-request-id")
        call.request_id = given if isinstance(given, str) and REQUEST_ID.fullmatch(given) else self._new_id()
        call.traceparent, call.span = self._tracing.enter_server(
            call.method.path, call.metadata.get("traceparent")
        )
        self._in_flight["stream" if call.method.is_stream else "unary"].inc()

    def leave(self, call: Call) -> None:
        """Measure, log, and end the span."""
        duration_s = call.age_s()
        self._in_flight["stream" if call.method.is_stream else "unary"].dec()
        self._child(call).observe(duration_s)
        if not call.method.service.startswith(_QUIET_SERVICES):
            self._write(call, duration_s)
        self._tracing.leave_server(call.span, call.code, failed=call.code in _SERVER_FAULTS)
        leave_call()

    def _child(self, call: Call) -> Histogram:
        key = (call.method.path, call.code)
        child = self._children.get(key)
        if child is None:
            child = self._histogram.labels(call.method.service, call.method.name, call.code)
            self._children[key] = child
        return child

    def _write(self, call: Call, duration_s: float) -> None:
        fields: dict[str, Any] = {
            "request_id": call.request_id,
            "method": call.method.path,
            "code": call.code,
            "duration_ms": round(duration_s * 1_000, 3),
        }
        reason = getattr(call.error, "reason", None)
        if reason is not None:
            fields["reason"] = str(reason)
        if call.code == "INTERNAL":
            self._log.error("rpc.failed", exc_info=call.error, **fields)
        else:
            self._log.info("rpc.served", **fields)
