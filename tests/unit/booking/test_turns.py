"""Turns: few transactions at once, and nobody kept waiting by those that wait for a lock."""

import asyncio

from booking_svc.store.turns import Turns


async def test_few_run_at_once_and_in_the_order_they_came() -> None:
    """No more than two have a turn at once, and each gets its own in the order of asking."""
    turns = Turns(2, patience_s=60)
    running, most, order = 0, 0, []

    async def caller(number: int) -> None:
        nonlocal running, most
        turn = await turns.take()
        order.append(number)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        turn.end()

    await asyncio.gather(*(caller(number) for number in range(20)))
    assert most == 2
    assert order == list(range(20))


async def test_whoever_takes_long_keeps_nobody_waiting() -> None:
    """A turn that lasts too long goes to the next caller, and gives nothing back a second time when it ends."""
    turns = Turns(1, patience_s=1)
    slow = await turns.take()
    quick = await asyncio.wait_for(turns.take(), 10)
    quick.end()
    slow.end()
    last = await asyncio.wait_for(turns.take(), 10)
    following = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    assert not following.done()
    last.end()
    (await asyncio.wait_for(following, 10)).end()
