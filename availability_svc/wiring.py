"""Builds the process from its settings: the only place where its parts are put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from medforall.availability.v1 import availability_pb2

from availability_svc.freshness import Freshness
from availability_svc.layers import LayerCounters
from availability_svc.projection.hearing import Hearing
from availability_svc.projection.incarnations import Incarnations
from availability_svc.projection.kept_back import KeptBack
from availability_svc.projection.watch import Watch
from availability_svc.projection.worker import ProjectionWorker
from availability_svc.rpc.availability import AvailabilityServicer, add_servicer
from availability_svc.rpc.slots import SlotWriter
from availability_svc.settings import AvailabilitySettings
from availability_svc.store.calendar_source import CalendarSource
from availability_svc.store.location_source import LocationSource
from availability_svc.store.outline_source import OutlineSource
from availability_svc.store.process_memory import ProcessMemory
from availability_svc.store.pulses import Pulses
from availability_svc.store.redis_projection import RedisProjection
from availability_svc.store.truth import Truth
from availability_svc.usecases.reading import Reader
from chassis.auth.revocations import Revoked, build_watch
from chassis.auth.verifier import build_verifier
from chassis.bus import Bus
from chassis.cache import AsyncCache, SyncCache, build_breaker
from chassis.clock import process_clock
from chassis.config import load
from chassis.grpc.server import GrpcService, ServerParts, ThreadsServer, threads_server
from chassis.lifecycle import Process, Service
from chassis.logging import configure_logging
from chassis.metrics import Metrics, MetricsServer, build_metrics
from chassis.tracing import build_tracing
from database.transaction import Database
from scheduling.clock import Clock
from scheduling.derived import DerivedCache

NAME = "availability_svc"


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the process reads from."""

    truth: Truth
    cache: SyncCache
    projection: RedisProjection
    locations: LocationSource
    outlines: OutlineSource
    calendars: CalendarSource


async def build(environ: Mapping[str, str]) -> Process:
    """The process, ready to run. Raises ConfigError or Fatal, each with one sentence."""
    settings = load(AvailabilitySettings, environ)
    common = settings.common
    configure_logging(service=NAME, environment=common.environment, level=common.log_level)
    return assemble(settings)


def assemble(settings: AvailabilitySettings) -> Process:
    """Every part of the service; nothing is connected yet."""
    metrics = build_metrics()
    clock = process_clock(settings.common)
    stores = build_stores(settings, metrics)
    freshness = Freshness(clock)
    reader = Reader(
        stores.locations,
        stores.outlines,
        stores.calendars,
        stores.truth,
        freshness=freshness,
        cache=DerivedCache(settings.derived_bytes_max),
    )
    revoked = Revoked()
    services: Sequence[Service] = [
        MetricsServer(metrics, settings.common.metrics_listen),
        stores.truth,
        stores.cache,
        *_revocations(settings, revoked, metrics),
        *_followers(settings, stores, freshness, metrics, clock),
        _server(settings, AvailabilityServicer(reader, SlotWriter()), metrics, revoked),
    ]
    process = Process(NAME, services, drain_ms=settings.common.drain_ms)
    for follower in services:
        if isinstance(follower, ProjectionWorker | Hearing | Watch):
            follower.on_fatal(process.fail)
    return process


def build_stores(settings: AvailabilitySettings, metrics: Metrics) -> Stores:
    """The three stores and the sources that read them in turn."""
    truth = Truth(
        settings.app_database.url, settings.database, replica_url=settings.replica.url, metrics=metrics
    )
    cache = SyncCache(settings.redis, build_breaker(settings.redis, metrics))
    projection = RedisProjection(cache, value_ttl_ms=settings.projection_ttl_ms)
    pulses, counters = Pulses(projection), LayerCounters(metrics)
    eighth = settings.memory_bytes_max // 8
    return Stores(
        truth=truth,
        cache=cache,
        projection=projection,
        locations=LocationSource(truth, projection, pulses, counters, bytes_max=2 * eighth),
        outlines=OutlineSource(truth, projection, pulses, counters, bytes_max=eighth),
        calendars=CalendarSource(truth, projection, pulses, counters, bytes_max=5 * eighth),
    )


def _followers(
    settings: AvailabilitySettings, stores: Stores, freshness: Freshness, metrics: Metrics, clock: Clock
) -> list[Service]:
    """What follows the events: the shared projections, this process's memory, and the watch over both."""
    bus = Bus(settings.nats, client_name=NAME)
    database = Database(
        settings.worker_database.url,
        replace(settings.database, pool_min=1, pool_max=2),
        application_name=f"{NAME} watch",
    )
    memory = ProcessMemory(stores.locations, stores.outlines, stores.calendars)
    hearing = Hearing(bus, memory)
    worker = ProjectionWorker(bus, stores.projection, stores.locations, metrics=metrics, clock=clock)
    incarnations = Incarnations(bus, stores.projection, memory)

    async def project(data: bytes) -> None:
        hearing.hear(data)
        await worker.project(data)

    watch = Watch(
        bus,
        hearing,
        database,
        freshness,
        incarnations,
        kept_back=KeptBack(database, project, worker.give_up),
        metrics=metrics,
        clock=clock,
    )
    # The worker makes the streams that the others follow.
    return [bus, _Opened(database), worker, hearing, watch]


def _revocations(settings: AvailabilitySettings, revoked: Revoked, metrics: Metrics) -> Sequence[Service]:
    """What keeps `revoked` up to date, on a connection and a breaker of its own: calls do not feel it."""
    cache = AsyncCache(settings.redis, build_breaker(settings.redis))
    return cache, build_watch(settings.auth, cache, revoked, metrics)


def _server(
    settings: AvailabilitySettings, servicer: AvailabilityServicer, metrics: Metrics, revoked: Revoked
) -> ThreadsServer:
    common = settings.common
    service = GrpcService(
        availability_pb2.DESCRIPTOR.services_by_name["AvailabilityService"], add_servicer, servicer
    )
    parts = ServerParts(
        settings=settings.grpc,
        tls=settings.tls,
        verifier=build_verifier(settings.auth, revoked.holds),
        metrics=metrics,
        tracing=build_tracing(
            service=NAME,
            environment=common.environment,
            endpoint=settings.tracing.otlp_endpoint,
            sample_ratio=settings.tracing.sample_ratio,
        ),
        drain_ms=common.drain_ms,
    )
    return threads_server([service], parts)


class _Opened:
    """A database as a part of the process."""

    name = "worker database"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self) -> None:
        """Begin to connect."""
        await self._database.open()

    async def stop(self) -> None:
        """Close every connection."""
        await self._database.close()
