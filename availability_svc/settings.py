"""Settings of this process."""

from dataclasses import dataclass

from chassis.config import setting
from chassis.settings import (
    AuthSettings,
    CommonSettings,
    GrpcServerSettings,
    NatsSettings,
    RedisSettings,
    TlsSettings,
    TracingSettings,
)
from database.settings import (
    AppDatabaseSettings,
    DatabaseSettings,
    ReplicaDatabaseSettings,
    WorkerDatabaseSettings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilitySettings:
    """Everything that availability_svc reads from its environment."""

    common: CommonSettings
    grpc: GrpcServerSettings
    tls: TlsSettings
    auth: AuthSettings
    tracing: TracingSettings
    database: DatabaseSettings
    app_database: AppDatabaseSettings
    worker_database: WorkerDatabaseSettings
    replica: ReplicaDatabaseSettings
    redis: RedisSettings
    nats: NatsSettings
    memory_bytes_max: int = setting(
        "MEDFORALL_AVAILABILITY_MEMORY_BYTES_MAX",
        default=512 * 1024 * 1024,
        unit="bytes",
        minimum=1_048_576,
        doc="What the process may remember of calendars and locations (L1); 500 clinics of ten providers fit.",
    )
    derived_bytes_max: int = setting(
        "MEDFORALL_AVAILABILITY_DERIVED_BYTES_MAX",
        default=1024 * 1024 * 1024,
        unit="bytes",
        minimum=1_048_576,
        doc="What the engine may keep of derived open time, grids and masks of calendars.",
    )
    projection_ttl_ms: int = setting(
        "MEDFORALL_AVAILABILITY_PROJECTION_TTL_MS",
        default=3_600_000,
        unit="ms",
        minimum=1_000,
        doc="How long a projected value may live in Redis before it is read from the database anew.",
    )
