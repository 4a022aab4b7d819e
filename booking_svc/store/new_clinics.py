"""Clinics that do not exist yet, and all that do: what no clinic's own session can show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import psycopg

from booking_svc.directory.entities import Entry
from booking_svc.store import oversight, statements
from booking_svc.store.oversight import clinic_of
from booking_svc.store.pool import Pool
from booking_svc.store.session import Session
from database.clinic_keys import ClinicCiphers
from database.transaction import Database

ResultT = TypeVar("ResultT")


class StoredClinics:
    """`pool` is the application's role, which acts as the new clinic; `workers` sees all clinics."""

    def __init__(self, pool: Pool, workers: Database, ciphers: ClinicCiphers) -> None:
        self._pool = pool
        self._workers = workers
        self._ciphers = ciphers

    async def create(
        self, clinic_id: str, work: Callable[[Session], Awaitable[tuple[Entry, bool]]]
    ) -> tuple[Entry, bool]:
        """Run `work` as a clinic that may not exist yet; a new one gets its first data key in the same transaction.

        The new key is kept from other calls: a clinic that is there already has another.
        """
        key = self._ciphers.first_key(clinic_id)
        cipher = self._ciphers.opened(clinic_id, [(1, key[1])])
        async with self._pool.connection() as connection:
            session = Session(connection, clinic_id, cipher, timedelta(0))
            session.begin()
            try:
                entry, was_there = await work(session)
                if not was_there:
                    session.queue(statements.INSERT_DATA_KEY, *key)
                session.commit()
                await session.run()
            finally:
                await _ended(session, is_broken=connection.is_broken, is_idle=connection.is_idle)
        return entry, was_there

    async def page(self, status: str | None, after_id: str | None, limit: int) -> list[Entry]:
        """Clinics in the order of their ids."""
        async with self._workers.snapshot() as tx:
            query = oversight.LIST_CLINICS_OF_ALL
            rows = await tx.rows(query, {"status": status, "after_id": after_id, "limit": limit})
        return [clinic_of(row) for row in rows]


async def _ended(session: Session, *, is_broken: bool, is_idle: bool) -> None:
    if is_broken or is_idle:
        return
    session.rollback()
    try:
        await session.run()
    except psycopg.Error:
        # The first failure is on its way to the caller; a connection that cannot roll back is closed by the pool.
        return
