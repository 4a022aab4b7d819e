"""The gateway's settings."""

from dataclasses import dataclass

from medforall.options.v1 import options_pb2

from chassis.config import Listen, Rate, setting
from chassis.settings import AuthSettings, CommonSettings, RedisSettings, TlsSettings, TracingSettings
from gateway.rate_limit import Table
from gateway.realtime.settings import RealtimeSettings

_LISTEN = Listen("127.0.0.1", 8080)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """The HTTP server and its limits."""

    listen: Listen = setting(
        "MEDFORALL_HTTP_LISTEN",
        default=_LISTEN,
        unit="host:port",
        doc="Where the gateway serves REST, WebSocket and SSE; port 0 takes any free one.",
    )
    tls: bool = setting(
        "MEDFORALL_HTTP_TLS",
        default=False,
        doc="Whether HTTP is served over TLS, with MEDFORALL_TLS_CERT_FILE and MEDFORALL_TLS_KEY_FILE.",
    )
    body_bytes_max: int = setting(
        "MEDFORALL_HTTP_BODY_BYTES_MAX",
        default=1_048_576,
        unit="bytes",
        minimum=1_024,
        doc="Largest request body.",
    )
    headers_max: int = setting(
        "MEDFORALL_HTTP_HEADERS_MAX",
        default=100,
        unit="headers",
        minimum=10,
        doc="Most headers of one request.",
    )
    header_bytes_max: int = setting(
        "MEDFORALL_HTTP_HEADER_BYTES_MAX",
        default=32_768,
        unit="bytes",
        minimum=2_048,
        doc="Largest request line with all headers.",
    )
    header_timeout_ms: int = setting(
        "MEDFORALL_HTTP_HEADER_TIMEOUT_MS",
        default=10_000,
        unit="ms",
        minimum=100,
        doc="How long a client may take to send a request's headers.",
    )
    body_timeout_ms: int = setting(
        "MEDFORALL_HTTP_BODY_TIMEOUT_MS",
        default=10_000,
        unit="ms",
        minimum=100,
        doc="How long a client may take to send a request's body.",
    )
    keep_alive_ms: int = setting(
        "MEDFORALL_HTTP_KEEP_ALIVE_MS",
        default=65_000,
        unit="ms",
        minimum=1_000,
        doc="How long an idle connection is kept for another request.",
    )
    deadline_ms: int = setting(
        "MEDFORALL_HTTP_DEADLINE_MS",
        default=30_000,
        unit="ms",
        minimum=100,
        maximum=30_000,
        doc="Longest time for one request, from its headers to the last byte of its answer.",
    )
    connections_max: int = setting(
        "MEDFORALL_HTTP_CONNECTIONS_MAX",
        default=20_000,
        unit="connections",
        minimum=1,
        doc="Connections of one instance, WebSockets included; further ones are closed at once.",
    )
    in_flight_max: int = setting(
        "MEDFORALL_HTTP_IN_FLIGHT_MAX",
        default=256,
        unit="requests",
        minimum=1,
        doc="REST requests that one instance serves at once; more are answered 503.",
    )
    cors_origins: tuple[str, ...] = setting(
        "MEDFORALL_CORS_ORIGINS",
        default=(),
        doc="Comma-separated origins (https://app.example.org) whose pages may call the API.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        "MEDFORALL_TRUSTED_PROXIES",
        default=(),
        doc="Comma-separated addresses or networks of proxies whose X-Forwarded-For is believed.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """Where the services are."""

    booking: str = setting(
        "MEDFORALL_BOOKING_TARGET",
        default="127.0.0.1:50051",
        unit="host:port",
        doc="Where the booking service listens.",
    )
    availability: str = setting(
        "MEDFORALL_AVAILABILITY_TARGET",
        default="127.0.0.1:50052",
        unit="host:port",
        doc="Where the availability service listens.",
    )
    realtime: str = setting(
        "MEDFORALL_REALTIME_TARGET",
        default="127.0.0.1:50053",
        unit="host:port",
        doc="Where the realtime service listens.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSettings:
    """Rate limits; a clinic's own limit is part of its directory entry."""

    is_on: bool = setting(
        "MEDFORALL_RATE_LIMIT", default=True, doc="Whether rate limits hold; `off` is for load tests."
    )
    availability: Rate = setting(
        "MEDFORALL_RATE_AVAILABILITY",
        default=Rate(60, 120),
        unit="requests/min / burst",
        doc="Searches of one user: how many a minute, and how many at once.",
    )
    booking: Rate = setting(
        "MEDFORALL_RATE_BOOKING",
        default=Rate(20, 40),
        unit="requests/min / burst",
        doc="Changes by one user: how many a minute, and how many at once.",
    )
    read: Rate = setting(
        "MEDFORALL_RATE_READ",
        default=Rate(100, 200),
        unit="requests/min / burst",
        doc="Other reads of one user, streams that it opens included.",
    )
    anonymous_availability: Rate = setting(
        "MEDFORALL_RATE_ANONYMOUS_AVAILABILITY",
        default=Rate(10, 20),
        unit="requests/min / burst",
        doc="Searches without a token from one address.",
    )
    anonymous_booking: Rate = setting(
        "MEDFORALL_RATE_ANONYMOUS_BOOKING",
        default=Rate(5, 10),
        unit="requests/min / burst",
        doc="Changes that are tried without a good token from one address.",
    )
    anonymous_read: Rate = setting(
        "MEDFORALL_RATE_ANONYMOUS_READ",
        default=Rate(30, 60),
        unit="requests/min / burst",
        doc="Other calls without a good token from one address, unknown addresses included.",
    )
    clinic_per_min: int = setting(
        "MEDFORALL_RATE_CLINIC_PER_MIN",
        default=5_000,
        unit="requests/min",
        minimum=1,
        doc="Requests of all users of one clinic together, unless the clinic has a limit of its own.",
    )
    buckets_max: int = setting(
        "MEDFORALL_RATE_BUCKETS_MAX",
        default=50_000,
        unit="buckets",
        minimum=100,
        doc="Buckets that one instance remembers while Redis is away.",
    )

    @property
    def table(self) -> Table:
        """What one caller may use."""
        return Table(
            {
                options_pb2.RATE_CLASS_AVAILABILITY: self.availability,
                options_pb2.RATE_CLASS_BOOKING: self.booking,
                options_pb2.RATE_CLASS_READ: self.read,
            },
            {
                options_pb2.RATE_CLASS_AVAILABILITY: self.anonymous_availability,
                options_pb2.RATE_CLASS_BOOKING: self.anonymous_booking,
                options_pb2.RATE_CLASS_READ: self.anonymous_read,
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """All that the gateway reads."""

    common: CommonSettings
    http: HttpSettings
    upstreams: UpstreamSettings
    rates: RateSettings
    realtime: RealtimeSettings
    auth: AuthSettings
    redis: RedisSettings
    tls: TlsSettings
    tracing: TracingSettings
