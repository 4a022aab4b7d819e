"""Builds the gateway process from its settings: the only place where its parts are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
import uuid_utils

from chassis.auth.revocations import Revoked, build_watch
from chassis.auth.verifier import TokenVerifier, build_verifier
from chassis.cache import AsyncCache, build_breaker
from chassis.config import ConfigError, load
from chassis.grpc.client import aio_channel
from chassis.interceptors.methods import describe_methods
from chassis.lifecycle import Fatal, Process, Service
from chassis.logging import configure_logging
from chassis.metrics import Metrics, MetricsServer, build_metrics
from chassis.tracing import build_tracing
from gateway.authentication import Authenticator, Keys
from gateway.calls import Calls, Endpoint, Limits, build_endpoint
from gateway.clients import ClientAddresses
from gateway.clinics import ClinicLimits, PublicSearch
from gateway.contracts import Contract, load_contracts, load_files
from gateway.edge import Edge, EdgeLimits
from gateway.exchange import Cors
from gateway.http_policy import policies
from gateway.pages import Health, Pages, Readiness, document_routes
from gateway.rate_limit import Limiter, LocalBuckets, NoLimits, RateLimiter
from gateway.realtime.wiring import Realtime, build_realtime
from gateway.redis_buckets import RedisBuckets
from gateway.refusals import Refusals
from gateway.server import HttpServer
from gateway.settings import GatewaySettings
from gateway.transcoding.bindings import UnsupportedBinding, bindings_of
from gateway.transcoding.encoding import Encoder
from gateway.upstreams import Channels, Invoke, invoker


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


@dataclass(frozen=True, slots=True)
class Gateway:
    """The process and the part of it that has a port."""

    process: Process
    server: HttpServer


async def build(environ: Mapping[str, str]) -> Process:
    """The process, ready to run. Raises ConfigError or Fatal, each with one sentence."""
    settings = load(GatewaySettings, environ)
    common = settings.common
    configure_logging(service="gateway", environment=common.environment, level=common.log_level)
    return assemble(settings).process


def assemble(settings: GatewaySettings) -> Gateway:
    """Every part of the gateway; nothing is connected yet."""
    common = settings.common
    shared = _shared(settings)
    endpoints = _endpoints(load_contracts(), shared.channels, shared.encoder)
    clinics = ClinicLimits(
        _invoke(endpoints, "GetClinicLimits"), default_per_min=settings.rates.clinic_per_min
    )
    limiter = _limiter(settings, shared.cache, clinics, shared.metrics)
    authenticator = Authenticator(shared.verifier, limiter)
    calls = Calls(
        endpoints,
        authenticator=authenticator,
        limiter=limiter,
        public_clinics=PublicSearch(_invoke(endpoints, "GetPublicClinic")),
        limits=_limits(settings),
    )
    health = Health(_readiness(shared.channels))
    realtime = _realtime(settings, shared, authenticator, limiter)
    pages = Pages([*health.routes(), *realtime.routes, *document_routes()])
    edge = _edge(settings, shared, calls, pages, limiter)
    server = HttpServer(edge, settings.http, settings.tls, drain_ms=common.drain_ms, new_id=new_id)
    services: Sequence[Service] = [
        MetricsServer(shared.metrics, common.metrics_listen),
        Keys(shared.verifier),
        shared.cache,
        build_watch(settings.auth, shared.cache, shared.revoked, shared.metrics),
        shared.channels,
        clinics,
        realtime.link,
        server,
        realtime.members,
        _Drain(health),
    ]
    return Gateway(Process("gateway", services, drain_ms=common.drain_ms), server)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What several parts use."""

    metrics: Metrics
    revoked: Revoked
    verifier: TokenVerifier
    channels: Channels
    cache: AsyncCache
    encoder: Encoder
    refusals: Refusals


def _shared(settings: GatewaySettings) -> _Shared:
    metrics, revoked, encoder = build_metrics(), Revoked(), Encoder()
    verifier = build_verifier(settings.auth, revoked.holds)
    return _Shared(
        metrics=metrics,
        revoked=revoked,
        verifier=verifier,
        channels=_channels(settings),
        cache=AsyncCache(settings.redis, build_breaker(settings.redis, metrics)),
        encoder=encoder,
        refusals=Refusals(encoder),
    )


