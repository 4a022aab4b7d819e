"""JSON logs: one line an event, in one format, without patient data.

A line has `timestamp, level, service, environment, trace_id, span_id, request_id, clinic_id, user_id,
message, duration_ms`, a few fields of a call (`method`, `path`, `status`, `code`) and everything else under
`metadata`. Lines of other libraries (grpc, uvicorn, alembic, nats) go through the same processors. The
redaction runs before exceptions are formatted and again on the formatted text, because a traceback carries
text that no key announces.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from chassis.grpc.context import current_call_or_none
from chassis.redaction import scrub_mapping, scrub_text, scrub_traceback
from chassis.tracing import current_traceparent, ids_of

_LINE_BYTES_MAX = 16_384
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_TOP_LEVEL = (
    "timestamp", "level", "service", "environment", "trace_id", "span_id", "request_id", "clinic_id",
    "user_id", "method", "path", "status", "code", "duration_ms", "message", "exception", "stack",
)  # fmt: skip
_ROUTED = (
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "alembic",
    "sqlalchemy",
    "grpc",
    "nats",
    "asyncio",
    "py.warnings",
)


def configure_logging(
    *, service: str, environment: str, level: str = "info", stream: TextIO | None = None
) -> None:
    """Send every log line of this process, ours and the libraries', to `stream` (stdout) as redacted JSON."""
    threshold = _LEVELS[level]
    out = stream or sys.stdout
    shared = _shared_processors(service, environment)
    structlog.configure(
        processors=[*shared, _render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[_of_stdlib], processors=[*shared, _render])
    )
    _take_over(handler, threshold)


def _take_over(handler: logging.Handler, threshold: int) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(threshold, logging.INFO))
    logging.captureWarnings(capture=True)
    for name in _ROUTED:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # The access log is ours: theirs would show paths with query strings.
    logging.getLogger("uvicorn.access").disabled = True


def _shared_processors(service: str, environment: str) -> list[Processor]:
    def name_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        event["environment"] = environment
        return event

    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
        _add_call,
        redact,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_formatted,
    ]


def _of_stdlib(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keep of a library's record only its text, logger, level and exception."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name
    return event


def _add_call(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add the ids of the call that is being served and of its trace."""
    event.pop("trace_id", None)
    event.pop("span_id", None)
    traceparent = current_traceparent()
    call = current_call_or_none()
    if call is not None:
        event.setdefault("request_id", call.request_id)
        traceparent = traceparent or call.traceparent
        if call.principal is not None:
            event.setdefault("clinic_id", call.principal.clinic_id)
            event.setdefault("user_id", call.principal.subject)
    if traceparent:
        event["trace_id"], event["span_id"] = ids_of(traceparent)
    return event


# What the processors above have set themselves needs no search.
_OURS = ("timestamp", "level", "service", "environment", "trace_id", "span_id")
# Keys that formatters need as they are; none of them is written out.
_UNTOUCHED = ("exc_info", "stack_info", "_record", "_from_structlog")


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Let through only what may be logged."""
    kept = {key: event.pop(key) for key in (*_OURS, *_UNTOUCHED) if key in event}
    formatted = {key: scrub_traceback(str(event.pop(key))) for key in ("exception", "stack") if key in event}
    earlier = event.pop("dropped_keys", [])
    scrubbed = scrub_mapping(event)
    dropped = sorted({*earlier, *scrubbed.pop("dropped_keys", [])})
    if dropped:
        scrubbed["dropped_keys"] = dropped
    return {**kept, **scrubbed, **formatted}


def redact_formatted(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Redact again when an exception or a stack has been formatted since; nothing else is new."""
    return redact(logger, name, event) if "exception" in event or "stack" in event else event


def _render(_: WrappedLogger, __: str, event: EventDict) -> str:
    for key in _UNTOUCHED:
        event.pop(key, None)
    event["message"] = event.pop("event", event.get("message", ""))
    line = {key: event.pop(key) for key in _TOP_LEVEL if key in event}
    metadata = event.pop("metadata", {})
    rest = {**event, **(metadata if isinstance(metadata, dict) else {"value": metadata})}
    if rest:
        line["metadata"] = rest
    return _bounded(line)


def _bounded(line: dict[str, Any]) -> str:
    """Render `line`; when it is too long, drop the metadata, then cut the exception."""
    rendered = orjson.dumps(line, default=lambda value: scrub_text(str(value)))
    if len(rendered) > _LINE_BYTES_MAX and "metadata" in line:
        line["metadata"] = {"dropped_keys": sorted(line["metadata"])[:50]}
        rendered = orjson.dumps(line, default=str)
    if len(rendered) > _LINE_BYTES_MAX and "exception" in line:
        line["exception"] = str(line["exception"])[-_LINE_BYTES_MAX // 8 :]
        rendered = orjson.dumps(line, default=str)
    return rendered.decode()
