"""What waits for one connection."""

from __future__ import annotations

import asyncio

import pytest

from chassis.metrics import Metrics
from gateway.realtime.instruments import Instruments
from gateway.realtime.outlets import QueueLimits, QueueOutlet


@pytest.mark.parametrize("turns", range(6))
async def test_a_sender_that_is_cancelled_as_something_comes_ends(turns: int) -> None:
    """No cancellation is forgotten, however many turns of the loop lie between what is put and it."""
    outlet = QueueOutlet(QueueLimits(), Instruments(Metrics()), lambda: None, transport="sse")

    async def send() -> None:
        while True:
            await outlet.next(60)

    sending = asyncio.create_task(send())
    for _ in range(3):
        await asyncio.sleep(0)
    outlet.put(b"news")
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending], timeout=5)
    assert sending.cancelled()
