"""Sessions for use cases: a connection, the clinic's keys, and the database's failures in the domain's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

import psycopg

from booking_svc.store.pool import Pool, database_away
from booking_svc.store.session import Session
from chassis.encryption import ClinicCipher
from database.failures import is_connection_lost, translated

ResultT = TypeVar("ResultT")


class Ciphers(Protocol):
    """The clinics' keys."""

    async def cipher(self, clinic_id: str) -> ClinicCipher:
        """Return what seals and opens for this clinic. Raises NotFound for a clinic that does not exist."""
        ...


class Transactions:
    """Opens sessions. `clock_offset` moves the database's clock; only tests set it."""

    def __init__(self, pool: Pool, ciphers: Ciphers, clock_offset: timedelta = timedelta(0)) -> None:
        self._pool = pool
        self._ciphers = ciphers
        self.clock_offset = clock_offset

    @asynccontextmanager
    async def session(self, clinic_id: str) -> AsyncIterator[Session]:
        """A session whose transaction is rolled back unless the block has committed it.

        Raises psycopg's errors: what they mean depends on how far the block has come.
        """
        cipher = await self._ciphers.cipher(clinic_id)
        async with self._pool.connection() as connection:
            session = Session(connection, clinic_id, cipher, self.clock_offset)
            try:
                yield session
            except psycopg.Error as error:
                if is_connection_lost(error):
                    await self._pool.discard_idle()
                raise
            finally:
                if not connection.is_broken and not connection.is_idle:
                    session.rollback()
                    await session.run()

    async def read(self, clinic_id: str, ask: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        """What `ask` answers in a read-only transaction that sees one moment; asked again on a fresh connection.

        Raises the domain's errors.
        """
        try:
            return await self._ask(clinic_id, ask)
        except psycopg.Error as error:
            if not is_connection_lost(error):
                raise domain_error(error) from error
        try:
            return await self._ask(clinic_id, ask)
        except psycopg.Error as error:
            raise domain_error(error) from error

    async def write(self, clinic_id: str, work: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        """What `work` returns, committed with what it wrote beside: for reads that leave an audit row.

        Raises the domain's errors.
        """
        try:
            async with self.session(clinic_id) as session:
                session.begin()
                result = await work(session)
                session.commit()
                await session.run()
                return result
        except psycopg.Error as error:
            raise domain_error(error) from error

    async def _ask(self, clinic_id: str, ask: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        async with self.session(clinic_id) as session:
            session.begin_snapshot()
            return await ask(session)


def domain_error(error: psycopg.Error) -> Exception:
    """The domain's word for a failure of the database, or the error itself when it is a defect of ours."""
    if is_connection_lost(error):
        return database_away()
    return translated(error) or error
