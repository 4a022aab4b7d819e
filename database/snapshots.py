"""Read-only snapshots for threaded processes: what `transaction.Database.snapshot` is to asyncio ones.

snapshots = Snapshots(url, settings, application_name="availability_svc")
with snapshots.snapshot(clinic_id) as connection:
    rows = connection.execute("SELECT …", (…,)).fetchall()
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import Connection, Pipeline
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from database.failures import is_connection_lost, translated
from database.session import BEGIN_SNAPSHOT, SET_TENANT, configure, connection_arguments, pool_arguments
from database.settings import DatabaseSettings

_Pool = ConnectionPool[Connection[TupleRow]]


class Snapshots:
    """Pools for reading: a replica's, if there is one, and the primary's. Safe for many threads."""

    def __init__(
        self, url: str, settings: DatabaseSettings, *, application_name: str, replica_url: str = ""
    ) -> None:
        self._primary = _pool(url, settings, application_name)
        self._replica = _pool(replica_url, settings, application_name) if replica_url else self._primary
        self._pool_max = settings.pool_max
        self._in_use = 0
        self._counting = threading.Lock()
        self._checking = threading.Lock()

    def open(self) -> None:
        """Begin to connect; returns at once, whether or not the database is there yet."""
        for pool in {self._primary, self._replica}:
            pool.open(wait=False)

    def close(self) -> None:
        """Close every connection, after those in use have come back or five seconds have passed."""
        for pool in {self._primary, self._replica}:
            pool.close(timeout=5.0)

    def ping(self) -> None:
        """One round trip to the primary. Raises Unavailable or Exhausted."""
        with self.snapshot(from_replica=False) as connection:
            connection.execute("SELECT 1").fetchone()

    def stats(self) -> dict[str, int]:
        """The primary pool's counters, as psycopg_pool names them."""
        return self._primary.get_stats()

    @contextmanager
    def snapshot(
        self, clinic_id: str | None = None, *, from_replica: bool = True
    ) -> Iterator[Connection[TupleRow]]:
        """A read-only transaction whose queries all see one moment.

        It sees one clinic's rows; without `clinic_id`, all of them as the workers' role and none as the
        application's. The connection is in pipeline mode: queries are sent when a result is fetched.
        Raises Unavailable or Exhausted for what is the database's fault.
        """
        try:
            with self._lent(self._replica if from_replica else self._primary) as connection:
                connection.execute(BEGIN_SNAPSHOT, prepare=False)
                if clinic_id is not None:
                    connection.execute(SET_TENANT, (clinic_id,), prepare=True)
                yield connection
        except psycopg.Error as error:
            domain_error = translated(error, is_busy=self._in_use >= self._pool_max)
            if domain_error is None:
                raise
            raise domain_error from error

    @contextmanager
    def _lent(self, pool: _Pool) -> Iterator[Connection[TupleRow]]:
        with pool.connection() as connection:
            self._count(1)
            try:
                with connection.pipeline() as pipeline:
                    try:
                        yield connection
                    finally:
                        _end(connection, pipeline)
            except psycopg.Error as error:
                if is_connection_lost(error):
                    self._replace_lost(pool)
                raise
            finally:
                self._count(-1)

    def _count(self, change: int) -> None:
        with self._counting:
            self._in_use += change

    def _replace_lost(self, pool: _Pool) -> None:
        """Replace the idle connections that died with this one; one thread does it, the others go on."""
        if self._checking.acquire(blocking=False):
            try:
                pool.check()
            finally:
                self._checking.release()


def _end(connection: Connection[Any], pipeline: Pipeline) -> None:
    """End the transaction, which has nothing to commit, whether its statements failed or not."""
    with suppress(psycopg.Error):  # what failed was raised where its result was fetched
        pipeline.sync()
    if not connection.closed:
        connection.execute("ROLLBACK", prepare=False)


def _pool(url: str, settings: DatabaseSettings, application_name: str) -> _Pool:
    return ConnectionPool(
        url,
        kwargs=connection_arguments(settings, application_name),
        configure=configure,
        **pool_arguments(settings),
    )
