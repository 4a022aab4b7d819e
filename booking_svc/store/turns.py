"""How many transactions run at once: few, as the database has few cores; more only while some wait for a lock."""

from __future__ import annotations

import asyncio


class Turn:
    """One caller's turn. It ends once: with `end`, or by itself when it takes too long."""

    __slots__ = ("_free", "_late")

    def __init__(self, free: asyncio.Semaphore, patience_s: float) -> None:
        self._free: asyncio.Semaphore | None = free
        self._late = asyncio.get_running_loop().call_later(patience_s, self.end)

    def end(self) -> None:
        """Let the next caller have its turn."""
        self._late.cancel()
        free, self._free = self._free, None
        if free is not None:
            free.release()


class Turns:
    """Gives `at_once` callers a turn, first come, first served.

    Whoever has not ended after `patience_s` most likely waits for a lock, and needs no core meanwhile: its turn goes to
    the next one, so a crowd that waits for one slot keeps nobody else waiting.
    """

    def __init__(self, at_once: int, *, patience_s: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._patience_s = patience_s

    async def take(self) -> Turn:
        """Wait for a turn; its caller must end it."""
        await self._free.acquire()
        return Turn(self._free, self._patience_s)
