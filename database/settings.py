"""Settings of a process's connections to PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Connection pools to PostgreSQL."""

    pool_min: int = setting(
        "MEDFORALL_DATABASE_POOL_MIN",
        default=2,
        unit="connections",
        minimum=0,
        doc="Connections that a pool opens at its start, before anybody asks.",
    )
    pool_max: int = setting(
        "MEDFORALL_DATABASE_POOL_MAX",
        default=16,
        unit="connections",
        minimum=1,
        doc="Connections that a pool may open.",
    )
    pool_waiting_max: int = setting(
        "MEDFORALL_DATABASE_POOL_WAITING_MAX",
        default=500,
        unit="callers",
        minimum=1,
        doc="Callers that may wait for a connection; more are refused with OVERLOADED.",
    )
    pool_timeout_ms: int = setting(
        "MEDFORALL_DATABASE_POOL_TIMEOUT_MS",
        default=500,
        unit="ms",
        minimum=1,
        doc="Longest wait for a connection, whether all are busy or the database is away.",
    )
    prepare: bool = setting(
        "MEDFORALL_DATABASE_PREPARE",
        default=True,
        doc="Whether statements are prepared on the server; off behind a PgBouncer that does not track them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDatabaseSettings:
    """The database as the application's role: one clinic at a time."""

    url: str = setting(
        "MEDFORALL_APP_DATABASE_URL",
        secret=True,
        doc="PostgreSQL URL of the role medforall_app, which sees the clinic of its transaction only.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDatabaseSettings:
    """The database as the workers' role: relays, sweeps and projections of all clinics."""

    url: str = setting(
        "MEDFORALL_WORKER_DATABASE_URL",
        secret=True,
        doc="PostgreSQL URL of the role medforall_worker, which sees every clinic.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDatabaseSettings:
    """A replica for reads that may be a moment old."""

    url: str = setting(
        "MEDFORALL_REPLICA_DATABASE_URL",
        default="",
        secret=True,
        doc="PostgreSQL URL of a replica for read-only snapshots; unset, the primary serves them.",
    )
