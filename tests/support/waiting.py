"""Waiting for a condition in tests: with a deadline, and no longer than needed."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_STEP_S = 0.01


def wait_until(
    condition: Callable[[], bool], *, timeout_s: float = 10.0, what: str = "the condition"
) -> None:
    """Return as soon as `condition()` is true; fail the test when it is not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        time.sleep(_STEP_S)


async def wait_until_async(
    condition: Callable[[], Awaitable[bool]], *, timeout_s: float = 10.0, what: str = "the condition"
) -> None:
    """The same for a condition that must be awaited; the event loop goes on meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        await asyncio.sleep(_STEP_S)
