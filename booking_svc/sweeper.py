"""Expires the holds that ended and that no booking has met; one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, LiteralString

import structlog

from chassis.encryption import DecryptionError
from chassis.leases import Lease
from database.transaction import Database
from scheduling.errors import Stale

_log = structlog.get_logger(__name__)

LEASE_NAME: Final = "hold-sweeper"
_BATCH_HOLDS: Final = 200

_FIND: Final[LiteralString] = """
SELECT clinic_id, id FROM appointment
WHERE status = 'held' AND expires_at <= clock_timestamp() + make_interval(secs => %s)
ORDER BY expires_at LIMIT %s
"""

Expire = Callable[[str, str], Awaitable[bool]]


class HoldSweeper:
    """Works while it holds the lease; hand `work` to a LeaseRunner.

    Finds holds of all clinics as the worker's role, and ends each as its own clinic's application would.
    """

    def __init__(
        self,
        workers: Database,
        expire: Expire,
        *,
        every_s: float,
        clock_offset: timedelta,
        after: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._expire = expire
        self._every_s = every_s
        self._offset_s = clock_offset.total_seconds()
        self._after = after

    async def work(self, lease: Lease) -> None:
        """Sweep until cancelled. Raises Unavailable when the database is away."""
        del lease
        while True:
            await self.sweep()
            await asyncio.sleep(self._every_s)

    async def sweep(self) -> int:
        """Expire what has ended; how many holds that were."""
        expired = 0
        for clinic_id, hold_id in await self._ended():
            expired += await self._end(clinic_id, hold_id)
        if expired:
            _log.info("holds.expired", count=expired)
            self._after()
        return expired

    async def _end(self, clinic_id: str, hold_id: str) -> bool:
        """End one hold; one that cannot be read or locked now keeps no other from ending."""
        try:
            return await self._expire(clinic_id, hold_id)
        except (DecryptionError, Stale) as error:
            _log.error("hold.not_expired", hold_id=hold_id, error_type=type(error).__name__)
            return False

    async def _ended(self) -> list[tuple[str, str]]:
        async with self._workers.worker() as tx:
            found: list[Any] = await tx.rows(_FIND, (self._offset_s, _BATCH_HOLDS))
        return [(clinic_id, hold_id) for clinic_id, hold_id in found]
