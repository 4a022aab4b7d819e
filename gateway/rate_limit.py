"""Rate limits: token buckets per caller and clinic, in Redis or, while it is away, in this process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from medforall.options.v1 import options_pb2

from chassis.auth.principal import Principal
from chassis.config import Rate
from gateway.clients import network_of
from gateway.problems import RateLimited


@dataclass(frozen=True, slots=True)
class Taken:
    """A bucket after a token was asked for; `wait_s` is how long until there is one when there was none."""

    is_admitted: bool
    remaining: int
    wait_s: float
    full_in_s: float


@dataclass(frozen=True, slots=True)
class Table:
    """What one caller may use, by rate class; a class that is not in it is not limited."""

    authenticated: Mapping[int, Rate]
    anonymous: Mapping[int, Rate]


Bucket = tuple[str, Rate]


class Buckets(Protocol):
    """Where buckets are kept."""

    async def take(self, buckets: Sequence[Bucket]) -> Sequence[Taken]:
        """Take one token from each bucket, or from none when one of them is empty; the state of each."""
        ...


class LocalBuckets:
    """Buckets in this process's memory, at most `size_max`; the ones longest unused are forgotten."""

    def __init__(self, size_max: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._size_max = size_max
        self._now_s = now_s
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(self, buckets: Sequence[Bucket]) -> Sequence[Taken]:
        """Take one token from each bucket, or from none."""
        now_s = self._now_s()
        levels = [self._level(key, rate, now_s) for key, rate in buckets]
        is_admitted = all(level >= 1 for level in levels)
        for (key, _), level in zip(buckets, levels, strict=True):
            self._keep(key, level - 1 if is_admitted else level, now_s)
        return [
            taken(rate, level - 1 if is_admitted else level, is_admitted=is_admitted or level >= 1)
            for (_, rate), level in zip(buckets, levels, strict=True)
        ]

    def look(self, buckets: Sequence[Bucket]) -> Sequence[Taken]:
        """The state that each bucket would have after a token; nothing is taken."""
        now_s = self._now_s()
        levels = [self._level(key, rate, now_s) for key, rate in buckets]
        return [
            taken(rate, level, is_admitted=level >= 1)
            for (_, rate), level in zip(buckets, levels, strict=True)
        ]

    def _level(self, key: str, rate: Rate, now_s: float) -> float:
        level, at_s = self._levels.get(key, (float(rate.burst), now_s))
        return min(float(rate.burst), level + (now_s - at_s) * rate.per_min / 60)

    def _keep(self, key: str, level: float, now_s: float) -> None:
        self._levels[key] = (level, now_s)
        self._levels.move_to_end(key)
        while len(self._levels) > self._size_max:
            self._levels.popitem(last=False)


def taken(rate: Rate, level: float, *, is_admitted: bool) -> Taken:
    """The state of a bucket whose level is now `level` tokens."""
    per_s = rate.per_min / 60
    return Taken(
        is_admitted=is_admitted,
        remaining=max(0, math.floor(level)),
        wait_s=0.0 if is_admitted else max(0.0, (1 - level) / per_s),
        full_in_s=max(0.0, (rate.burst - level) / per_s),
    )


class Limiter(Protocol):
    """Takes tokens out of rate buckets."""

    async def admit(
        self, principal: Principal | None, client: str, clinic_id: str, rate_class: int
    ) -> Mapping[str, str]:
        """The rate headers of an admitted call. Raises RateLimited, which carries them too."""
        ...

    async def count_unknown(self, client: str) -> Mapping[str, str]:
        """Count a bad token of this address, apart from its calls without one. Raises RateLimited."""
        ...

    def learn(self, principal: Principal, authorization: str) -> None:
        """See a caller pass with whose token its clinic's limits can be asked for; never waits."""
        ...


class ClinicLimits(Protocol):
    """Knows the clinics' own limits."""

    def per_min(self, clinic_id: str) -> int:
        """Requests a minute of all users of this clinic."""
        ...

    def learn(self, principal: Principal, authorization: str) -> None:
        """Use the chance that somebody of this clinic calls; never waits."""
        ...


class RateLimiter:
    """Admits calls by the table of the contracts' rate classes and by their clinic."""

    def __init__(
        self,
        buckets: Buckets,
        clinics: ClinicLimits,
        table: Table,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._buckets = buckets
        self._clinics = clinics
        self._table = table
        self._now_s = now_s

    async def admit(
        self, principal: Principal | None, client: str, clinic_id: str, rate_class: int
    ) -> Mapping[str, str]:
        """The rate headers of an admitted call. Raises RateLimited, whose headers say the same."""
        rate = (self._table.authenticated if principal else self._table.anonymous).get(rate_class)
        if rate is None:
            return {}
        return await self._take(self._wanted(principal, client, clinic_id, rate_class, rate))

    async def count_unknown(self, client: str) -> Mapping[str, str]:
        """The rate headers of a caller whose token is bad. Raises RateLimited."""
        rate = self._table.anonymous[options_pb2.RATE_CLASS_READ]
        return await self._take([(f"rate:{{{network_of(client)}}}:unknown", rate)])

    async def _take(self, wanted: Sequence[Bucket]) -> Mapping[str, str]:
        states = await self._buckets.take(wanted)
        # What the client is told is the bucket that stands in its way, else its own.
        narrowest = next((index for index, state in enumerate(states) if not state.is_admitted), 0)
        state, (_, told) = states[narrowest], wanted[narrowest]
        headers = self._headers(told, state)
        if not state.is_admitted:
            raise RateLimited(
                retry_after_s=max(1, math.ceil(state.wait_s)), limit_per_min=told.per_min, headers=headers
            )
        return headers

    def learn(self, principal: Principal, authorization: str) -> None:
        """Let the clinics' own limits be looked up with this caller's token."""
        self._clinics.learn(principal, authorization)

    def _wanted(
        self, principal: Principal | None, client: str, clinic_id: str, rate_class: int, rate: Rate
    ) -> Sequence[Bucket]:
        # The clinic is the hash tag: one slot of a Redis cluster has both keys, so one script may touch both.
        # A caller without a token may name any clinic: its own bucket is by address alone.
        if principal is None:
            return [(f"rate:{{{network_of(client)}}}:{rate_class}", rate)]
        own: Bucket = (f"rate:{{{clinic_id}}}:{rate_class}:{principal.subject}", rate)
        if not clinic_id:
            return [own]
        per_min = self._clinics.per_min(clinic_id)
        return [own, (f"rate:{{{clinic_id}}}", Rate(per_min, per_min))]

    def _headers(self, rate: Rate, state: Taken) -> Mapping[str, str]:
        return {
            "x-ratelimit-limit": str(rate.per_min),
            "x-ratelimit-remaining": str(state.remaining),
            "x-ratelimit-reset": str(math.ceil(self._now_s() + state.full_in_s)),
        }


class NoLimits:
    """Admits everything: MEDFORALL_RATE_LIMIT=off."""

    async def admit(
        self,
        principal: Principal | None,  # noqa: ARG002
        client: str,  # noqa: ARG002
        clinic_id: str,  # noqa: ARG002
        rate_class: int,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """No headers, no refusal."""
        return {}

    async def count_unknown(self, client: str) -> Mapping[str, str]:  # noqa: ARG002
        """No headers, no refusal."""
        return {}

    def learn(self, principal: Principal, authorization: str) -> None:
        """Nothing is worth knowing."""
