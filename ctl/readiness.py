"""Whether a process or a server answers, asked in the way it offers."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ctl.failures import ServerError
from ctl.run_file import TlsFacts

_PROBE_TIMEOUT_S = 1.0
_CONNECT_TIMEOUT_S = 5


def grpc_serving(target: str, tls: TlsFacts | None = None) -> bool:
    """Whether the server at `target` (host:port) says SERVING by grpc.health.v1, over mutual TLS if `tls` is given."""
    try:
        with _channel(target, tls) as channel:
            reply = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_PROBE_TIMEOUT_S
            )
    except (grpc.RpcError, OSError):
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def _channel(target: str, tls: TlsFacts | None) -> grpc.Channel:
    # A pool of its own: else the channel would inherit the back-off of earlier probes.
    options = [("grpc.use_local_subchannel_pool", 1)]
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=Path(tls.ca_file).read_bytes(),
        private_key=Path(tls.key_file).read_bytes(),
        certificate_chain=Path(tls.certificate_file).read_bytes(),
    )
    return grpc.secure_channel(target, credentials, options=options)


def trusting(tls: TlsFacts | None) -> ssl.SSLContext | None:
    """What HTTPS clients of the suite trust; None when it speaks plain HTTP."""
    return ssl.create_default_context(cafile=tls.ca_file) if tls else None


def http_ok(url: str, tls: TlsFacts | None = None) -> bool:
    """Whether `url` answers 200; an https one by the authority of `tls`."""
    try:
        with urllib.request.urlopen(  # noqa: S310 - our own address
            url, timeout=_PROBE_TIMEOUT_S, context=trusting(tls)
        ) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def check_postgres(url: str) -> None:
    """Raise `ServerError` in one sentence unless the PostgreSQL of MEDFORALL_DATABASE_URL can be used."""
    _check_scheme(url, "MEDFORALL_DATABASE_URL", ("postgresql", "postgres"))
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_TIMEOUT_S) as connection:
            version = connection.info.server_version
    except psycopg.Error as error:
        raise _unreachable("PostgreSQL", "MEDFORALL_DATABASE_URL", url, error) from error
    if version < 150_000:
        raise ServerError(
            f"The PostgreSQL of MEDFORALL_DATABASE_URL is version {version // 10_000}; 15 or newer is needed."
        )


def check_redis(url: str) -> None:
    """Raise `ServerError` in one sentence unless the Redis of MEDFORALL_REDIS_URL can be used."""
    import redis  # noqa: PLC0415 - slow to import, and only needed for a server of one's own

    _check_scheme(url, "MEDFORALL_REDIS_URL", ("redis", "rediss"))
    try:
        with redis.Redis.from_url(url, socket_timeout=_CONNECT_TIMEOUT_S) as client:
            client.ping()
    except (redis.RedisError, ValueError, OSError) as error:
        raise _unreachable("Redis", "MEDFORALL_REDIS_URL", url, error) from error


def check_nats(url: str) -> None:
    """Raise `ServerError` in one sentence unless the NATS of MEDFORALL_NATS_URL can be used, JetStream on."""
    import nats.errors  # noqa: PLC0415 - as above

    _check_scheme(url.split(",", maxsplit=1)[0], "MEDFORALL_NATS_URL", ("nats", "tls"))
    try:
        asyncio.run(_ask_jetstream_in_time(url))
    except (nats.errors.Error, OSError, ValueError, TimeoutError) as error:
        raise _unreachable("NATS with JetStream", "MEDFORALL_NATS_URL", url, error) from error


async def _ask_jetstream_in_time(url: str) -> None:
    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
        await _ask_jetstream(url)


async def _ask_jetstream(url: str) -> None:
    import nats.errors  # noqa: PLC0415 - as above

    failures: list[Exception] = []

    async def remember(error: Exception) -> None:
        failures.append(error)

    try:
        client = await nats.connect(
            url.split(","), max_reconnect_attempts=1, reconnect_time_wait=0.1, error_cb=remember
        )
    except nats.errors.NoServersError as error:
        raise failures[-1] if failures else error from None
    try:
        await client.jetstream(timeout=_CONNECT_TIMEOUT_S).account_info()
    finally:
        await client.close()


def passes(check: Callable[[str], None], url: str) -> bool:
    """Whether one of the checks above has nothing to say."""
    try:
        check(url)
    except ServerError:
        return False
    return True


def nats_stores_at_once(monitor_url: str) -> bool:
    """Whether JetStream syncs each write (`sync_interval: always`)."""
    try:
        with urllib.request.urlopen(f"{monitor_url}/jsz", timeout=_PROBE_TIMEOUT_S) as answer:  # noqa: S310
            return bool(json.load(answer)["config"].get("sync_always"))
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return False


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _check_scheme(url: str, variable: str, schemes: tuple[str, ...]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ServerError(f"{variable} is not a URL of the form {schemes[0]}://user:password@host:port.")


def _unreachable(what: str, variable: str, url: str, error: Exception) -> ServerError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ServerError(
        f"The {what} of {variable} ({without_password(url)}) cannot be used: {lines[-1].strip()}",
        hint=f"Correct or unset {variable}; when it is unset, the suite starts a server of its own.",
    )
