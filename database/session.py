"""How a connection is made and what a transaction says first: shared by the asyncio and threaded pools."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from database.settings import DatabaseSettings

BEGIN = "BEGIN"
BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
SET_TENANT = "SELECT set_config('app.clinic_id', %s, true)"

_CONNECT_TIMEOUT_S = 2
# A pool gives up connecting after this and begins anew with the next caller: without it, its pauses
# double, and a database that was away for a minute would stay unseen for another.
RECONNECT_TIMEOUT_S = 2.0


class _IdLoader(Loader):
    """Loads a uuid as the lower-case string that the whole product uses."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("ascii")


class _IdBinaryLoader(Loader):
    """The same for binary results."""

    def load(self, data: Buffer) -> str:
        digits = bytes(data).hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_IdBinaryLoader.format = 1  # type: ignore[assignment]  # psycopg.pq.Format.BINARY


def configure(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """Make a connection return ids as strings."""
    connection.adapters.register_loader("uuid", _IdLoader)
    connection.adapters.register_loader("uuid", _IdBinaryLoader)


async def configure_async(connection: AsyncConnection[Any]) -> None:
    """`configure`, in the form that an asyncio pool asks for."""
    configure(connection)


def connection_arguments(settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
    """Keyword arguments for psycopg's `connect`.

    Transactions are begun by hand (autocommit), so that BEGIN travels with the first statement. A silent peer
    is noticed within seconds.
    """
    return {
        "autocommit": True,
        "prepare_threshold": 2 if settings.prepare else None,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": application_name,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 5_000,
    }


def pool_arguments(settings: DatabaseSettings) -> dict[str, Any]:
    """Keyword arguments for psycopg_pool's pools."""
    return {
        "open": False,
        "min_size": min(settings.pool_min, settings.pool_max),
        "max_size": settings.pool_max,
        "max_waiting": settings.pool_waiting_max,
        "timeout": settings.pool_timeout_ms / 1_000,
        "reconnect_timeout": RECONNECT_TIMEOUT_S,
    }
