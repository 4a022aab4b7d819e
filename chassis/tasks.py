"""How tasks are ended."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_TOLD_AGAIN_S: Final = 2.0  # longer than whoever ends takes to put its things in order


async def end_tasks(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until all of them have ended; what they raise meanwhile is nobody's any more.

    Whoever is still there after two seconds is told again: a cancellation that comes together with an answer is
    forgotten by Python 3.11's `asyncio.wait_for`, with which NATS is asked.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(running, timeout=_TOLD_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()
