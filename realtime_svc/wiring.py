"""Builds the process from its settings: the only place where its parts are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import uuid_utils
from medforall.realtime.v1 import realtime_pb2, realtime_pb2_grpc

from chassis.auth.revocations import Revocations, Revoked, build_watch
from chassis.auth.verifier import build_verifier
from chassis.bus import Bus
from chassis.cache import AsyncCache, build_breaker
from chassis.clock import process_clock
from chassis.config import load
from chassis.grpc.server import AioServer, GrpcService, ServerParts, aio_server
from chassis.lifecycle import Process, Service
from chassis.logging import configure_logging
from chassis.metrics import Metrics, MetricsServer, build_metrics
from chassis.supervisor import Supervisor
from chassis.tracing import build_tracing
from realtime_svc.history import History
from realtime_svc.hub import Hub
from realtime_svc.instruments import Instruments
from realtime_svc.log import JetStreamLog
from realtime_svc.presence import Presence
from realtime_svc.rpc.open_streams import OpenStreams
from realtime_svc.rpc.realtime import Limits, RealtimeServicer
from realtime_svc.settings import RealtimeSettings
from realtime_svc.tail import Tail


async def build(environ: Mapping[str, str]) -> Process:
    """The process, ready to run. Raises ConfigError or Fatal, each with one sentence."""
    settings = load(RealtimeSettings, environ)
    common = settings.common
    configure_logging(service="realtime_svc", environment=common.environment, level=common.log_level)
    return assemble(settings)


def assemble(settings: RealtimeSettings) -> Process:
    """Every part of the service; nothing is connected yet."""
    common = settings.common
    metrics = build_metrics()
    instruments = Instruments(metrics)
    supervisor = Supervisor()
    bus = Bus(settings.nats, client_name="realtime_svc")
    cache = AsyncCache(settings.redis, build_breaker(settings.redis, metrics))
    revoked = Revoked()
    hub = Hub(instruments, recent_max=settings.streams.recent_messages_max)
    log = JetStreamLog(bus)
    presence = Presence(cache, process_clock(common))
    streams = OpenStreams(Revocations(cache), check_s=settings.streams.revocation_check_ms / 1_000)
    servicer = RealtimeServicer(
        hub,
        History(hub, log, instruments, messages_max=settings.streams.resume_messages_max),
        presence,
        streams,
        instruments,
        limits=_limits(settings),
        instance=str(uuid_utils.uuid7()),
    )
    services: Sequence[Service] = [
        MetricsServer(metrics, common.metrics_listen),
        bus,
        cache,
        build_watch(settings.auth, cache, revoked, metrics),
        supervisor,
        Tail(log, hub, supervisor, warm_up_records=settings.streams.warm_up_records),
        _Loops(supervisor, presence, streams),
        _server(settings, servicer, metrics, revoked),
        streams,
    ]
    process = Process("realtime_svc", services, drain_ms=common.drain_ms)
    supervisor.on_fatal(process.fail)
    return process


class _Loops:
    """Presence and the check for revoked tokens, supervised."""

    name = "loops"

    def __init__(self, supervisor: Supervisor, presence: Presence, streams: OpenStreams) -> None:
        self._supervisor = supervisor
        self._presence = presence
        self._streams = streams

    async def start(self) -> None:
        """Begin both."""
        self._supervisor.spawn("presence", self._presence.run)
        self._supervisor.spawn("revocations", self._streams.run)

    async def stop(self) -> None:
        """Say that nobody is connected here any more."""
        await self._presence.stop()


def _server(
    settings: RealtimeSettings, servicer: RealtimeServicer, metrics: Metrics, revoked: Revoked
) -> AioServer:
    common = settings.common
    service = GrpcService(
        realtime_pb2.DESCRIPTOR.services_by_name["RealtimeService"],
        realtime_pb2_grpc.add_RealtimeServiceServicer_to_server,
        servicer,
    )
    parts = ServerParts(
        settings=settings.grpc,
        tls=settings.tls,
        verifier=build_verifier(settings.auth, revoked.holds),
        metrics=metrics,
        tracing=build_tracing(
            service="realtime_svc",
            environment=common.environment,
            endpoint=settings.tracing.otlp_endpoint,
            sample_ratio=settings.tracing.sample_ratio,
        ),
        drain_ms=common.drain_ms,
    )
    return aio_server([service], parts)


def _limits(settings: RealtimeSettings) -> Limits:
    return Limits(
        gateway_bytes_max=settings.streams.gateway_bytes_max,
        subscriber_bytes_max=settings.streams.subscriber_bytes_max,
        heartbeat_s=settings.streams.heartbeat_ms / 1_000,
    )
