"""Whether a token is revoked, asked for many at once: everybody is answered, whatever Redis does."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from uuid import uuid4

import pytest

from chassis.auth.principal import Principal, Role
from chassis.auth.revocations import Revocations
from chassis.cache import AsyncCache, build_breaker, hash_tag
from chassis.settings import RedisSettings
from gateway.realtime.revocation_checks import RevocationChecks
from scheduling.errors import Unavailable


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[AsyncCache]:
    """A database of the server that no other test uses."""
    settings = RedisSettings(url=f"{redis_url.rpartition('/')[0]}/10")
    made = AsyncCache(settings, build_breaker(settings))
    await made.call(lambda redis: redis.flushdb())
    yield made
    await made.call(lambda redis: redis.flushdb())
    await made.stop()


def _principals() -> list[Principal]:
    return [Principal(subject=str(n), role=Role.ADMIN, clinic_id=str(uuid4())) for n in range(3)]


async def _asked(checks: RevocationChecks) -> list[bool | BaseException]:
    async with asyncio.timeout(10):
        asked = [checks.is_revoked(principal) for principal in _principals()]
        return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_redis_that_answers_with_an_error_keeps_nobody_waiting(cache: AsyncCache) -> None:
    """Each who asks hears that it cannot be known, and is answered once Redis is well again."""
    marks, checks = f"{hash_tag('revoked')}:marks", RevocationChecks(Revocations(cache))
    await cache.call(lambda redis: redis.set(marks, "no sorted set"))
    assert [type(answer) for answer in await _asked(checks)] == [Unavailable] * 3
    await cache.call(lambda redis: redis.delete(marks))
    assert await _asked(checks) == [False] * 3


async def test_a_fault_that_nobody_foresaw_keeps_nobody_waiting_either() -> None:
    """It is told to each who asked, at once."""

    class Broken:
        async def revoked(self, principals: Iterable[Principal]) -> set[Principal]:
            raise ZeroDivisionError

    answers = await _asked(RevocationChecks(Broken()))
    assert [type(answer) for answer in answers] == [ZeroDivisionError] * 3
