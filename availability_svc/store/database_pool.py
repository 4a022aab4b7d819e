"""Connections to one PostgreSQL server, with a breaker in front: one that is silent must not keep the few threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from prometheus_client import Gauge
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from chassis.breaker import CircuitBreaker
from database.failures import is_connection_lost, translated
from database.session import configure, connection_arguments, pool_arguments
from database.settings import DatabaseSettings
from scheduling.errors import Unavailable

_FAILURES_MAX: Final = 3
# As long as a probe may wait for its answer: two of them seldom wait at a time.
_OPEN_MS: Final = 2_000
_RETRY_AFTER_S: Final = 1.0


class _BoundedConnection(Connection[TupleRow]):
    """Gives up when the server says nothing: its own timeout of statements is of no use while it is stopped."""

    answer_s: float

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer. Raises OperationalError, and is closed, when there is none in time."""
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - what psycopg raises, and nobody else tells
            # What the server would say later belongs to nobody.
            self.pgconn.finish()
            raise


class DatabasePool:
    """A pool whose failures are cheap: after a few in a row nobody waits for the server but one who looks again.

    A server that says nothing for `answer_s` has failed. Raises Unavailable, or Exhausted while all connections are
    in use.
    """

    def __init__(
        self,
        url: str,
        settings: DatabaseSettings,
        *,
        answer_s: float,
        gauge: Gauge | None = None,
    ) -> None:
        self._pool_max = settings.pool_max
        self._breaker = CircuitBreaker(failures_max=_FAILURES_MAX, open_ms=_OPEN_MS, gauge=gauge)
        self._pool = ConnectionPool(
            url,
            connection_class=_bounded(answer_s),
            kwargs=connection_arguments(settings, "availability_svc"),
            configure=configure,
            check=_check,
            **pool_arguments(settings),
        )

    def open(self) -> None:
        """Begin to connect; returns at once, whether or not the database is there yet."""
        self._pool.open(wait=False)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close(timeout=5.0)

    @contextmanager
    def connection(self) -> Iterator[Connection[TupleRow]]:
        """Lend a connection."""
        if not self._breaker.allows():
            raise _away()
        try:
            with self._pool.connection() as connection:
                yield connection
        except psycopg.Error as error:
            is_busy = self._is_busy()
            self._note(error, is_busy=is_busy)
            domain_error = translated(error, is_busy=is_busy)
            if domain_error is None:
                raise
            raise domain_error from error
        except OSError as error:
            self._breaker.failed()
            raise _away() from error
        except BaseException:
            self._breaker.undecided()
            raise
        else:
            self._breaker.succeeded()

    def _note(self, error: psycopg.Error, *, is_busy: bool) -> None:
        """Tell the breaker whether the server has failed; a refusal is an answer too."""
        if is_connection_lost(error) or (isinstance(error, PoolTimeout) and not is_busy):
            self._breaker.failed()
        elif isinstance(error, PoolTimeout | TooManyRequests):
            self._breaker.undecided()  # all connections are in use: whoever has them hears from the server
        else:
            self._breaker.succeeded()

    def _is_busy(self) -> bool:
        stats = self._pool.get_stats()
        return stats.get("pool_size", 0) >= self._pool_max and stats.get("pool_available", 0) == 0


def _bounded(answer_s: float) -> type[_BoundedConnection]:
    return type("BoundedConnection", (_BoundedConnection,), {"answer_s": answer_s})


def _away() -> Unavailable:
    return Unavailable("The database is away.", retry_after_s=_RETRY_AFTER_S)


def _check(connection: Connection[TupleRow]) -> None:
    """Let a connection that has died be replaced before a caller gets it."""
    if connection.closed:
        raise psycopg.OperationalError("the connection is closed")
