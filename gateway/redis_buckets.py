"""Token buckets in Redis: one script, one round trip for all buckets of a call, atomic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prometheus_client import Counter

from chassis.cache import AsyncCache
from gateway.rate_limit import Bucket, LocalBuckets, Taken, taken
from scheduling.errors import Unavailable

# A bucket is a hash of its level and of when that was so, by Redis's own clock: gateways' clocks may differ.
# A full bucket says nothing, so a key lives only until its bucket would be full again.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local levels = {}
local admitted = 1
for i, key in ipairs(KEYS) do
  local per_ms, burst = tonumber(ARGV[2 * i - 1]) / 60000, tonumber(ARGV[2 * i])
  local state = redis.call('HMGET', key, 'level', 'at')
  local level, at = tonumber(state[1]) or burst, tonumber(state[2]) or now
  levels[i] = math.min(burst, level + math.max(0, now - at) * per_ms)
  if levels[i] < 1 then admitted = 0 end
end
local result = {admitted}
for i, key in ipairs(KEYS) do
  local per_ms, burst = tonumber(ARGV[2 * i - 1]) / 60000, tonumber(ARGV[2 * i])
  local level = levels[i] - admitted
  redis.call('HSET', key, 'level', tostring(level), 'at', now)
  redis.call('PEXPIRE', key, math.ceil((burst - level) / per_ms) + 1000)
  result[i + 1] = tostring(level)
end
return result
"""


class RedisBuckets:
    """Buckets that all instances share; while Redis is away, each instance counts for itself.

    Every admitted call is counted in both places, and both must have a token for it. So what this instance alone
    has used up needs no question to Redis, and nobody gets a fresh burst when Redis goes away or comes back.
    """

    def __init__(
        self, cache: AsyncCache, local: LocalBuckets, fallbacks: Counter, *, at_once_max: int = 16
    ) -> None:
        self._cache = cache
        self._local = local
        self._fallbacks = fallbacks
        self._take = cache.client.register_script(_TAKE)
        # Callers wait here, in order, and not for a connection of the pool, which would give up on them.
        self._turns = asyncio.Semaphore(at_once_max)

    async def take(self, buckets: Sequence[Bucket]) -> Sequence[Taken]:
        """Take one token from each bucket, or from none when one of them is empty."""
        own = self._local.look(buckets)
        if not all(state.is_admitted for state in own):
            return own
        try:
            async with self._turns:
                shared = await self._take_shared(buckets)
        except Unavailable:
            self._fallbacks.inc()
            return await self._local.take(buckets)
        if not all(state.is_admitted for state in shared):
            return shared
        # Calls that Redis failed may have used up this instance's burst while this one waited for its answer.
        own = await self._local.take(buckets)
        return shared if all(state.is_admitted for state in own) else own

    async def _take_shared(self, buckets: Sequence[Bucket]) -> Sequence[Taken]:
        keys = [key for key, _ in buckets]
        arguments = [number for _, rate in buckets for number in (rate.per_min, rate.burst)]
        async with self._cache.guard():
            admitted, *levels = await self._take(keys=keys, args=arguments)
        return [
            taken(rate, float(level), is_admitted=bool(admitted) or float(level) >= 1)
            for (_, rate), level in zip(buckets, levels, strict=True)
        ]
