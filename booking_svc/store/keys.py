"""The clinics' data keys, read through the service's own pool."""

from __future__ import annotations

import asyncio

import psycopg

from booking_svc.store import statements
from booking_svc.store.pool import Pool, database_away
from chassis.encryption import ClinicCipher
from database.clinic_keys import ClinicCiphers
from database.failures import is_connection_lost
from database.pipeline import Connection, Pending
from scheduling.errors import NotFound

_LOCK_WAIT = "2000ms"


class StoredCiphers:
    """Ciphers by clinic; a clinic's first key is made when it is first needed.

    Of many calls that need the same clinic's keys at once, one reads them for all.
    """

    def __init__(self, pool: Pool, ciphers: ClinicCiphers) -> None:
        self._pool = pool
        self._ciphers = ciphers
        self._reading: dict[str, asyncio.Task[ClinicCipher]] = {}

    async def cipher(self, clinic_id: str) -> ClinicCipher:
        """Return the clinic's cipher. Raises NotFound for a clinic that does not exist."""
        found = self._ciphers.cached(clinic_id)
        if found is not None:
            return found
        try:
            return await self._read_once(clinic_id)
        except psycopg.errors.ForeignKeyViolation:
            raise NotFound("There is no such clinic.") from None
        except psycopg.Error as error:
            if not is_connection_lost(error):
                raise
            await self._pool.discard_idle()
            raise database_away() from error

    async def _read_once(self, clinic_id: str) -> ClinicCipher:
        """Wait for the reading that is under way, or begin it; a caller that gives up does not end it."""
        reading = self._reading.get(clinic_id)
        if reading is None:
            reading = self._reading[clinic_id] = asyncio.create_task(self._read(clinic_id))
            reading.add_done_callback(lambda _: self._reading.pop(clinic_id, None))
        return await asyncio.shield(reading)

    async def _read(self, clinic_id: str) -> ClinicCipher:
        async with self._pool.connection() as connection:
            connection.queue(statements.BEGIN)
            connection.queue(statements.ENTER_CLINIC, clinic_id, _LOCK_WAIT)
            keys = connection.queue(statements.READ_DATA_KEYS, clinic_id)
            await connection.run()
            if not keys.rows():
                keys = await self._make_first(connection, clinic_id)
            connection.queue(statements.COMMIT)
            await connection.run()
            return self._ciphers.keep(clinic_id, keys.rows())

    async def _make_first(self, connection: Connection, clinic_id: str) -> Pending:
        try:
            connection.queue(statements.INSERT_DATA_KEY, *self._ciphers.first_key(clinic_id))
            keys = connection.queue(statements.READ_DATA_KEYS, clinic_id)
            await connection.run()
        except psycopg.Error:
            if not connection.is_broken:
                connection.queue(statements.ROLLBACK)
                await connection.run()
            raise
        return keys
