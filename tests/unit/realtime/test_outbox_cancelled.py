"""A reader that is cancelled ends, whatever comes at that moment."""

import asyncio

import pytest
from medforall.realtime.v1 import realtime_pb2 as wire

from realtime_svc.readers import Outbox


@pytest.mark.parametrize("turns", range(6))
async def test_a_reader_that_is_cancelled_as_something_comes_ends(turns: int) -> None:
    """No cancellation is forgotten, however many turns of the loop lie between what is put and it."""
    outbox: Outbox[wire.ConnectResponse] = Outbox(1_000)

    async def read() -> None:
        async for _ in outbox.items(60, wire.ConnectResponse):
            pass

    reading = asyncio.create_task(read())
    for _ in range(3):
        await asyncio.sleep(0)
    outbox.put(wire.ConnectResponse())
    for _ in range(turns):
        await asyncio.sleep(0)
    reading.cancel()
    done, _ = await asyncio.wait([reading], timeout=5)
    assert done, "it reads on"
    assert reading.cancelled()
