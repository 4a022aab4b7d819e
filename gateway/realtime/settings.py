"""The gateway's realtime settings."""

from dataclasses import dataclass
from pathlib import Path

from chassis.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeSettings:
    """WebSocket and SSE."""

    token_file: Path | None = setting(
        "MEDFORALL_REALTIME_TOKEN_FILE",
        default=None,
        doc="File with the gateway's own token (role platform, scope connect:realtime) for the realtime "
        "service; read anew at each connect. Without it realtime answers nothing.",
    )
    connections_max: int = setting(
        "MEDFORALL_REALTIME_CONNECTIONS_MAX",
        default=15_000,
        unit="connections",
        minimum=1,
        doc="WebSocket and SSE connections of one instance; further ones are refused.",
    )
    user_connections_max: int = setting(
        "MEDFORALL_REALTIME_USER_CONNECTIONS_MAX",
        default=64,
        unit="connections",
        minimum=1,
        doc="WebSocket and SSE connections of one user at one instance; further ones are refused.",
    )
    clinic_channels_max: int = setting(
        "MEDFORALL_REALTIME_CLINIC_CHANNELS_MAX",
        default=10_000,
        unit="channels",
        minimum=100,
        doc="Different channels of one clinic that are listened to at one instance; further ones are refused.",
    )
    queue_bytes_max: int = setting(
        "MEDFORALL_REALTIME_QUEUE_BYTES_MAX",
        default=1_048_576,
        unit="bytes",
        minimum=16_384,
        doc="What may wait for one client; more ends its connection as too slow.",
    )
    queue_messages_max: int = setting(
        "MEDFORALL_REALTIME_QUEUE_MESSAGES_MAX",
        default=4_096,
        unit="messages",
        minimum=16,
        doc="Messages that may wait for one client; more end its connection as too slow.",
    )
    sse_keep_alive_ms: int = setting(
        "MEDFORALL_SSE_KEEP_ALIVE_MS",
        default=15_000,
        unit="ms",
        minimum=100,
        maximum=15_000,
        doc="How long an event stream may be silent before a comment is sent; less than what proxies allow.",
    )
    revocation_check_ms: int = setting(
        "MEDFORALL_REVOCATION_CHECK_MS",
        default=20_000,
        unit="ms",
        minimum=100,
        maximum=55_000,
        doc="How often open connections are checked for tokens that were revoked.",
    )
