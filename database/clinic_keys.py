"""The data keys of clinics: stored wrapped by the master key, opened into ciphers that are kept a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from psycopg import AsyncConnection, Connection

from chassis.encryption import (
    ClinicCipher,
    KeyProvider,
    is_wrapped_by_newest,
    new_data_key,
    unwrap,
    wrap,
)

KEYS_SQL: Final = "SELECT version, wrapped_key FROM clinic_key WHERE clinic_id = %s ORDER BY version DESC"
"""The clinic's wrapped keys, newest first; `ClinicCiphers.keep` takes its rows."""

FIRST_KEY_SQL: Final = """
    INSERT INTO clinic_key (clinic_id, version, wrapped_key, master_key_id) VALUES (%s, 1, %s, %s)
    ON CONFLICT DO NOTHING
"""

_REWRAP_SQL = """
    UPDATE clinic_key SET wrapped_key = %s, master_key_id = %s, rewrapped_at = now()
    WHERE clinic_id = %s AND version = %s
"""
_MAX_AGE_S = 600.0


class ClinicCiphers:
    """One cipher a clinic, at most `clinics_max` of them, each read again after ten minutes.

    The connection handed in must be in a transaction that sees the clinic.
    """

    def __init__(
        self,
        master_keys: KeyProvider,
        *,
        clinics_max: int = 1_000,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._master_keys = master_keys
        self._clinics_max = clinics_max
        self._monotonic_s = monotonic_s
        self._kept: OrderedDict[str, tuple[float, ClinicCipher]] = OrderedDict()

    def cached(self, clinic_id: str) -> ClinicCipher | None:
        """The clinic's cipher if it was read in the last ten minutes."""
        found = self._kept.get(clinic_id)
        if found is None or self._monotonic_s() - found[0] > _MAX_AGE_S:
            return None
        return found[1]

    async def cipher(self, connection: AsyncConnection[Any], clinic_id: str) -> ClinicCipher:
        """The clinic's cipher; its first key is made if it has none. Raises DecryptionError."""
        found = self.cached(clinic_id)
        if found is not None:
            return found
        rows = await (await connection.execute(KEYS_SQL, (clinic_id,))).fetchall()
        if not rows:
            await connection.execute(FIRST_KEY_SQL, self.first_key(clinic_id))
            rows = await (await connection.execute(KEYS_SQL, (clinic_id,))).fetchall()
        return self.keep(clinic_id, rows)

    def first_key(self, clinic_id: str) -> tuple[str, bytes, str]:
        """Parameters of `FIRST_KEY_SQL`: a new key, wrapped by the newest master key."""
        wrapped = wrap(new_data_key(clinic_id, key_id(1)), self._master_keys)
        return clinic_id, wrapped, self._master_keys.newest().key_id

    def keep(self, clinic_id: str, rows: Iterable[tuple[Any, ...]]) -> ClinicCipher:
        """Open the rows of `KEYS_SQL` and keep the cipher. Raises DecryptionError."""
        cipher = self.opened(clinic_id, rows)
        self._kept[clinic_id] = (self._monotonic_s(), cipher)
        self._kept.move_to_end(clinic_id)
        while len(self._kept) > self._clinics_max:
            self._kept.popitem(last=False)
        return cipher

    def opened(self, clinic_id: str, rows: Iterable[tuple[Any, ...]]) -> ClinicCipher:
        """Open the rows of `KEYS_SQL`, for keys that nobody else may use yet. Raises DecryptionError."""
        keys = [
            unwrap(bytes(wrapped), clinic_id, key_id(version), self._master_keys) for version, wrapped in rows
        ]
        return ClinicCipher(keys)


def key_id(version: int) -> str:
    """The id that a clinic's data key has in sealed values."""
    return f"dk{version}"


def rewrap_keys(connection: Connection[Any], master_keys: KeyProvider) -> int:
    """Wrap every data key by the newest master key; say how many were not.

    Needs a role that sees all clinics. Data is not touched. Afterwards older master keys may be taken away.
    """
    rows = connection.execute("SELECT clinic_id::text, version, wrapped_key FROM clinic_key").fetchall()
    old = [row for row in rows if not is_wrapped_by_newest(bytes(row[2]), master_keys)]
    for clinic_id, version, wrapped in old:
        data_key = unwrap(bytes(wrapped), clinic_id, key_id(version), master_keys)
        values = (wrap(data_key, master_keys), master_keys.newest().key_id, clinic_id, version)
        connection.execute(_REWRAP_SQL, values)
    return len(old)
