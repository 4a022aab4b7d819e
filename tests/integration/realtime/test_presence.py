"""What several tellers say of who is connected, in a real Valkey."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from chassis.breaker import CircuitBreaker
from chassis.cache import AsyncCache
from chassis.settings import RedisSettings
from realtime_svc.presence import Presence, Teller
from scheduling.clock import system_clock
from tests.support.waiting import wait_until_async


@asynccontextmanager
async def presence(redis_url: str, *, ttl_s: int = 45) -> AsyncIterator[Presence]:
    """One realtime_svc's presence, written as it changes; what it said stays behind, as after `kill -9`."""
    cache = AsyncCache(RedisSettings(url=redis_url), CircuitBreaker(failures_max=3, open_ms=1_000))
    made = Presence(cache, system_clock, ttl_s=ttl_s)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await cache.stop()


@pytest.fixture
async def two(redis_url: str) -> AsyncIterator[tuple[Presence, Presence]]:
    """Two instances of realtime_svc."""
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(presence(redis_url)),
            await stack.enter_async_context(presence(redis_url)),
        )


async def until(teller: Presence, clinic: str, expected: dict[str, int]) -> None:
    async def is_so() -> bool:
        return dict(await teller.of_clinic(clinic)) == expected

    await wait_until_async(is_so, what=f"{expected}")


async def test_gateways_of_two_instances_are_counted_together(two: tuple[Presence, Presence]) -> None:
    """A user at two gateways, each at another realtime_svc, has the connections of both."""
    clinic = str(uuid.uuid4())
    two[0].report(Teller("gateway-a", 1), clinic, "ann", 2)
    two[1].report(Teller("gateway-b", 1), clinic, "ann", 1)
    two[1].report(Teller("gateway-b", 1), clinic, "bob", 1)
    await until(two[0], clinic, {"ann": 3, "bob": 1})
    two[1].forget(Teller("gateway-b", 1))
    await until(two[0], clinic, {"ann": 2})


async def test_an_older_streams_end_does_not_take_away_who_came_with_the_newer(
    two: tuple[Presence, Presence],
) -> None:
    """A gateway that moved to another instance is counted once, also when the first notices the end late."""
    clinic, old, new = str(uuid.uuid4()), Teller("gateway", 1), Teller("gateway", 2)
    two[0].report(old, clinic, "ann", 2)
    await until(two[1], clinic, {"ann": 2})
    two[1].report(new, clinic, "ann", 1)
    await until(two[0], clinic, {"ann": 1})
    two[0].report(old, clinic, "bob", 5)
    two[0].forget(old)
    await two[0].stop()
    assert dict(await two[1].of_clinic(clinic)) == {"ann": 1}


async def test_an_older_stream_at_the_same_instance_is_no_better(two: tuple[Presence, Presence]) -> None:
    """A gateway that opened its next stream before the broken one's end was noticed keeps its users."""
    clinic, one = str(uuid.uuid4()), two[0]
    one.report(Teller("gateway", 1), clinic, "ann", 1)
    await until(one, clinic, {"ann": 1})
    one.report(Teller("gateway", 2), clinic, "ann", 1)
    one.forget(Teller("gateway", 1))
    one.report(Teller("gateway", 2), clinic, "bob", 1)
    await until(one, clinic, {"ann": 1, "bob": 1})


async def test_what_a_dead_instance_said_ends_by_itself(redis_url: str) -> None:
    """After `kill -9` nobody renews what was said, and it is gone with its time."""
    clinic = str(uuid.uuid4())
    async with presence(redis_url) as living:
        async with presence(redis_url, ttl_s=1) as dying:
            dying.report(Teller("gateway", 1), clinic, "ann", 1)
            await until(living, clinic, {"ann": 1})
        await until(living, clinic, {})


async def test_what_is_still_true_is_renewed(redis_url: str) -> None:
    """A user who stays is still there when the first word's time is over."""
    clinic = str(uuid.uuid4())
    async with presence(redis_url, ttl_s=1) as living:
        living.report(Teller("gateway", 1), clinic, "ann", 1)
        await until(living, clinic, {"ann": 1})
        ends = asyncio.get_running_loop().time() + 1.5
        while asyncio.get_running_loop().time() < ends:
            assert dict(await living.of_clinic(clinic)) == {"ann": 1}
            await asyncio.sleep(0.05)
