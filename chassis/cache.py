"""Redis clients whose failure is cheap: bounded waits, bounded pools, and a breaker in front.

Redis is a cache here, flushable at any moment: every method that fails raises Unavailable, quickly, and
callers go on without it. An answer that is an error is such a failure too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, MaxConnectionsError, ReadOnlyError, RedisError
from redis.retry import Retry

from chassis.breaker import CircuitBreaker
from chassis.metrics import Metrics
from chassis.settings import RedisSettings
from scheduling.errors import Unavailable

ResultT = TypeVar("ResultT")

_GONE = (redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ReadOnlyError, OSError, TimeoutError)


def hash_tag(*parts: str) -> str:
    """`{a:b}`.

    Keys that share it live in one slot of a cluster, so that one command may take several of them.
    """
    return "{" + ":".join(parts) + "}"


def build_breaker(settings: RedisSettings, metrics: Metrics | None = None) -> CircuitBreaker:
    """The breaker in front of Redis; one a process, shared by its clients."""
    gauge = metrics.breaker_open.labels("redis") if metrics is not None else None
    return CircuitBreaker(
        failures_max=settings.breaker_failures, open_ms=settings.breaker_open_ms, gauge=gauge
    )


class AsyncCache:
    """Redis for coroutines.

    `call` runs one command or pipeline; `client` is for building pipelines and scripts.
    """

    name = "cache"

    def __init__(self, settings: RedisSettings, breaker: CircuitBreaker) -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            settings.url,
            max_connections=settings.pool_max,
            timeout=settings.connect_timeout_ms / 1_000,
            **_connection_options(settings),
            retry=AsyncRetry(NoBackoff(), 0),
        )
        self.client: redis.asyncio.Redis = redis.asyncio.Redis.from_pool(pool)
        self._breaker = breaker

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close every connection."""
        await self.client.aclose()

    async def call(self, command: Callable[[redis.asyncio.Redis], Awaitable[ResultT]]) -> ResultT:
        """Run `command(client)`: `await cache.call(lambda redis: redis.mget(keys))`. Raises Unavailable."""
        async with self.guard():
            return await command(self.client)

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Run commands inside the block under the breaker. Raises Unavailable."""
        with _guarded(self._breaker):
            yield

    async def check(self) -> None:
        """Ask for a sign of life. Raises Unavailable."""
        await self.call(lambda client: client.ping())


class SyncCache:
    """The same for threads; one client serves all of them."""

    name = "cache"

    def __init__(self, settings: RedisSettings, breaker: CircuitBreaker) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            settings.url,
            max_connections=settings.pool_max,
            timeout=settings.connect_timeout_ms / 1_000,
            **_connection_options(settings),
            retry=Retry(NoBackoff(), 0),
        )
        self.client: redis.Redis = redis.Redis.from_pool(pool)
        self._breaker = breaker

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close every connection."""
        self.client.close()

    def call(self, command: Callable[[redis.Redis], Any]) -> Any:
        """Run `command(client)`. Raises Unavailable."""
        with _guarded(self._breaker):
            return command(self.client)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run commands inside the block under the breaker. Raises Unavailable."""
        with _guarded(self._breaker):
            yield

    def check(self) -> None:
        """Ask for a sign of life. Raises Unavailable."""
        self.call(lambda client: client.ping())


@contextmanager
def _guarded(breaker: CircuitBreaker) -> Iterator[None]:
    if not breaker.allows():
        raise Unavailable("The cache is away.", metadata={"dependency": "cache"})
    try:
        yield
    except MaxConnectionsError as error:
        # This process is busy, Redis is not down.
        breaker.undecided()
        raise _away(error) from error
    except _GONE as error:
        breaker.failed()
        raise _away(error) from error
    except RedisError as error:
        # It answers, but not this: a replica without its master, a key of another type, a right that is missing.
        breaker.succeeded()
        raise _failed("The cache refuses.", error) from error
    else:
        breaker.succeeded()


def _away(error: BaseException) -> Unavailable:
    return _failed("The cache is away.", error)


def _failed(message: str, error: BaseException) -> Unavailable:
    return Unavailable(message, metadata={"dependency": "cache", "cause": type(error).__name__})


def _connection_options(settings: RedisSettings) -> dict[str, Any]:
    return {
        "socket_timeout": settings.timeout_ms / 1_000,
        "socket_connect_timeout": settings.connect_timeout_ms / 1_000,
        "socket_keepalive": True,
        "protocol": 2,
    }
