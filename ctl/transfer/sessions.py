"""The transactions of an import and an export: one connection of the owner, one clinic at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import uuid_utils

from booking_svc.model import Caller
from booking_svc.store import statements
from booking_svc.store.session import Session
from chassis.auth.principal import Principal, Role
from chassis.encryption import ClinicCipher, KeyProvider
from database.clinic_keys import ClinicCiphers
from database.pipeline import Connection, Row
from database.settings import DatabaseSettings

_LOCK_WAIT_MS: Final = 60_000


class ImportSession(Session):
    """All or nothing: no step of an import is undone by itself. `first_key` is there when none is stored."""

    def __init__(
        self,
        connection: Connection,
        clinic_id: str,
        cipher: ClinicCipher,
        *,
        first_key: tuple[str, bytes, str] | None,
    ) -> None:
        super().__init__(connection, clinic_id, cipher, timedelta(0))
        self.first_key = first_key

    def savepoint(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def owner_connection(owner_url: str) -> AsyncIterator[Connection]:
    """A connection for transactions one after the other. Closing it rolls an open one back."""
    connection = await Connection.open(
        owner_url, DatabaseSettings(pool_min=1, pool_max=1), application_name="medforall import"
    )
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def clinic_session(
    owner_url: str,
    clinic_id: str,
    master_keys: KeyProvider,
    *,
    of_one_moment: bool = False,
    is_trial: bool = False,
) -> AsyncIterator[ImportSession]:
    """An open transaction of a clinic on a connection of its own, rolled back unless the block commits."""
    async with owner_connection(owner_url) as connection:
        yield await begun(connection, clinic_id, master_keys, of_one_moment=of_one_moment, is_trial=is_trial)


async def begun(
    connection: Connection,
    clinic_id: str,
    master_keys: KeyProvider,
    *,
    of_one_moment: bool = False,
    is_trial: bool = False,
) -> ImportSession:
    """A clinic's transaction, begun; one `of_one_moment` reads everything as it was at the first look.

    A clinic without a data key gets its first, which stays whatever becomes of the transaction; but not from one that
    only reads, or `is_trial` and rolled back at its end.
    """
    ciphers = ClinicCiphers(master_keys)
    rows = await _entered(connection, clinic_id, of_one_moment=of_one_moment)
    if not (rows or of_one_moment or is_trial):
        # On its own: a booking of a clinic that is there and has no key would wait for it.
        connection.queue(statements.INSERT_FIRST_KEY, *ciphers.first_key(clinic_id))
        connection.queue(statements.COMMIT)
        rows = await _entered(connection, clinic_id, of_one_moment=of_one_moment)
    key = None if rows else ciphers.first_key(clinic_id)
    cipher = ciphers.keep(clinic_id, [(1, key[1])] if key else rows)
    return ImportSession(connection, clinic_id, cipher, first_key=key)


async def _entered(connection: Connection, clinic_id: str, *, of_one_moment: bool) -> list[Row]:
    """Begin a transaction of a clinic; its data keys."""
    connection.queue(statements.BEGIN_ONE_MOMENT if of_one_moment else statements.BEGIN)
    connection.queue(statements.ENTER_CLINIC, clinic_id, f"{_LOCK_WAIT_MS}ms")
    found = connection.queue(statements.READ_DATA_KEYS, clinic_id)
    await connection.run()
    return found.rows()


def operator(what: str) -> Caller:
    """Whoever runs a command on the database itself."""
    principal = Principal(subject=f"medforall {what}", role=Role.PLATFORM)
    return Caller(principal=principal, request_id=new_id())


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())
