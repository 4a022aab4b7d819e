"""The cache against a real Valkey: quick when it is there, quicker when it is not."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from chassis.breaker import CircuitBreaker
from chassis.cache import AsyncCache, SyncCache, build_breaker, hash_tag
from chassis.metrics import Metrics
from chassis.settings import RedisSettings
from scheduling.errors import Unavailable
from tests.integration.chassis.proxy import Proxy


def settings(url: str) -> RedisSettings:
    return RedisSettings(
        url=url, timeout_ms=100, connect_timeout_ms=100, pool_max=2, breaker_failures=2, breaker_open_ms=200
    )


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """A line to the server that can be cut."""
    async with Proxy(redis_url) as made:
        yield made


async def failed_ms(cache: AsyncCache) -> float:
    """How long one refused command takes."""
    began = time.perf_counter()
    with pytest.raises(Unavailable):
        await cache.check()
    return (time.perf_counter() - began) * 1_000


async def test_commands_and_pipelines_work(redis_url: str) -> None:
    """One command, and several in one round trip; both clients see the same data."""
    breaker = build_breaker(settings(redis_url))
    cache, blocking = AsyncCache(settings(redis_url), breaker), SyncCache(settings(redis_url), breaker)
    key = f"{hash_tag('clinic', uuid4().hex)}:x"
    await cache.call(lambda client: client.set(key, b"1"))
    async with cache.guard(), cache.client.pipeline(transaction=False) as pipeline:
        pipeline.get(key)
        pipeline.incr(key)
        assert await pipeline.execute() == [b"1", 2]
    assert blocking.call(lambda client: client.get(key)) == b"2"
    with blocking.guard():
        blocking.client.delete(key)
    blocking.check()
    await cache.stop()
    await blocking.stop()


async def test_a_dead_server_costs_microseconds(proxy: Proxy) -> None:
    """After a few failures the breaker answers at once; when the server is back, a probe closes it."""
    metrics = Metrics()
    breaker = build_breaker(settings(proxy.url), metrics)
    cache = AsyncCache(settings(proxy.url), breaker)
    await cache.check()
    proxy.cut()
    assert await failed_ms(cache) < 500
    assert await failed_ms(cache) < 500
    assert breaker.is_open
    assert metrics.registry.get_sample_value("breaker_open", {"dependency": "redis"}) == 1
    assert min([await failed_ms(cache) for _ in range(20)]) < 1
    proxy.restore()
    async with asyncio.timeout(5):
        while breaker.is_open:
            await asyncio.sleep(0.02)
            await asyncio.gather(cache.check(), return_exceptions=True)
    assert metrics.registry.get_sample_value("breaker_open", {"dependency": "redis"}) == 0
    await cache.stop()


async def test_a_silent_server_is_waited_for_briefly(proxy: Proxy) -> None:
    """A server that accepts and says nothing costs one timeout a command, not more."""
    cache = AsyncCache(settings(proxy.url), CircuitBreaker(failures_max=100, open_ms=1))
    await cache.check()
    proxy.hold()
    assert await failed_ms(cache) < 600
    proxy.restore()
    await cache.stop()


async def test_a_full_pool_is_not_an_outage(redis_url: str) -> None:
    """More commands at once than connections wait for one, and the breaker stays closed."""
    breaker = build_breaker(settings(redis_url))
    cache = AsyncCache(settings(redis_url), breaker)
    await asyncio.gather(*(cache.check() for _ in range(50)))
    assert not breaker.is_open
    await cache.stop()


async def test_an_answer_that_is_an_error_is_an_outage_to_callers(redis_url: str) -> None:
    """Whoever asks hears Unavailable when Redis refuses, as when it is gone; it answers: no breaker opens."""
    breaker = build_breaker(settings(redis_url))
    cache, blocking = AsyncCache(settings(redis_url), breaker), SyncCache(settings(redis_url), breaker)
    key = f"{hash_tag('clinic', uuid4().hex)}:x"
    await cache.call(lambda client: client.set(key, b"text"))
    for _ in range(5):
        with pytest.raises(Unavailable):
            await cache.call(lambda client: client.zcard(key))
        with pytest.raises(Unavailable):
            blocking.call(lambda client: client.zcard(key))
    assert not breaker.is_open
    await cache.stop()
    await blocking.stop()
