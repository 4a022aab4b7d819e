"""Follows both streams into the hub, from a little before the present on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Protocol

import structlog

from chassis.lifecycle import Fatal
from chassis.supervisor import Supervisor
from realtime_svc.history import EVERY_CLINIC, Bounds, EventLog, read_by_time
from realtime_svc.hub import Hub
from scheduling.positions import Position, Source

_log = structlog.get_logger(__name__)


class FollowedLog(EventLog, Protocol):
    """The two streams, followed."""

    async def ensure(self) -> None:
        """Make the streams unless they exist."""
        ...

    def follow(self, source: Source, first: int) -> AsyncIterator[tuple[int, bytes]]:
        """Every record from sequence `first` on as it comes."""
        ...


class Tail:
    """Keeps the hub fed.

    It begins some records back, so that readers who come from another instance find in memory what they
    missed, and copies published again are known; both streams are read in the order of time then. Streams that were
    made anew, or do not hold any more what comes next, are begun anew.
    """

    name = "tail"

    def __init__(
        self,
        log: FollowedLog,
        hub: Hub,
        supervisor: Supervisor,
        *,
        warm_up_records: int,
        start_s: float = 30.0,
    ) -> None:
        self._log = log
        self._hub = hub
        self._supervisor = supervisor
        self._warm_up_records = warm_up_records
        self._start_s = start_s
        self._checking = asyncio.Lock()
        self._caught_up = asyncio.Event()

    async def start(self) -> None:
        """Return once everything that was in the streams has been read. Raises Fatal when it takes too long."""
        for source in Source:
            self._supervisor.spawn(f"tail:{source.lower()}", lambda source=source: self._run(source))  # type: ignore[misc]
        try:
            async with asyncio.timeout(self._start_s):
                await self._caught_up.wait()
        except TimeoutError:
            raise Fatal(f"The event streams could not be read within {self._start_s:g} s.") from None
        _log.info("tail.caught_up", sequence=str(self._hub.position))

    async def stop(self) -> None:
        """Do nothing: the supervisor ends the loops."""

    async def _run(self, source: Source) -> None:
        first = await self._begin(source)
        async with aclosing(self._log.follow(source, first)) as records:  # type: ignore[type-var]
            async for sequence, data in records:
                self._hub.accept(source, sequence, data)

    async def _begin(self, source: Source) -> int:
        """Where to read on; the hub begins (anew) when where it stood means nothing (any more)."""
        async with self._checking:
            if not self._caught_up.is_set():
                await self._log.ensure()
                await self._warm_up(await self._log.bounds())
                self._caught_up.set()
            else:
                bounds = await self._log.bounds()
                if not self._stands_within(bounds):
                    self._hub.begin(bounds.last)
        return 1 + (
            self._hub.position.appointments if source is Source.APPOINTMENTS else self._hub.position.directory
        )

    async def _warm_up(self, bounds: Bounds) -> None:
        """Begin a little before the newest records, and take these in."""
        start = _back(bounds, self._warm_up_records)
        spans = {
            Source.APPOINTMENTS: (start.appointments + 1, bounds.last.appointments),
            Source.DIRECTORY: (start.directory + 1, bounds.last.directory),
        }
        records = await read_by_time(self._log, spans, EVERY_CLINIC, records_max=2 * self._warm_up_records)
        self._hub.begin(start)
        for source, record in records or ():
            self._hub.accept(source, record.sequence, record.data, is_past=True)

    def _stands_within(self, bounds: Bounds) -> bool:
        position = self._hub.position
        return (
            position.epoch == bounds.last.epoch and bounds.last.reaches(position) and bounds.holds(position)
        )


def _back(bounds: Bounds, records: int) -> Position:
    """The position `records` before the newest ones, as far as they are kept."""
    first, last = bounds.first, bounds.last
    return Position(
        max(first.appointments - 1, last.appointments - records, 0),
        max(first.directory - 1, last.directory - records, 0),
        0,
        last.epoch,
    )
