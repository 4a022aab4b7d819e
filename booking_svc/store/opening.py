"""The open connections of a pool: at most so many, the ones used last first, opened beside the calls that need them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from chassis.tasks import end_tasks
from database.pipeline import Connection

Open = Callable[[], Awaitable[Connection]]

_OPENED_AT_ONCE: Final = 2
"""A crowd that comes to a cold process shall not have its processors taken by the opening of many connections."""


class OpenConnections:
    """Hands out what is idle, else whatever comes first: one that is given back, or one that is opened meanwhile.

    So nobody waits for an opening that takes long while others are done with theirs. When `open_one` fails, the
    database is away, and all who wait are refused with what it raised.
    """

    def __init__(self, open_one: Open, *, at_most: int) -> None:
        self._open_one = open_one
        self._at_most = at_most
        self._count = 0
        self._idle: list[Connection] = []
        self._wanted: deque[asyncio.Future[Connection]] = deque()
        self._openings: set[asyncio.Task[bool]] = set()
        self._is_stopped = False

    @property
    def are_there(self) -> bool:
        """Whether some are open, idle or in use: then the database is there."""
        return self._count > len(self._openings)

    async def open_some(self, count: int) -> None:
        """Open so many before anybody needs them, as far as the database is there."""
        for _ in range(count):
            opening = self._begin_opening()
            if opening is None or not await opening:
                return

    async def take(self) -> Connection:
        """A connection, to be given back. Raises what `open_one` raises."""
        if self._idle:
            return self._idle.pop()
        wanted: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._wanted.append(wanted)
        self._begin_opening()
        try:
            return await wanted
        except asyncio.CancelledError:
            if wanted.done() and not wanted.cancelled() and wanted.exception() is None:
                self._hand_out(wanted.result())
            raise

    async def give_back(self, connection: Connection) -> None:
        """Take it back for the next one; in any other state than idle, or once all has stopped, it is closed."""
        if not connection.is_broken and connection.is_idle and not self._is_stopped:
            self._hand_out(connection)
            return
        self._count -= 1
        if self._wanted:
            self._begin_opening()
        await connection.close()

    async def close_idle(self) -> None:
        """Close what nobody uses."""
        while self._idle:
            self._count -= 1
            await self._idle.pop().close()

    async def stop(self) -> None:
        """Open no more, and close what nobody uses; the rest as it is given back."""
        self._is_stopped = True
        await end_tasks(*self._openings)
        for wanted in self._wanted:
            wanted.cancel()
        await self.close_idle()

    def _begin_opening(self) -> asyncio.Task[bool] | None:
        if self._count >= self._at_most or len(self._openings) >= _OPENED_AT_ONCE:
            return None
        self._count += 1
        opening = asyncio.create_task(self._open())
        self._openings.add(opening)
        opening.add_done_callback(self._opened)
        return opening

    def _opened(self, opening: asyncio.Task[bool]) -> None:
        self._openings.discard(opening)
        if self._wanted and not opening.cancelled():
            self._begin_opening()

    async def _open(self) -> bool:
        """Open one and hand it out, or refuse all who wait; whether it could be opened."""
        try:
            connection = await self._open_one()
        except asyncio.CancelledError:
            self._count -= 1
            raise
        except Exception as error:  # noqa: BLE001 - it is told to whoever waits
            self._count -= 1
            self._refuse(error)
            return False
        self._hand_out(connection)
        return True

    def _hand_out(self, connection: Connection) -> None:
        """To whoever waits longest, else to the idle ones."""
        while self._wanted:
            wanted = self._wanted.popleft()
            if not wanted.done():
                wanted.set_result(connection)
                return
        self._idle.append(connection)

    def _refuse(self, error: Exception) -> None:
        while self._wanted:
            wanted = self._wanted.popleft()
            if not wanted.done():
                wanted.set_exception(error)
