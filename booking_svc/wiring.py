"""Builds the booking process from its settings: the only place where its parts are put together."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import uuid_utils
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc

from booking_svc.audit_sealer import LEASE_NAME as SEALER_LEASE
from booking_svc.audit_sealer import AuditSealer
from booking_svc.instruments import MutationInstruments, RelayInstruments
from booking_svc.outbox import relay as outbox_relay
from booking_svc.outbox.relay import Relay, RelayLimits
from booking_svc.outbox.wakeup import Wakeup
from booking_svc.rpc.booking import BookingServicer
from booking_svc.settings import BookingSettings
from booking_svc.store.keys import StoredCiphers
from booking_svc.store.pool import Pool
from booking_svc.store.turns import Turns
from booking_svc.sweeper import LEASE_NAME as SWEEPER_LEASE
from booking_svc.sweeper import HoldSweeper
from booking_svc.usecases.alternatives import NearestSlots
from booking_svc.usecases.book import Booker
from booking_svc.usecases.cancel_appointment import cancel_appointment
from booking_svc.usecases.catalog import UseCases
from booking_svc.usecases.change_notes import UpdateNotes
from booking_svc.usecases.check_in_appointment import CheckInAppointment
from booking_svc.usecases.complete_appointment import complete_appointment
from booking_svc.usecases.confirm_appointment import confirm_appointment
from booking_svc.usecases.confirm_hold import ConfirmHold
from booking_svc.usecases.expire_hold import ExpireHold
from booking_svc.usecases.get_appointment import GetAppointment
from booking_svc.usecases.list_appointments import ListAppointments
from booking_svc.usecases.mark_no_show import mark_no_show
from booking_svc.usecases.mutation import Mutations
from booking_svc.usecases.places import Places
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.release_hold import ReleaseHold
from booking_svc.usecases.renew_hold import RenewHold
from booking_svc.usecases.reschedule_appointment import RescheduleAppointment
from booking_svc.usecases.start_appointment import start_appointment
from booking_svc.usecases.taking import Taker
from booking_svc.usecases.transactions import Transactions
from booking_svc.wiring_directory import build_directory
from chassis.auth.revocations import Revoked, build_watch
from chassis.auth.verifier import build_verifier
from chassis.bus import Bus
from chassis.cache import AsyncCache, build_breaker
from chassis.clock import process_clock
from chassis.config import ConfigError, load
from chassis.failpoints import FailPoints, build_failpoints
from chassis.grpc.server import AioServer, GrpcService, ServerParts, aio_server
from chassis.leases import LeaseRunner
from chassis.lifecycle import Process, Service
from chassis.logging import configure_logging
from chassis.master_keys import load_master_keys
from chassis.metrics import Metrics, MetricsServer, build_metrics
from chassis.settings import Environment
from chassis.streams import STREAMS
from chassis.supervisor import Supervisor
from chassis.tracing import build_tracing
from database.clinic_keys import ClinicCiphers
from database.leases import PostgresLeases
from database.pipeline import Connection
from database.session import connection_arguments
from database.transaction import Database
from scheduling.appointment import AppointmentStatus
from scheduling.derived import DerivedCache

_TOKEN_BYTES = 24


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


def new_token() -> str:
    """A hold's secret."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class Booking:
    """The process, the part of it that has a port, and the servicer behind that."""

    process: Process
    server: AioServer
    booking: BookingServicer


async def build(environ: Mapping[str, str]) -> Process:
    """The process, ready to run. Raises ConfigError or Fatal, each with one sentence."""
    settings = load(BookingSettings, environ)
    common = settings.common
    configure_logging(service="booking", environment=common.environment, level=common.log_level)
    return assemble(settings).process


def assemble(settings: BookingSettings) -> Booking:
    """Every part of the process; nothing is connected yet."""
    common = settings.common
    offset = _clock_offset(settings)
    metrics, fail_points, wakeup = build_metrics(), build_failpoints(common), Wakeup()
    revoked = Revoked()
    turns = Turns(settings.turns.at_once, patience_s=settings.turns.patience_ms / 1_000)
    pool = Pool(settings.app_database.url, settings.database, turns)
    keys = ClinicCiphers(load_master_keys(settings.encryption))
    workers = Database(
        settings.worker_database.url, settings.database, application_name="booking_svc workers"
    )
    transactions = Transactions(pool, StoredCiphers(pool, keys), offset)
    instruments = MutationInstruments(metrics, wakeup)
    recorder = Recorder(new_id)
    expire = ExpireHold(transactions, recorder)
    mutations = Mutations(transactions, expire=expire, observer=instruments, fail_points=fail_points)
    booking = BookingServicer(build_usecases(transactions, mutations, recorder))
    directory = build_directory(
        pool=pool,
        workers=workers,
        ciphers=keys,
        transactions=transactions,
        mutations=mutations,
        appointments=recorder,
        new_id=new_id,
    )
    server = aio_server([_service(booking), directory], _server_parts(settings, metrics, revoked))
    background = Background(
        settings=settings,
        workers=workers,
        relay_instruments=RelayInstruments(metrics),
        expire=expire,
        wakeup=wakeup,
        fail_points=fail_points,
        clock_offset=offset,
    )
    services: Sequence[Service] = (
        MetricsServer(metrics, common.metrics_listen),
        *_revocations(settings, revoked, metrics),
        pool,
        background,
        server,
    )
    process = Process("booking", services, drain_ms=common.drain_ms)
    background.supervisor.on_fatal(process.fail)
    return Booking(process, server, booking)


