"""The settings of realtime_svc."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """Open streams and what is kept for them."""

    recent_messages_max: int = setting(
        "MEDFORALL_REALTIME_RECENT_MESSAGES_MAX",
        default=8_192,
        unit="messages",
        minimum=1,
        doc="Newest messages kept in memory for readers who resume; older ones are read from the streams.",
    )
    resume_messages_max: int = setting(
        "MEDFORALL_REALTIME_RESUME_MESSAGES_MAX",
        default=1_000,
        unit="messages",
        minimum=1,
        maximum=2_000,
        doc="Most messages sent again to one reader; one who missed more is told to fetch the state anew.",
    )
    warm_up_records: int = setting(
        "MEDFORALL_REALTIME_WARM_UP_RECORDS",
        default=5_000,
        unit="records",
        minimum=0,
        doc="Records of each stream, before the newest, that a new instance reads first.",
    )
    gateway_bytes_max: int = setting(
        "MEDFORALL_REALTIME_GATEWAY_BYTES_MAX",
        default=33_554_432,
        unit="bytes",
        minimum=65_536,
        doc="What may wait for one gateway before its stream is ended.",
    )
    subscriber_bytes_max: int = setting(
        "MEDFORALL_REALTIME_SUBSCRIBER_BYTES_MAX",
        default=1_048_576,
        unit="bytes",
        minimum=65_536,
        doc="What may wait for one gRPC subscriber before its stream is ended.",
    )
    heartbeat_ms: int = setting(
        "MEDFORALL_REALTIME_HEARTBEAT_MS",
        default=5_000,
        unit="ms",
        minimum=100,
        maximum=10_000,
        doc="How long a stream may be silent before its position is sent as a sign of life.",
    )
    revocation_check_ms: int = setting(
        "MEDFORALL_REVOCATION_CHECK_MS",
        default=20_000,
        unit="ms",
        minimum=100,
        maximum=55_000,
        doc="How often open streams are checked for tokens that were revoked.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeSettings:
    """All that realtime_svc reads."""

    common: CommonSettings
    grpc: GrpcServerSettings
    streams: StreamSettings
    auth: AuthSettings
    nats: NatsSettings
    redis: RedisSettings
    tls: TlsSettings
    tracing: TracingSettings
