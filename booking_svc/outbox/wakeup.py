"""Wakes the relay of this process after a commit.

A NOTIFY inside the transaction would serialize all commits; this is a flag in memory. A relay in another process
finds the event with its next poll.
"""

from __future__ import annotations

import asyncio


class Wakeup:
    """Many wake-ups while the relay works become one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Something was committed."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Return after a wake-up, or after `timeout_s` without one."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return
        finally:
            self._event.clear()