def _service(booking: BookingServicer) -> GrpcService:
    return GrpcService(
        booking_pb2.DESCRIPTOR.services_by_name["BookingService"],
        booking_pb2_grpc.add_BookingServiceServicer_to_server,
        booking,
    )


def _server_parts(settings: BookingSettings, metrics: Metrics, revoked: Revoked) -> ServerParts:
    common = settings.common
    return ServerParts(
        settings=settings.grpc,
        tls=settings.tls,
        verifier=build_verifier(settings.auth, revoked.holds),
        metrics=metrics,
        tracing=build_tracing(
            service="booking",
            environment=common.environment,
            endpoint=settings.tracing.otlp_endpoint,
            sample_ratio=settings.tracing.sample_ratio,
        ),
        drain_ms=common.drain_ms,
        new_id=new_id,
    )


def _revocations(settings: BookingSettings, revoked: Revoked, metrics: Metrics) -> Sequence[Service]:
    """What keeps `revoked` up to date. Raises ConfigError where tokens must be revocable and there is no Redis."""
    if not settings.redis.url:
        if settings.common.environment in (Environment.STAGING, Environment.PRODUCTION):
            raise ConfigError("MEDFORALL_REDIS_URL is not set: without it no token can be revoked.")
        return ()
    cache = AsyncCache(settings.redis, build_breaker(settings.redis, metrics))
    return cache, build_watch(settings.auth, cache, revoked, metrics)


def build_usecases(transactions: Transactions, mutations: Mutations, recorder: Recorder) -> UseCases:
    """The use cases of BookingService."""
    cache = DerivedCache()
    places, taker = Places(cache), Taker(cache)
    steps = {
        AppointmentStatus.CANCELED: cancel_appointment(recorder),
        AppointmentStatus.CONFIRMED: confirm_appointment(recorder),
        AppointmentStatus.CHECKED_IN: CheckInAppointment(places, recorder),
        AppointmentStatus.IN_PROGRESS: start_appointment(recorder),
        AppointmentStatus.COMPLETED: complete_appointment(recorder),
        AppointmentStatus.NO_SHOW: mark_no_show(recorder),
    }
    return UseCases(
        mutations=mutations,
        book=Booker(places, taker, recorder, new_id=new_id, new_token=new_token),
        reschedule=RescheduleAppointment(places, taker, recorder),
        notes=UpdateNotes(recorder),
        steps=steps,
        renew_hold=RenewHold(recorder),
        confirm_hold=ConfirmHold(places, recorder, cache),
        release_hold=ReleaseHold(recorder),
        get=GetAppointment(transactions),
        list=ListAppointments(transactions),
        alternatives=NearestSlots(places, cache),
    )


class Background:
    """What runs beside the calls: relay, sweeper and audit sealer, each in one process at a time."""

    name = "background"

    def __init__(
        self,
        *,
        settings: BookingSettings,
        workers: Database,
        relay_instruments: RelayInstruments,
        expire: ExpireHold,
        wakeup: Wakeup,
        fail_points: FailPoints,
        clock_offset: timedelta,
    ) -> None:
        self.supervisor = Supervisor()
        self._settings = settings
        self._workers = workers
        self._bus = Bus(settings.nats, client_name="booking_svc")
        self._relay = Relay(
            self._connect,
            self._bus,
            wakeup,
            relay_instruments,
            limits=RelayLimits(
                batch_events=settings.relay.batch_events,
                poll_s=settings.relay.poll_ms / 1_000,
                attempts_max=settings.relay.attempts_max,
            ),
            fail_point=fail_points.hit_async,
        )
        self._sweeper = HoldSweeper(
            workers,
            expire,
            every_s=settings.sweep.every_ms / 1_000,
            clock_offset=clock_offset,
            after=wakeup.wake,
        )
        self._sealer = AuditSealer(workers, every_s=settings.seal.every_ms / 1_000)

    async def start(self) -> None:
        """Begin to connect, and start the loops."""
        await self._workers.open()
        await self._bus.start()
        leases, holder = PostgresLeases(self._workers), f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
        lease_ms = self._settings.relay.lease_ms
        if self._settings.relay.enabled:
            self.supervisor.spawn("streams", self._ensure_streams)
            runner = LeaseRunner(leases, outbox_relay.LEASE_NAME, holder, self._relay.work, ttl_ms=lease_ms)
            self.supervisor.spawn("relay", runner.run)
        sweeping = LeaseRunner(leases, SWEEPER_LEASE, holder, self._sweeper.work, ttl_ms=lease_ms)
        self.supervisor.spawn("sweeper", sweeping.run)
        sealing = LeaseRunner(leases, SEALER_LEASE, holder, self._sealer.work, ttl_ms=lease_ms)
        self.supervisor.spawn("audit sealer", sealing.run)

    async def stop(self) -> None:
        """Stop the loops, give the leases up, disconnect."""
        await self.supervisor.stop()
        await self._bus.stop()
        await self._workers.close()

    async def _ensure_streams(self) -> None:
        await self._bus.ensure_streams(STREAMS)

    async def _connect(self) -> Connection:
        arguments = connection_arguments(self._settings.database, "booking_svc relay")
        return Connection(
            await psycopg.AsyncConnection.connect(self._settings.worker_database.url, **arguments)
        )


def _clock_offset(settings: BookingSettings) -> timedelta:
    """What tests move the database's clock by. Raises ConfigError outside of the environment `test`."""
    process_clock(settings.common)
    return timedelta(milliseconds=settings.common.clock_offset_ms)
