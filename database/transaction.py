"""Transactions for asyncio processes: one clinic's, a worker's, or a read-only snapshot.

    database = Database(url, settings, application_name="booking_svc")
    async with database.tenant(clinic_id) as tx:
        await tx.send("INSERT INTO …", (…,))          # queued
        row = await tx.row("SELECT …", (…,))          # sends everything queued, one round trip

A transaction runs in pipeline mode: BEGIN, the tenant and the first statements share a round trip. A queued
statement that fails raises where the next result is asked for, at the latest at the end, before COMMIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline, errors
from psycopg.abc import QueryNoTemplate as Query
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from database.failures import TRIES_MAX, backoff_s, is_connection_lost, is_transient, translated
from database.session import (
    BEGIN,
    BEGIN_SNAPSHOT,
    SET_TENANT,
    configure_async,
    connection_arguments,
    pool_arguments,
)
from database.settings import DatabaseSettings
from scheduling.errors import Unavailable

ResultT = TypeVar("ResultT")
_Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
Params = Sequence[Any] | Mapping[str, Any] | None


_CHECK_TIMEOUT_S = 1.0
_UNKNOWN_OUTCOME = "The database went away during COMMIT; repeat the call with its key to learn the outcome."
_log = structlog.get_logger(__name__)


class Transaction:
    """An open transaction; `connection` is there for what is missing here."""

    def __init__(self, connection: AsyncConnection[TupleRow], pipeline: AsyncPipeline) -> None:
        self.connection = connection
        self._pipeline = pipeline
        self.is_committing = False
        self._savepoints = 0

    async def send(self, query: Query, params: Params = None) -> AsyncCursor[TupleRow]:
        """Queue a statement; its cursor's rows may be fetched later, which sends what is queued."""
        return await self.connection.execute(query, params)

    async def run(self, query: Query, params: Params = None) -> int:
        """Send a statement and return how many rows it touched."""
        cursor = await self.connection.execute(query, params)
        await self._pipeline.sync()
        return cursor.rowcount

    async def rows(self, query: Query, params: Params = None) -> list[TupleRow]:
        """Every row of a query, as tuples."""
        return await (await self.connection.execute(query, params)).fetchall()

    async def row(self, query: Query, params: Params = None) -> TupleRow | None:
        """The first row of a query, or None."""
        return await (await self.connection.execute(query, params)).fetchone()

    async def flush(self) -> None:
        """Send everything queued and wait for it; raises what failed."""
        await self._pipeline.sync()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo what the block did when it raises, and let the transaction go on; the exception passes."""
        self._savepoints += 1
        name = f"savepoint_{self._savepoints}"
        await self.connection.execute(f"SAVEPOINT {name}", prepare=False)
        try:
            yield
            await self._pipeline.sync()
        except BaseException:
            await self.undo(f"ROLLBACK TO {name}")
            raise
        await self.connection.execute(f"RELEASE {name}", prepare=False)

    async def undo(self, rollback: str) -> None:
        """Take in what is outstanding after a failure, then roll back, if the connection is still there."""
        try:
            await self._pipeline.sync()
        except psycopg.Error as error:
            _log.debug("transaction.failed", sqlstate=error.sqlstate)
        if self.connection.closed:
            return
        await self.connection.execute(rollback, prepare=False)
        await self._pipeline.sync()

    async def commit(self) -> None:
        """Commit; raises what a queued statement ran into, and never mistakes a rollback for a commit."""
        cursor = await self.connection.execute("COMMIT", prepare=False)
        self.is_committing = True
        await self._pipeline.sync()
        if cursor.statusmessage != "COMMIT":
            raise errors.InFailedSqlTransaction("a statement of this transaction failed unseen")


class Database:
    """The pool of one role, with an optional replica for snapshots; opened and closed in one event loop."""

    def __init__(
        self, url: str, settings: DatabaseSettings, *, application_name: str, replica_url: str = ""
    ) -> None:
        self._primary = _pool(url, settings, application_name)
        self._replica = _pool(replica_url, settings, application_name) if replica_url else self._primary
        self._pool_max = settings.pool_max
        self._in_use = 0
        self._checking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to connect; returns at once, whether or not the database is there yet."""
        for pool in {self._primary, self._replica}:
            await pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection, after those in use have come back or five seconds have passed."""
        for pool in {self._primary, self._replica}:
            await pool.close(timeout=5.0)

    async def ping(self) -> None:
        """One round trip to the primary. Raises Unavailable or Exhausted."""
        async with self.worker() as tx:
            await tx.row("SELECT 1")

    def stats(self) -> dict[str, int]:
        """The primary pool's counters, as psycopg_pool names them."""
        return self._primary.get_stats()

    @asynccontextmanager
    async def tenant(self, clinic_id: str) -> AsyncIterator[Transaction]:
        """A transaction that sees and writes one clinic's rows; commits unless the block raises.

        Raises Unavailable, Exhausted or Stale for what is the database's fault; constraint violations pass.
        """
        with self._translating():
            async with self._transaction(self._primary, BEGIN, clinic_id) as tx:
                yield tx

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Transaction]:
        """A transaction without a tenant: every clinic for the worker's role, none for the application's."""
        with self._translating():
            async with self._transaction(self._primary, BEGIN, None) as tx:
                yield tx

    @asynccontextmanager
    async def snapshot(
        self, clinic_id: str | None = None, *, from_replica: bool = True
    ) -> AsyncIterator[Transaction]:
        """A read-only transaction whose queries all see one moment; the replica's, if there is one."""
        pool = self._replica if from_replica else self._primary
        with self._translating():
            async with self._transaction(pool, BEGIN_SNAPSHOT, clinic_id) as tx:
                yield tx

    async def in_tenant(self, clinic_id: str, work: Callable[[Transaction], Awaitable[ResultT]]) -> ResultT:
        """Run `work` in `tenant`, and again when that may help; `work` must be safe to run again.

        Again, at most three times and with jitter, after a deadlock, a serialization failure, or a connection
        lost before COMMIT was sent.
        """
        return await self._retried(clinic_id, work)

    async def _retried(
        self, clinic_id: str | None, work: Callable[[Transaction], Awaitable[ResultT]]
    ) -> ResultT:
        with self._translating():
            for attempt in range(1, TRIES_MAX):
                try:
                    return await self._once(clinic_id, work)
                except psycopg.Error as error:
                    if not (is_transient(error) or is_connection_lost(error)):
                        raise
                    _log.info("transaction.retried", attempt=attempt, sqlstate=error.sqlstate)
                await asyncio.sleep(backoff_s(attempt))
            return await self._once(clinic_id, work)

    async def _once(
        self, clinic_id: str | None, work: Callable[[Transaction], Awaitable[ResultT]]
    ) -> ResultT:
        async with self._transaction(self._primary, BEGIN, clinic_id) as tx:
            return await work(tx)

    @asynccontextmanager
    async def _transaction(
        self, pool: _Pool, begin: str, clinic_id: str | None
    ) -> AsyncIterator[Transaction]:
        """Lend a connection and begin. Raises psycopg's errors; Unavailable for a COMMIT without answer."""
        async with pool.connection() as connection:
            self._in_use += 1
            try:
                async with connection.pipeline() as pipeline:
                    tx = Transaction(connection, pipeline)
                    async with _begun(tx, begin, clinic_id):
                        yield tx
            except psycopg.Error as error:
                if is_connection_lost(error):
                    await self._replace_lost(pool)
                    if tx.is_committing:
                        raise Unavailable(_UNKNOWN_OUTCOME, retry_after_s=1.0) from error
                raise
            finally:
                self._in_use -= 1

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            domain_error = translated(error, is_busy=self._in_use >= self._pool_max)
            if domain_error is None:
                raise
            raise domain_error from error

    async def _replace_lost(self, pool: _Pool) -> None:
        """Replace the idle connections that died with this one, before callers find out one by one."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(pool.check())
        await asyncio.wait({self._checking}, timeout=_CHECK_TIMEOUT_S)


@asynccontextmanager
async def _begun(tx: Transaction, begin: str, clinic_id: str | None) -> AsyncIterator[None]:
    """Begin, name the tenant, and end: COMMIT after the block, ROLLBACK when it raised."""
    await tx.connection.execute(begin, prepare=False)
    if clinic_id is not None:
        await tx.connection.execute(SET_TENANT, (clinic_id,), prepare=True)
    try:
        yield
        await tx.commit()
    except BaseException:
        await tx.undo("ROLLBACK")
        raise


def _pool(url: str, settings: DatabaseSettings, application_name: str) -> _Pool:
    return AsyncConnectionPool(
        url,
        kwargs=connection_arguments(settings, application_name),
        configure=configure_async,
        **pool_arguments(settings),
    )
