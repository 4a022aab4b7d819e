"""Who is connected, kept in Redis under leases: what a crashed instance said of itself ends by itself.

`presence:{<clinic>}` is a sorted set of instances by when their word ends (ms);
`presence:{<clinic>}:<instance>` is a hash user -> connections that expires with it. An instance is one
gateway's run, or this process for its own subscribers. A gateway that lost its stream opens the next one, here or
at another realtime_svc, maybe before the old one's end is noticed: the hash has the stream's number under the empty
name, and what an older stream says changes nothing any more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from chassis.cache import AsyncCache, hash_tag
from scheduling.clock import Clock
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)

TTL_S: Final = 45
_USERS_SHOWN_MAX: Final = 1_000

_STREAM: Final = ""
"""The hash's field that is no user: the number of the stream that wrote it."""

# KEYS clinic, instance; ARGV instance, stream, now_ms, ttl_s, then user, connections, ...
_WRITE: Final = """
local written = redis.call('HGET', KEYS[2], '')
if written and tonumber(written) > tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
if #ARGV == 4 then return 1 end
redis.call('HSET', KEYS[2], '', ARGV[2])
for at = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[1], ARGV[3] + ARGV[4] * 1000, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4] * 2)
return 1
"""

Users = Counter[str]


@dataclass(frozen=True, slots=True)
class Teller:
    """Whose word it is: of all streams of an instance, the one with the highest number is believed."""

    instance: str
    stream: int = 0


class Presence:
    """Writes what this process knows of its instances, and reads what all of them say."""

    name = "presence"

    def __init__(self, cache: AsyncCache, clock: Clock, *, ttl_s: int = TTL_S) -> None:
        self._cache = cache
        self._clock = clock
        self._ttl_s = ttl_s
        self._write_place = cache.client.register_script(_WRITE)
        self._known: dict[Teller, dict[str, Users]] = {}
        self._dirty: set[tuple[Teller, str]] = set()
        self._wake = asyncio.Event()

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1_000)

    def report(self, teller: Teller, clinic_id: str, user_id: str, connections: int) -> None:
        """Note how many connections a user has at the teller's instance now; 0 means gone."""
        users = self._known.setdefault(teller, {}).setdefault(clinic_id, Counter())
        if connections:
            users[user_id] = connections
        else:
            users.pop(user_id, None)
        self._touch(teller, clinic_id)

    def add(self, teller: Teller, clinic_id: str, user_id: str, change: int) -> None:
        """Count one connection more or less of a user at the teller's instance."""
        users = self._known.get(teller, {}).get(clinic_id, Counter())
        self.report(teller, clinic_id, user_id, max(0, users[user_id] + change))

    def forget(self, teller: Teller) -> None:
        """Note that nobody is connected there any more, unless a newer stream says otherwise."""
        for clinic_id, users in self._known.get(teller, {}).items():
            users.clear()
            self._touch(teller, clinic_id)

    def _touch(self, teller: Teller, clinic_id: str) -> None:
        self._dirty.add((teller, clinic_id))
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
                    (teller, clinic_id) for teller, clinics in self._known.items() for clinic_id in clinics
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

    async def _write_some(self, places: Iterable[tuple[Teller, str]]) -> None:
        written, now_ms = list(places), self._now_ms()
        async with self._cache.guard(), self._cache.client.pipeline(transaction=False) as pipe:
            for teller, clinic_id in written:
                users = self._known.get(teller, {}).get(clinic_id, Counter())
                await self._write_place(
                    keys=[_clinic_key(clinic_id), _instance_key(clinic_id, teller.instance)],
                    args=[teller.instance, teller.stream, now_ms, self._ttl_s, *_flat(users)],
                    client=pipe,
                )
            await pipe.execute()
        for teller, clinic_id in written:
            self._dirty.discard((teller, clinic_id))
            self._drop_if_empty(teller, clinic_id)

    def _drop_if_empty(self, teller: Teller, clinic_id: str) -> None:
        clinics = self._known.get(teller, {})
        if clinic_id in clinics and not clinics[clinic_id]:
            del clinics[clinic_id]
        if not clinics:
            self._known.pop(teller, None)

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
                if _text(user_id) != _STREAM:
                    users[_text(user_id)] += int(connections)
        return users

    async def start(self) -> None:
        """Do nothing: `run` is supervised."""

    async def stop(self) -> None:
        """Say that nobody is connected here any more; what cannot be said expires."""
        for teller in tuple(self._known):
            self.forget(teller)
        try:
            await self._write()
        except Unavailable:
            _log.info("presence.left_to_expire")


def _flat(users: Users) -> list[str | int]:
    return [word for user in users.items() for word in user]


def shown_users(users: Mapping[str, int]) -> list[tuple[str, int]]:
    """The users to show, in a stable order, at most 1,000."""
    return sorted(users.items())[:_USERS_SHOWN_MAX]


def _clinic_key(clinic_id: str) -> str:
    return f"presence:{hash_tag(clinic_id)}"


def _instance_key(clinic_id: str, instance: str) -> str:
    return f"{_clinic_key(clinic_id)}:{instance}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
