"""Channels to other services: keepalive, deadlines, retries, and the caller's context handed on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from chassis.grpc.context import current_call_or_none
from chassis.grpc.tls import channel_credentials
from chassis.settings import TlsSettings
from chassis.tracing import TRACEPARENT, current_traceparent

DEADLINE_DEFAULT_S = 10.0

Metadata = tuple[tuple[str, str], ...]

_NO_TLS = TlsSettings()


def outgoing_metadata(
    *, authorization: str | None = None, request_id: str | None = None, idempotency_key: str | None = None
) -> Metadata:
    """The metadata to send: what is given, else what the call that is being served carries.

    The idempotency key is never taken from the served call: a handler's own calls are other requests.
    """
    call = current_call_or_none()
    traceparent = current_traceparent() or (call.traceparent if call else None)
    pairs = (
        ("authorization", authorization or (call.authorization if call else None)),
        ("x-request-id", request_id or (call.request_id if call else None)),
        (TRACEPARENT, traceparent),
        ("idempotency-key", idempotency_key),
    )
    return tuple((key, value) for key, value in pairs if value)


def outgoing_timeout_s(wanted_s: float | None = None) -> float:
    """The deadline to send: `wanted_s` or the default, never later than the served call's own."""
    call = current_call_or_none()
    left_s = call.remaining_s() if call else None
    asked_s = DEADLINE_DEFAULT_S if wanted_s is None else wanted_s
    return asked_s if left_s is None else min(asked_s, left_s)


def aio_channel(
    target: str,
    *,
    tls: TlsSettings = _NO_TLS,
    retried_services: Sequence[str] = (),
    message_bytes_max: int = 4_194_304,
    propagate: bool = True,
) -> grpc.aio.Channel:
    """A channel for asyncio; nothing connects before the first call.

    Calls of `retried_services` (full names) are tried again, at most twice, when the server was not reached
    or said UNAVAILABLE: name only services whose mutations carry an idempotency key. With `propagate`,
    unary calls carry the served call's metadata and deadline; pass `outgoing_metadata()` to streams
    yourself.
    """
    options = channel_options(tls, retried_services, message_bytes_max)
    interceptors = [_AioPropagation()] if propagate else []
    credentials = channel_credentials(tls)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)


def sync_channel(
    target: str,
    *,
    tls: TlsSettings = _NO_TLS,
    retried_services: Sequence[str] = (),
    message_bytes_max: int = 4_194_304,
    propagate: bool = True,
) -> grpc.Channel:
    """The same for threads."""
    options = channel_options(tls, retried_services, message_bytes_max)
    credentials = channel_credentials(tls)
    channel = (
        grpc.insecure_channel(target, options=options)
        if credentials is None
        else grpc.secure_channel(target, credentials, options=options)
    )
    return grpc.intercept_channel(channel, _SyncPropagation()) if propagate else channel


def channel_options(
    tls: TlsSettings, retried_services: Sequence[str], message_bytes_max: int
) -> list[tuple[str, Any]]:
    """The channel arguments."""
    options: list[tuple[str, Any]] = [
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_receive_message_length", message_bytes_max),
        ("grpc.max_send_message_length", message_bytes_max),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.service_config", service_config(retried_services)),
        ("grpc.enable_retries", 1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def service_config(retried_services: Sequence[str]) -> str:
    """The retry policy as gRPC's service config, with a budget so that retries cannot become a storm."""
    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    methods = [{"name": [{"service": service}], "retryPolicy": policy} for service in retried_services]
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": methods,
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
    return json.dumps(config)


def _with_context(details: Any) -> tuple[float, list[tuple[str, Any]]]:
    """The deadline and metadata of an outgoing call; what the caller gave wins."""
    given = list(details.metadata or ())
    present = {key for key, _ in given}
    added = [pair for pair in outgoing_metadata() if pair[0] not in present]
    return outgoing_timeout_s(details.timeout), [*given, *added]


class _AioPropagation(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        timeout_s, metadata = _with_context(client_call_details)
        details = grpc.aio.ClientCallDetails(
            method=client_call_details.method,
            timeout=timeout_s,
            metadata=grpc.aio.Metadata(*metadata),
            credentials=client_call_details.credentials,
            wait_for_ready=client_call_details.wait_for_ready,
        )
        return await continuation(details, request)


class _SyncDetails(grpc.ClientCallDetails):
    def __init__(self, details: Any, timeout_s: float, metadata: list[tuple[str, Any]]) -> None:
        self.method = details.method
        self.timeout = timeout_s
        self.metadata = tuple(metadata)
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class _SyncPropagation(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        timeout_s, metadata = _with_context(client_call_details)
        return continuation(_SyncDetails(client_call_details, timeout_s, metadata), request)