def _realtime(
    settings: GatewaySettings, shared: _Shared, authenticator: Authenticator, limiter: Limiter
) -> Realtime:
    return build_realtime(
        settings.realtime,
        channel=shared.channels["realtime"],
        authenticator=authenticator,
        life_s=shared.verifier.life_s,
        cache=shared.cache,
        limiter=limiter,
        origins=settings.http.cors_origins,
        metrics=shared.metrics,
        gateway_id=new_id(),
    )


def _edge(settings: GatewaySettings, shared: _Shared, calls: Calls, pages: Pages, limiter: Limiter) -> Edge:
    http = settings.http
    return Edge(
        calls=calls,
        others=pages,
        limiter=limiter,
        refusals=shared.refusals,
        clients=ClientAddresses(http.trusted_proxies),
        cors=Cors(http.cors_origins),
        limits=EdgeLimits(deadline_s=http.deadline_ms / 1_000, in_flight_max=http.in_flight_max),
        metrics=shared.metrics,
        tracing=build_tracing(
            service="gateway",
            environment=settings.common.environment,
            endpoint=settings.tracing.otlp_endpoint,
            sample_ratio=settings.tracing.sample_ratio,
        ),
        new_id=new_id,
    )


class _Drain:
    """Says "not ready" first: the last service to start is the first to stop."""

    name = "readiness"

    def __init__(self, health: Health) -> None:
        self._health = health

    async def start(self) -> None:
        """Be ready."""
        self._health.is_draining = False

    async def stop(self) -> None:
        """Not ready any more."""
        self._health.is_draining = True


def _channels(settings: GatewaySettings) -> Channels:
    targets = {
        "booking": settings.upstreams.booking,
        "availability": settings.upstreams.availability,
        "realtime": settings.upstreams.realtime,
    }
    # Metadata and deadline are passed by hand: an interceptor in between would cost as much as the call.
    retried = [
        contract.service.full_name for contract in load_contracts() if contract.upstream == "availability"
    ]
    return Channels(
        {
            name: aio_channel(target, tls=settings.tls, retried_services=retried, propagate=False)
            for name, target in targets.items()
        }
    )


def _endpoints(contracts: Sequence[Contract], channels: Channels, encoder: Encoder) -> list[Endpoint]:
    """An endpoint for every route of the contracts. Raises Fatal for a contract that cannot be served."""
    load_files()
    if not contracts:
        raise Fatal("The generated stubs of the contracts are missing: there is nothing to serve.")
    upstreams = {contract.service.full_name: contract.upstream for contract in contracts}
    methods = describe_methods([contract.service for contract in contracts])
    try:
        bindings = bindings_of([contract.service for contract in contracts])
    except UnsupportedBinding as error:
        raise Fatal(str(error)) from error
    return [
        build_endpoint(
            binding,
            method=methods[binding.grpc_path],
            policy=policy,
            encode=encoder.encoder(binding.reply),
            invoke=invoker(channels[upstreams[binding.service.full_name]], binding),
        )
        for binding, policy in zip(bindings, policies(bindings), strict=True)
    ]


def _invoke(endpoints: Sequence[Endpoint], rpc: str) -> Invoke:
    """The call that the gateway makes for itself."""
    return next(endpoint.invoke for endpoint in endpoints if endpoint.method.name == rpc)


def _limiter(
    settings: GatewaySettings, cache: AsyncCache, clinics: ClinicLimits, metrics: Metrics
) -> RateLimiter | NoLimits:
    if not settings.rates.is_on:
        return NoLimits()
    fallbacks = metrics.counter(
        "gateway_rate_limit_fallbacks_total", "Calls counted by this instance alone, because Redis was away."
    )
    buckets = RedisBuckets(cache, LocalBuckets(settings.rates.buckets_max), fallbacks)
    return RateLimiter(buckets, clinics, settings.rates.table)


def _limits(settings: GatewaySettings) -> Limits:
    http = settings.http
    if http.body_bytes_max > 4_194_304:
        raise ConfigError(
            "MEDFORALL_HTTP_BODY_BYTES_MAX is larger than a gRPC message may be (4194304 bytes)."
        )
    return Limits(
        body_bytes_max=http.body_bytes_max,
        body_timeout_s=http.body_timeout_ms / 1_000,
        call_timeout_s=http.deadline_ms / 1_000,
    )


def _readiness(channels: Channels) -> Readiness:
    async def ready() -> Mapping[str, bool]:
        states = channels.states()
        return {name: state is grpc.ChannelConnectivity.READY for name, state in states.items()}

    return ready
