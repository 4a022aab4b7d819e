"""Connections shared by the calls of one process: bounded, opened as they are needed, replaced when broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import structlog

from booking_svc.store.opening import OpenConnections
from booking_svc.store.turns import Turns
from database.pipeline import Connection
from database.settings import DatabaseSettings
from scheduling.errors import Exhausted, Reason, Unavailable

_log = structlog.get_logger(__name__)

RETRY_AFTER_S = 1.0
_CONNECT_TIMEOUT_S = 2.0


class Pool:
    """At most `pool_max` connections to `url`; the ones used last are used first.

    A caller waits at most `pool_timeout_ms` for its turn and a connection, and no more than `pool_waiting_max` wait at
    once. `pool_min` are opened at the start, if the database is there. Others are opened when they are needed, so a
    database that comes back is used again by the next call.
    """

    name = "database pool"

    def __init__(self, url: str, settings: DatabaseSettings, turns: Turns) -> None:
        self._url = url
        self._settings = settings
        self._turns = turns
        self._free = asyncio.Semaphore(settings.pool_max)
        self._connections = OpenConnections(self._open, at_most=settings.pool_max)
        self._waiting = 0

    async def start(self) -> None:
        """Open the first connections, so that the first calls need not wait for them."""
        await self._connections.open_some(min(self._settings.pool_min, self._settings.pool_max))

    async def stop(self) -> None:
        """Close the idle connections, and those in use as they come back."""
        await self._connections.stop()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection with no open transaction; one that comes back in any other state is closed.

        Raises Exhausted when none becomes free in time, Unavailable when the database cannot be reached.
        """
        async with AsyncExitStack() as held:
            yield await self._take(held)

    async def _take(self, held: AsyncExitStack) -> Connection:
        """A turn and a connection, which go back when `held` is closed."""
        if self._waiting >= self._settings.pool_waiting_max:
            raise _full()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.pool_timeout_ms / 1_000):
                held.callback((await self._turns.take()).end)
                await self._free.acquire()
                held.callback(self._free.release)
                connection = await self._connections.take()
                held.push_async_callback(self._connections.give_back, connection)
                return connection
        except TimeoutError:
            raise (_full() if self._connections.are_there else database_away()) from None
        finally:
            self._waiting -= 1

    async def _open(self) -> Connection:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                return await Connection.open(self._url, self._settings, application_name="booking_svc")
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            _log.warning("database.unreachable", error=type(error).__name__)
            raise database_away() from error

    async def discard_idle(self) -> None:
        """Close what is idle: called when a connection turned out to be dead, as its neighbours then are too."""
        await self._connections.close_idle()


def database_away() -> Unavailable:
    """The refusal of a call that the database is not there for."""
    return Unavailable("The database cannot be reached; try again shortly.", retry_after_s=RETRY_AFTER_S)


def _full() -> Exhausted:
    return Exhausted(
        "Too many calls wait for the database; try again shortly.",
        reason=Reason.OVERLOADED,
        retry_after_s=RETRY_AFTER_S,
    )
