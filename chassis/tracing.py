"""W3C trace context everywhere; OpenTelemetry spans only when an exporter is configured.

Without `MEDFORALL_OTLP_ENDPOINT` no SDK is loaded and no span is made: a call still gets (or keeps) a trace
id, which travels through gRPC metadata, outbox rows and message headers, so that logs of one booking can be
joined. Spans carry ids only, never patient data.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanKind, Tracer

TRACEPARENT = "traceparent"

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[0-9a-f]")
_random_bits = random.SystemRandom().getrandbits
_current: ContextVar[str | None] = ContextVar("chassis_traceparent", default=None)

Attribute = str | int | float | bool


def parse_traceparent(value: str | None) -> str | None:
    """Return `value` if it is a valid W3C traceparent of version 00, else None."""
    if value is None or len(value) != 55:
        return None
    match = _TRACEPARENT.fullmatch(value)
    if match is None or match[1] == "0" * 32 or match[2] == "0" * 16:
        return None
    return value


def new_traceparent(*, sampled: bool = False) -> str:
    """A traceparent of a new trace."""
    # One question to the operating system; the lowest bit of each id is set, so that neither is zero.
    ids = f"{_random_bits(192) | 1 << 64 | 1:048x}"
    return f"00-{ids[:32]}-{ids[32:]}-0{int(sampled)}"


def ids_of(traceparent: str) -> tuple[str, str]:
    """The (trace id, span id) of a valid traceparent."""
    return traceparent[3:35], traceparent[36:52]


def current_traceparent() -> str | None:
    """The trace context of this task or thread: for outbox rows, outgoing calls and messages."""
    return _current.get()


def inject(headers: MutableMapping[str, str]) -> None:
    """Put the current trace context into message headers or metadata."""
    traceparent = _current.get()
    if traceparent is not None:
        headers[TRACEPARENT] = traceparent


def extract(headers: Mapping[str, str] | None) -> str | None:
    """The valid trace context of message headers, if they carry one."""
    return parse_traceparent(headers.get(TRACEPARENT)) if headers else None


@contextmanager
def use_traceparent(traceparent: str | None) -> Iterator[None]:
    """Continue the trace that an outbox row or a message carried."""
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)


class Tracing:
    """Makes the spans of one process; every method returns at once when tracing is off."""

    def __init__(self, tracer: Tracer | None = None, provider: TracerProvider | None = None) -> None:
        self._tracer = tracer
        self._provider = provider

    @property
    def is_on(self) -> bool:
        """Whether spans are recorded."""
        return self._tracer is not None

    def enter_server(self, method: str, traceparent: str | None) -> tuple[str, Span | None]:
        """Begin the span of an incoming call: the traceparent to work under, and what `leave` wants back."""
        parent = parse_traceparent(traceparent)
        if self._tracer is None:
            current = parent or new_traceparent()
            _current.set(current)
            return current, None
        attributes = {"rpc.system.name": "grpc", "rpc.method": method.lstrip("/")}
        span = self._start(method.lstrip("/"), "SERVER", parent, attributes)
        current = _traceparent_of(span)
        _current.set(current)
        return current, span

    def leave_server(self, span: Span | None, code: str, *, failed: bool) -> None:
        """End the span of an incoming call with its status code's name."""
        _current.set(None)
        if span is None:
            return
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - only when tracing is on

        span.set_attribute("rpc.response.status_code", code)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    @contextmanager
    def span(self, name: str, **attributes: Attribute) -> Iterator[None]:
        """Work inside a span called `name`; failures mark it with the exception's type alone."""
        if self._tracer is None:
            yield
            return
        span = self._start(name, "INTERNAL", _current.get(), attributes)
        token = _current.set(_traceparent_of(span))
        try:
            yield
        except BaseException as error:
            _mark_failed(span, error)
            raise
        finally:
            _current.reset(token)
            span.end()

    def _start(self, name: str, kind: str, parent: str | None, attributes: Mapping[str, Attribute]) -> Span:
        assert self._tracer is not None  # noqa: S101 - callers have asked
        return self._tracer.start_span(
            name, context=_context_of(parent), kind=_kind(kind), attributes=attributes
        )

    async def stop(self) -> None:
        """Send what is left and end the exporter; safe to call twice."""
        import asyncio  # noqa: PLC0415 - next to its only use

        provider, self._provider, self._tracer = self._provider, None, None
        if provider is not None:
            await asyncio.to_thread(provider.shutdown)


OFF = Tracing()


def build_tracing(
    *,
    service: str,
    environment: str,
    endpoint: str,
    sample_ratio: float,
    exporter: SpanExporter | None = None,
) -> Tracing:
    """The tracing of a process: off unless `endpoint` (OTLP over gRPC) or an `exporter` is given."""
    if not endpoint and exporter is None:
        return OFF
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - costs 100 ms to import
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    resource = Resource.create({"service.name": service, "deployment.environment.name": environment})
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)), resource=resource, shutdown_on_exit=False
    )
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        provider.add_span_processor(BatchSpanProcessor(_otlp_exporter(endpoint), max_queue_size=2_048))
    return Tracing(provider.get_tracer("medforall"), provider)


def _otlp_exporter(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=5)


def _context_of(traceparent: str | None) -> Any:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context  # noqa: PLC0415

    if traceparent is None:
        return Context()
    trace_id, span_id = ids_of(traceparent)
    flags = TraceFlags(int(traceparent[-2:], 16))
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _kind(name: str) -> SpanKind:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    return SpanKind[name]


def _traceparent_of(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _mark_failed(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))
