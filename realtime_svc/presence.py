"""Who is connected, kept in Redis under leases: what a crashed instance said of itself ends by itself.

`presence:<clinic>` is a sorted set of instances by when their word ends (ms);
`presence:<clinic>:<instance>` is a hash user -> connections that expires with it. An instance is one
gateway's run, or this process for its own subscribers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from chassis.cache import AsyncCache
from scheduling.clock import Clock
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)

TTL_S: Final = 45
_USERS_SHOWN_MAX: Final = 1_000

Users = Counter[str]


class Presence:
    """Writes what this process knows of its instances, and reads what all of them say."""

    name = "presence"

    def __init__(self, cache: AsyncCache, clock: Clock, *, ttl_s: int = TTL_S) -> None:
        self._cache = cache
        self._clock = clock
        self._ttl_s = ttl_s
        self._known: dict[str, dict[str, Users]] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1_000)

    def report(self, instance: str, clinic_id: str, user_id: str, connections: int) -> None:
        """Note how many connections a user has at `instance` now; 0 means gone."""
        users = self._known.setdefault(instance, {}).setdefault(clinic_id, Counter())
        if connections:
            users[user_id] = connections
        else:
            users.pop(user_id, None)
        self._touch(instance, clinic_id)

    def add(self, instance: str, clinic_id: str, user_id: str, change: int) -> None:
        """Count one connection more or less of a user at `instance`."""
        users = self._known.get(instance, {}).get(clinic_id, Counter())
        self.report(instance, clinic_id, user_id, max(0, users[user_id] + change))

    def forget(self, instance: str) -> None:
        """Note that nobody is connected at `instance` any more."""
        for clinic_id, users in self._known.get(instance, {}).items():
            users.clear()
            self._touch(instance, clinic_id)

    def _touch(self, instance: str, clinic_id: str) -> None:
        self._dirty.add((instance, clinic_id))
        self._wake.set()

    async def run(self) -> None:
        """Write changes as they come and renew the rest; hand it to a supervisor. Raises Unavailable."""
        while True:
            try:
                async with asyncio.timeout(self._ttl_s / 3):
                    await self._wake.wait()
                # Many changes come together: one write for all of them.
                await asyncio.sleep(0.05)
            except TimeoutError:
                self._dirty.update(
                    (instance, clinic_id)
                    for instance, clinics in self._known.items()
                    for clinic_id in clinics
                )
            self._wake.clear()
            await self._write()

    async def _write(self) -> None:
        batch = list(self._dirty)
        try:
            for at in range(0, len(batch), 200):
                await self._write_some(batch[at : at + 200])
        except Unavailable:
            self._wake.set()
            raise

    async def _write_some(self, places: Iterable[tuple[str, str]]) -> None:
        until_ms = self._now_ms() + self._ttl_s * 1_000
        written = list(places)
        async with self._cache.guard(), self._cache.client.pipeline(transaction=True) as pipe:
            for instance, clinic_id in written:
                users = self._known.get(instance, {}).get(clinic_id, Counter())
                _write_place(pipe, (instance, clinic_id), users, until_ms=until_ms, ttl_s=self._ttl_s)
            await pipe.execute()
        for instance, clinic_id in written:
            self._dirty.discard((instance, clinic_id))
            self._drop_if_empty(instance, clinic_id)

    def _drop_if_empty(self, instance: str, clinic_id: str) -> None:
        clinics = self._known.get(instance, {})
        if clinic_id in clinics and not clinics[clinic_id]:
            del clinics[clinic_id]
        if not clinics:
            self._known.pop(instance, None)

    async def of_clinic(self, clinic_id: str) -> Mapping[str, int]:
        """User -> connections over all instances. Raises Unavailable."""
        async with self._cache.guard():
            redis = self._cache.client
            instances = await redis.zrangebyscore(_clinic_key(clinic_id), self._now_ms(), "+inf")
            async with redis.pipeline(transaction=False) as pipe:
                for instance in instances:
                    pipe.hgetall(_instance_key(clinic_id, _text(instance)))
                hashes = await pipe.execute() if instances else []
        users: Users = Counter()
        for users_of_instance in hashes:
            for user_id, connections in users_of_instance.items():
                users[_text(user_id)] += int(connections)
        return users

    async def start(self) -> None:
        """Do nothing: `run` is supervised."""

    async def stop(self) -> None:
        """Say that nobody is connected here any more; what cannot be said expires."""
        for instance in tuple(self._known):
            self.forget(instance)
        try:
            await self._write()
        except Unavailable:
            _log.info("presence.left_to_expire")


def _write_place(pipe: Any, place: tuple[str, str], users: Users, *, until_ms: int, ttl_s: int) -> None:
    instance, clinic_id = place
    clinic_key, instance_key = _clinic_key(clinic_id), _instance_key(clinic_id, instance)
    pipe.delete(instance_key)
    if not users:
        pipe.zrem(clinic_key, instance)
        return
    pipe.hset(instance_key, mapping=dict(users))
    pipe.expire(instance_key, ttl_s)
    pipe.zadd(clinic_key, {instance: until_ms})
    pipe.zremrangebyscore(clinic_key, "-inf", until_ms - ttl_s * 1_000)
    pipe.expire(clinic_key, ttl_s * 2)


def shown_users(users: Mapping[str, int]) -> list[tuple[str, int]]:
    """The users to show, in a stable order, at most 1,000."""
    return sorted(users.items())[:_USERS_SHOWN_MAX]


def _clinic_key(clinic_id: str) -> str:
    return f"presence:{clinic_id}"


def _instance_key(clinic_id: str, instance: str) -> str:
    return f"presence:{clinic_id}:{instance}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
