"""The settings that every process shares; a service composes the groups that it needs."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from chassis.config import Listen, setting


class Environment(StrEnum):
    """Where a process runs; only `test` may carry fail points and a moved clock."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings:
    """Common to every process."""

    environment: Environment = setting(
        "MEDFORALL_ENVIRONMENT",
        default=Environment.DEVELOPMENT,
        doc="Where the process runs: development, test, staging or production.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "MEDFORALL_LOG_LEVEL",
        default="info",
        doc="The least severe level that is logged: debug, info, warning or error.",
    )
    metrics_listen: Listen = setting(
        "MEDFORALL_METRICS_LISTEN",
        default=Listen("127.0.0.1", 0),
        unit="host:port",
        doc="Where Prometheus reads this process's metrics; port 0 takes any free one.",
    )
    drain_ms: int = setting(
        "MEDFORALL_DRAIN_MS",
        default=10_000,
        unit="ms",
        minimum=0,
        maximum=60_000,
        doc="How long running calls may take to finish after SIGTERM before they are cut.",
    )
    clock_offset_ms: int = setting(
        "MEDFORALL_CLOCK_OFFSET_MS",
        default=0,
        unit="ms",
        doc="Moves the process's clock; only tests set it, and only the environment `test` accepts it.",
    )
    failpoints: str = setting(
        "MEDFORALL_FAILPOINTS",
        default="",
        doc="Comma-separated name=action fail points of crash tests; only environment `test` takes them.",
    )
    flags: tuple[str, ...] = setting(
        "MEDFORALL_FLAGS",
        default=(),
        doc="Comma-separated feature flags; `name` turns one on, `-name` turns one off.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """TLS of servers and mutual TLS between services."""

    certificate_file: Path | None = setting(
        "MEDFORALL_TLS_CERT_FILE",
        default=None,
        doc="PEM certificate chain of this process; set it together with the key to serve TLS.",
    )
    key_file: Path | None = setting(
        "MEDFORALL_TLS_KEY_FILE", default=None, doc="PEM private key of this process's certificate."
    )
    ca_file: Path | None = setting(
        "MEDFORALL_TLS_CA_FILE",
        default=None,
        doc="PEM authorities that this process trusts, as a client and for client certificates.",
    )
    require_client_certificate: bool = setting(
        "MEDFORALL_TLS_REQUIRE_CLIENT_CERT",
        default=False,
        doc="Whether gRPC callers must present a certificate of the trusted authority (mutual TLS).",
    )
    server_name: str = setting(
        "MEDFORALL_TLS_SERVER_NAME",
        default="",
        doc="The name to expect in a service's certificate when it differs from its host.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcServerSettings:
    """A gRPC server."""

    listen: Listen = setting(
        "MEDFORALL_GRPC_LISTEN",
        default=Listen("127.0.0.1", 0),
        unit="host:port",
        doc="Where the gRPC server listens; port 0 takes any free one.",
    )
    threads: int = setting(
        "MEDFORALL_GRPC_THREADS",
        default=4,
        unit="threads",
        minimum=1,
        maximum=64,
        doc="Handler threads of a synchronous server.",
    )
    message_bytes_max: int = setting(
        "MEDFORALL_GRPC_MESSAGE_BYTES_MAX",
        default=1_048_576,
        unit="bytes",
        minimum=1_024,
        doc="Largest request message that is accepted.",
    )
    concurrent_streams_max: int = setting(
        "MEDFORALL_GRPC_CONCURRENT_STREAMS_MAX",
        default=1_000,
        unit="streams",
        minimum=1,
        doc="Concurrent calls that one connection may have open; a gateway has one connection to a service.",
    )
    trusted_peers: tuple[str, ...] = setting(
        "MEDFORALL_GRPC_TRUSTED_PEERS",
        default=("127.0.0.0/8", "::1/128"),
        doc="Networks of the gateways: what they tell of their clients' addresses is believed and audited.",
    )
    in_flight_max: int = setting(
        "MEDFORALL_GRPC_IN_FLIGHT_MAX",
        default=512,
        unit="calls",
        minimum=1,
        doc="Unary calls that run at once in this process; more are refused with OVERLOADED.",
    )
    streams_in_flight_max: int = setting(
        "MEDFORALL_GRPC_STREAMS_IN_FLIGHT_MAX",
        default=1_000,
        unit="calls",
        minimum=1,
        doc="Streaming calls that are open at once in this process; more are refused with OVERLOADED.",
    )
    deadline_default_ms: int = setting(
        "MEDFORALL_GRPC_DEADLINE_DEFAULT_MS",
        default=10_000,
        unit="ms",
        minimum=1,
        doc="Deadline of a unary call that comes without one.",
    )
    deadline_max_ms: int = setting(
        "MEDFORALL_GRPC_DEADLINE_MAX_MS",
        default=30_000,
        unit="ms",
        minimum=1,
        doc="A unary call's deadline is cut to this.",
    )
    connection_age_max_ms: int = setting(
        "MEDFORALL_GRPC_CONNECTION_AGE_MAX_MS",
        default=1_800_000,
        unit="ms",
        minimum=1_000,
        doc="Age at which a connection is asked to reconnect, so that load spreads.",
    )
    reuse_port: bool = setting(
        "MEDFORALL_GRPC_REUSE_PORT",
        default=False,
        doc="Whether several processes may share the port (SO_REUSEPORT).",
    )
    reflection: bool = setting(
        "MEDFORALL_GRPC_REFLECTION", default=True, doc="Whether the server answers gRPC reflection."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Verification of tokens."""

    jwks: str = setting(
        "MEDFORALL_JWKS", doc="File path or http(s) URL of the JSON Web Key Set that signs tokens."
    )
    issuer: str = setting(
        "MEDFORALL_JWT_ISSUER", default="medforall", doc="The issuer that a token must name."
    )
    audience: str = setting(
        "MEDFORALL_JWT_AUDIENCE", default="medforall", doc="The audience that a token must name."
    )
    leeway_s: int = setting(
        "MEDFORALL_JWT_LEEWAY_S",
        default=30,
        unit="s",
        minimum=0,
        maximum=300,
        doc="Clock difference that is forgiven when a token's times are checked.",
    )
    refresh_s: int = setting(
        "MEDFORALL_JWKS_REFRESH_S",
        default=300,
        unit="s",
        minimum=1,
        doc="Age at which the key set is read again.",
    )
    cache_tokens_max: int = setting(
        "MEDFORALL_JWT_CACHE_TOKENS_MAX",
        default=10_000,
        unit="tokens",
        minimum=0,
        doc="Verified tokens that are remembered until they expire.",
    )
    revocations_refresh_ms: int = setting(
        "MEDFORALL_REVOCATIONS_REFRESH_MS",
        default=5_000,
        unit="ms",
        minimum=10,
        maximum=30_000,
        doc="How often a process asks Redis whether tokens or users were shut out.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """OpenTelemetry."""

    otlp_endpoint: str = setting(
        "MEDFORALL_OTLP_ENDPOINT",
        default="",
        doc="OTLP gRPC endpoint that receives traces; tracing exports nothing unless it is set.",
    )
    sample_ratio: float = setting(
        "MEDFORALL_TRACE_SAMPLE_RATIO",
        default=0.1,
        unit="share",
        minimum=0.0,
        maximum=1.0,
        doc="Share of new traces that are recorded.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionSettings:
    """Encryption of patient data."""

    master_key_file: Path | None = setting(
        "MEDFORALL_MASTER_KEY_FILE",
        default=None,
        doc="File (mode 600) with the master keys that wrap each clinic's data key.",
    )
    master_key: str = setting(
        "MEDFORALL_MASTER_KEY",
        default="",
        secret=True,
        doc="The master keys themselves (id:base64, newest first), where no file can be mounted.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Redis or Valkey: a cache, never the truth."""

    url: str = setting("MEDFORALL_REDIS_URL", secret=True, doc="URL of the Redis or Valkey server.")
    timeout_ms: int = setting(
        "MEDFORALL_REDIS_TIMEOUT_MS", default=250, unit="ms", minimum=1, doc="Longest wait for one command."
    )
    connect_timeout_ms: int = setting(
        "MEDFORALL_REDIS_CONNECT_TIMEOUT_MS",
        default=250,
        unit="ms",
        minimum=1,
        doc="Longest wait for a new connection.",
    )
    pool_max: int = setting(
        "MEDFORALL_REDIS_POOL_MAX",
        default=32,
        unit="connections",
        minimum=1,
        doc="Connections that one process may hold.",
    )
    breaker_failures: int = setting(
        "MEDFORALL_REDIS_BREAKER_FAILURES",
        default=3,
        unit="failures",
        minimum=1,
        doc="Failures in a row after which Redis is not asked for a while.",
    )
    breaker_open_ms: int = setting(
        "MEDFORALL_REDIS_BREAKER_OPEN_MS",
        default=1_000,
        unit="ms",
        minimum=1,
        doc="How long Redis is not asked after it failed.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalRedisSettings(RedisSettings):
    """Redis for a process that can do its work without."""

    url: str = setting(
        "MEDFORALL_REDIS_URL", default="", secret=True, doc="URL of the Redis or Valkey server, if any."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """NATS JetStream."""

    url: str = setting(
        "MEDFORALL_NATS_URL", secret=True, doc="URL of the NATS server, or several, comma-separated."
    )
    connect_timeout_ms: int = setting(
        "MEDFORALL_NATS_CONNECT_TIMEOUT_MS",
        default=2_000,
        unit="ms",
        minimum=1,
        doc="Longest wait for one connection attempt.",
    )
    ack_timeout_ms: int = setting(
        "MEDFORALL_NATS_ACK_TIMEOUT_MS",
        default=5_000,
        unit="ms",
        minimum=1,
        doc="Longest wait for JetStream to acknowledge a publish.",
    )
    replicas: int = setting(
        "MEDFORALL_NATS_REPLICAS",
        default=1,
        unit="copies",
        minimum=1,
        maximum=5,
        doc="Copies of each stream; three in a cluster.",
    )
