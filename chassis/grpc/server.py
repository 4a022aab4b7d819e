"""gRPC servers with everything that every service needs around its handlers.

`aio_server` serves handlers that wait (database, bus); `threads_server` serves handlers that compute. Both
are services of a `Process`: they start serving in `start`, and `stop` says NOT_SERVING first, then drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import structlog
import uuid_utils
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis.auth.verifier import TokenVerifier
from chassis.grpc.address import CallerAddresses
from chassis.grpc.tls import server_credentials
from chassis.interceptors.aio import AioInterceptor
from chassis.interceptors.auth import Auth
from chassis.interceptors.chain import Chain
from chassis.interceptors.deadline import Deadline
from chassis.interceptors.methods import describe_methods
from chassis.interceptors.observe import Observe
from chassis.interceptors.overload import Overload
from chassis.interceptors.threads import ThreadsInterceptor
from chassis.interceptors.validate import Validate
from chassis.lifecycle import Fatal
from chassis.metrics import Metrics
from chassis.settings import GrpcServerSettings, TlsSettings
from chassis.tracing import Tracing

_log = structlog.get_logger(__name__)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

# Metadata of one call: a token and a few ids. More is an attack.
_METADATA_BYTES_MAX = 16_384
_KEEPALIVE_MIN_MS = 10_000
_RPC_SLOTS_SPARE = 64


@dataclass(frozen=True, slots=True)
class GrpcService:
    """One service of a contract and who implements it.

    `descriptor` is `module_pb2.DESCRIPTOR.services_by_name["…"]`, `add` the generated
    `add_…Servicer_to_server`.
    """

    descriptor: ServiceDescriptor
    add: Callable[[Any, Any], None]
    servicer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerParts:
    """What a server is built from."""

    settings: GrpcServerSettings
    tls: TlsSettings
    verifier: TokenVerifier
    metrics: Metrics
    tracing: Tracing
    drain_ms: int = 10_000
    new_id: Callable[[], str] = lambda: str(uuid_utils.uuid7())


def build_chain(services: Sequence[GrpcService], parts: ServerParts) -> Chain:
    """The steps around every call. Raises Fatal for a method without an access option."""
    settings = parts.settings
    steps = (
        Observe(parts.metrics, parts.tracing, parts.new_id),
        Overload(parts.metrics, unary_max=settings.in_flight_max, streams_max=settings.streams_in_flight_max),
        Deadline(default_s=settings.deadline_default_ms / 1_000, max_s=settings.deadline_max_ms / 1_000),
        Validate(service.descriptor for service in services),
        Auth(parts.verifier),
    )
    methods = describe_methods(service.descriptor for service in services)
    return Chain(steps, methods, CallerAddresses(parts.settings.trusted_peers))


class _Server:
    """What both servers share: ports, options, health, keys."""

    def __init__(self, services: Sequence[GrpcService], parts: ServerParts) -> None:
        self._services = tuple(services)
        self._parts = parts
        self._chain = build_chain(services, parts)
        self._drain_s = parts.drain_ms / 1_000
        self.port = 0

    @property
    def name(self) -> str:
        """For logs."""
        return "grpc"

    @property
    def target(self) -> str:
        """Where the server can be reached on this machine, once it has started."""
        return f"{self._parts.settings.listen.host}:{self.port}"

    def _names(self) -> list[str]:
        return [service.descriptor.full_name for service in self._services]

    def _open_port(self, server: Any) -> None:
        listen = self._parts.settings.listen
        credentials = server_credentials(self._parts.tls)
        try:
            if credentials is None:
                self.port = server.add_insecure_port(str(listen))
            else:
                self.port = server.add_secure_port(str(listen), credentials)
        except RuntimeError as error:
            raise Fatal(
                f"The gRPC port {listen} cannot be opened: it is taken, or not this machine's."
            ) from error
        if self.port == 0:
            raise Fatal(f"The gRPC port {listen} cannot be opened: it is taken, or not this machine's.")

    def _register(self, server: Any) -> None:
        for service in self._services:
            service.add(service.servicer, server)
        if self._parts.settings.reflection:
            reflection.enable_server_reflection(
                [*self._names(), health.SERVICE_NAME, reflection.SERVICE_NAME], server
            )

    async def _load_keys(self) -> None:
        """Read the keys before the first call needs them; without them only public calls are served."""
        try:
            await asyncio.to_thread(self._parts.verifier.refresh)
        except Exception as error:
            raise Fatal(f"The keys that verify tokens cannot be read: {error}") from error

    async def _keep_keys_fresh(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self._parts.verifier.is_due():
                await asyncio.gather(asyncio.to_thread(self._parts.verifier.refresh), return_exceptions=True)


class AioServer(_Server):
    """A grpc.aio server; handlers are coroutines, `set_serving` is safe to call at any time."""

    def __init__(self, services: Sequence[GrpcService], parts: ServerParts) -> None:
        super().__init__(services, parts)
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self._keys: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve. Raises Fatal when the port or the keys cannot be had."""
        await self._load_keys()
        interceptor = AioInterceptor(self._chain, lambda: asyncio.to_thread(self._parts.verifier.refresh))
        server = grpc.aio.server(
            interceptors=[interceptor],
            options=server_options(self._parts.settings),
            maximum_concurrent_rpcs=aio_slots(self._parts.settings),
        )
        self._register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self._open_port(server)
        await server.start()
        self._server = server
        self._keys = asyncio.create_task(self._keep_keys_fresh(), name="grpc:keys")
        await self.set_serving(serving=True)
        _log.info("grpc.listening", address=self.target)

    async def stop(self) -> None:
        """Say NOT_SERVING, let running calls finish within the drain time, close."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._keys is not None:
            self._keys.cancel()
        await self._health.enter_graceful_shutdown()
        await server.stop(self._drain_s)

    async def set_serving(self, *, serving: bool) -> None:
        """Report the services as ready or not, without refusing calls."""
        status = _SERVING if serving else _NOT_SERVING
        for name in ("", *self._names()):
            await self._health.set(name, status)


class ThreadsServer(_Server):
    """A synchronous server with a few threads; handlers are plain functions."""

    def __init__(self, services: Sequence[GrpcService], parts: ServerParts) -> None:
        super().__init__(services, parts)
        self._server: grpc.Server | None = None
        # Watches of the health service would each occupy a handler's thread.
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._keys: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve. Raises Fatal when the port or the keys cannot be had."""
        await self._load_keys()
        pool = futures.ThreadPoolExecutor(self._parts.settings.threads, thread_name_prefix="grpc")
        server = grpc.server(
            pool,
            interceptors=[ThreadsInterceptor(self._chain, self._parts.verifier.refresh)],
            options=server_options(self._parts.settings),
            maximum_concurrent_rpcs=threads_slots(self._parts.settings),
        )
        self._register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self._open_port(server)
        server.start()
        self._server = server
        self._keys = asyncio.create_task(self._keep_keys_fresh(), name="grpc:keys")
        await self.set_serving(serving=True)
        _log.info("grpc.listening", address=self.target)

    async def stop(self) -> None:
        """Say NOT_SERVING, let running calls finish within the drain time, close."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._keys is not None:
            self._keys.cancel()
        self._health.enter_graceful_shutdown()
        await asyncio.to_thread(server.stop(self._drain_s).wait)

    async def set_serving(self, *, serving: bool) -> None:
        """Report the services as ready or not, without refusing calls."""
        status = _SERVING if serving else _NOT_SERVING
        for name in ("", *self._names()):
            self._health.set(name, status)


def aio_server(services: Sequence[GrpcService], parts: ServerParts) -> AioServer:
    """A server for handlers that wait. Raises Fatal for a method without an access option."""
    return AioServer(services, parts)


def threads_server(services: Sequence[GrpcService], parts: ServerParts) -> ThreadsServer:
    """A server for handlers that compute. Raises Fatal for a method without an access option."""
    return ThreadsServer(services, parts)


def aio_slots(settings: GrpcServerSettings) -> int:
    """Calls that gRPC lets into an aio server.

    A little more than the overload guard, which says why it refuses.
    """
    return settings.in_flight_max + settings.streams_in_flight_max + _RPC_SLOTS_SPARE


def threads_slots(settings: GrpcServerSettings) -> int:
    """Calls that gRPC lets into a synchronous server, running and waiting for a thread together.

    The steps run on the handler's thread, so the guard sees only running calls; the queue is bounded here,
    and one call too many is RESOURCE_EXHAUSTED at once, without details.
    """
    return settings.in_flight_max + settings.threads


def server_options(settings: GrpcServerSettings) -> list[tuple[str, Any]]:
    """The channel arguments of a server."""
    return [
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.max_send_message_length", 4 * settings.message_bytes_max),
        ("grpc.max_metadata_size", _METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", settings.concurrent_streams_max),
        ("grpc.max_connection_age_ms", settings.connection_age_max_ms),
        ("grpc.max_connection_age_grace_ms", 60_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _KEEPALIVE_MIN_MS),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.so_reuseport", int(settings.reuse_port)),
    ]
