"""The settings of booking_svc."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import setting
from chassis.settings import (
    AuthSettings,
    CommonSettings,
    EncryptionSettings,
    GrpcServerSettings,
    NatsSettings,
    OptionalRedisSettings,
    TlsSettings,
    TracingSettings,
)
from database.settings import AppDatabaseSettings, DatabaseSettings, WorkerDatabaseSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """Transactions at once."""

    at_once: int = setting(
        "MEDFORALL_BOOKING_AT_ONCE",
        default=3,
        unit="transactions",
        minimum=1,
        doc="Transactions that run at once, beside those that wait for a lock: one more than the database has cores.",
    )
    patience_ms: int = setting(
        "MEDFORALL_BOOKING_PATIENCE_MS",
        default=50,
        unit="ms",
        minimum=1,
        doc="How long a transaction may take before it counts as one that waits for a lock.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """The outbox relay."""

    enabled: bool = setting(
        "MEDFORALL_RELAY_ENABLED",
        default=True,
        doc="Whether this process takes part in publishing the outbox.",
    )
    batch_events: int = setting(
        "MEDFORALL_RELAY_BATCH_EVENTS",
        default=200,
        unit="events",
        minimum=1,
        maximum=5_000,
        doc="Events that the relay reads and publishes at once.",
    )
    poll_ms: int = setting(
        "MEDFORALL_RELAY_POLL_MS",
        default=20,
        unit="ms",
        minimum=1,
        maximum=10_000,
        doc="How often the relay looks for events that no commit of its own process told it of.",
    )
    attempts_max: int = setting(
        "MEDFORALL_RELAY_ATTEMPTS_MAX",
        default=10,
        unit="attempts",
        minimum=1,
        doc="Rejections after which an event is parked until somebody re-drives it.",
    )
    lease_ms: int = setting(
        "MEDFORALL_RELAY_LEASE_MS",
        default=3_000,
        unit="ms",
        minimum=500,
        doc="How long a relay or sweeper that died keeps others from taking over.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """The sweeper of holds."""

    every_ms: int = setting(
        "MEDFORALL_HOLD_SWEEP_MS",
        default=1_000,
        unit="ms",
        minimum=10,
        doc="How often holds that ended and that no booking met are expired.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSettings:
    """The sealer of audit rows."""

    every_ms: int = setting(
        "MEDFORALL_AUDIT_SEAL_MS",
        default=5_000,
        unit="ms",
        minimum=10,
        doc="How often new audit rows are put into their clinics' hash chains.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingSettings:
    """Everything that booking_svc reads from its environment."""

    common: CommonSettings
    grpc: GrpcServerSettings
    tls: TlsSettings
    auth: AuthSettings
    tracing: TracingSettings
    encryption: EncryptionSettings
    nats: NatsSettings
    redis: OptionalRedisSettings
    database: DatabaseSettings
    app_database: AppDatabaseSettings
    worker_database: WorkerDatabaseSettings
    turns: TurnSettings
    relay: RelaySettings
    sweep: SweepSettings
    seal: SealSettings
