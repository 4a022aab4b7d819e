"""Run a piece of work once across all instances: named leases with expiry, renewal and fencing.

Whoever holds the lease of a name does its work. A holder that dies is replaced when its lease expires. The
token of a lease grows with every new holder, so that a store can refuse what a former holder still writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from chassis.tasks import end_tasks
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to do the work called `name`; `token` is the fence, larger for each later holder."""

    name: str
    holder: str
    token: int


class LeaseStore(Protocol):
    """Where leases live; every method judges expiry by the store's own clock."""

    async def acquire(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take the lease when it is free, expired or already `holder`'s; None when another one holds it."""
        ...

    async def renew(self, lease: Lease, ttl_ms: int) -> bool:
        """Extend a lease that is still held under the same token; False when it was lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give the lease up if it is still held under the same token."""
        ...


class LeaseLost(Exception):
    """The lease went to somebody else, or could not be renewed in time."""


Work = Callable[[Lease], Awaitable[None]]


class LeaseRunner:
    """Does `work` whenever this instance holds the lease; hand its `run` to a Supervisor.

    The lease is renewed every sixth of `ttl_ms`. When a renewal is refused, or none has succeeded for two
    thirds of `ttl_ms`, the work is cancelled: before anybody else can have the lease.
    """

    def __init__(
        self,
        store: LeaseStore,
        name: str,
        holder: str,
        work: Work,
        *,
        ttl_ms: int = 15_000,
        retry_ms: int | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._work = work
        self._ttl_ms = ttl_ms
        self._retry_s = (retry_ms if retry_ms is not None else ttl_ms // 3) / 1_000
        self.is_held = asyncio.Event()

    async def run(self) -> None:
        """Wait for the lease, work while it lasts, and begin again when it was lost.

        Returns when the work does.
        """
        while True:
            asked_at = asyncio.get_running_loop().time()
            lease = await self._store.acquire(self._name, self._holder, self._ttl_ms)
            if lease is None:
                await asyncio.sleep(self._retry_s)
                continue
            try:
                return await self._work_under(lease, asked_at)
            except LeaseLost:
                _log.warning("lease.lost", lease=self._name, token=lease.token)

    async def _work_under(self, lease: Lease, asked_at: float) -> None:
        _log.info("lease.acquired", lease=self._name, token=lease.token)
        self.is_held.set()
        work = asyncio.ensure_future(self._work(lease))
        renewal = asyncio.create_task(self._keep_renewed(lease, asked_at))
        try:
            done, _ = await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.is_held.clear()
            await end_tasks(work)
            await end_tasks(renewal)
            await self._give_up(lease)
        (work if work in done else renewal).result()

    async def _keep_renewed(self, lease: Lease, renewed_at: float) -> None:
        while True:
            try:
                async with asyncio.timeout_at(renewed_at + 2 * self._ttl_ms / 3_000):
                    renewed_at = await self._next_renewal(lease)
            except TimeoutError:
                raise LeaseLost from None

    async def _next_renewal(self, lease: Lease) -> float:
        """Renew after a sixth of the lease's time, trying again while the store is away.

        Say when it was asked.
        """
        while True:
            await asyncio.sleep(self._ttl_ms / 6_000)
            asked_at = asyncio.get_running_loop().time()
            try:
                held = await self._store.renew(lease, self._ttl_ms)
            except Unavailable:
                continue
            if not held:
                raise LeaseLost
            return asked_at

    async def _give_up(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(1.0):
                await asyncio.shield(self._store.release(lease))
        except (Unavailable, TimeoutError):
            # It expires by itself; the next holder only waits a little longer.
            _log.info("lease.release_failed", lease=self._name)
