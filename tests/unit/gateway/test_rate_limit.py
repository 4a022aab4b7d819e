"""Token buckets admit what the table says, and not more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from medforall.options.v1 import options_pb2

from chassis.auth.principal import Principal, Role
from chassis.config import ConfigError, Rate, load
from gateway.problems import RateLimited
from gateway.rate_limit import LocalBuckets, RateLimiter
from gateway.settings import RateSettings

BOOKING = options_pb2.RATE_CLASS_BOOKING
CLINIC = "0190a000-0000-7000-8000-00000000000a"


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class SameLimit:
    """One limit for every clinic."""

    def __init__(self, per_min: int) -> None:
        self._per_min = per_min

    def per_min(self, clinic_id: str) -> int:
        return self._per_min

    def learn(self, principal: Principal, authorization: str) -> None:
        """Nothing to learn."""


def user(subject: str = "u", clinic_id: str = CLINIC) -> Principal:
    """A caller."""
    return Principal(subject=subject, role=Role.FRONT_DESK, clinic_id=clinic_id)


def limiter(clock: Clock, clinic_per_min: int = 5_000, **settings: str) -> RateLimiter:
    """A limiter on this process's buckets."""
    table = load(RateSettings, settings).table
    return RateLimiter(LocalBuckets(100, clock), SameLimit(clinic_per_min), table, now_s=clock)


async def admitted(limiter: RateLimiter, times: int, caller: Principal | None, client: str = "::1") -> int:
    """How many of `times` calls get through."""
    count = 0
    for _ in range(times):
        try:
            await limiter.admit(caller, client, caller.clinic_id if caller else CLINIC, BOOKING)
        except RateLimited:
            continue
        count += 1
    return count


async def test_a_burst_then_the_rate() -> None:
    """A user books 40 times at once, then 20 times a minute, as the table says."""
    clock = Clock()
    limits = limiter(clock)
    assert await admitted(limits, 400, user()) == 40
    clock.now_s += 60
    assert await admitted(limits, 400, user()) == 20


async def test_without_a_token_the_address_counts() -> None:
    """Anonymous callers share their address's bucket, whatever clinic they name; others have their own."""
    limits = limiter(Clock())
    assert await admitted(limits, 100, None, "10.0.0.1") == 10
    assert await admitted(limits, 100, None, "10.0.0.2") == 10


async def test_the_table_is_set_by_category() -> None:
    """What a user or an address may do is what the settings say, by category; a malformed rate stops the process."""
    limits = limiter(Clock(), MEDFORALL_RATE_BOOKING="5/7", MEDFORALL_RATE_ANONYMOUS_BOOKING="1/2")
    assert await admitted(limits, 100, user()) == 7
    assert await admitted(limits, 100, None) == 2
    for malformed in ("5", "0/5", "5/0", "a/b", "-1/5"):
        with pytest.raises(ConfigError, match="MEDFORALL_RATE_READ"):
            load(RateSettings, {"MEDFORALL_RATE_READ": malformed})


async def test_an_ipv6_network_counts_as_one() -> None:
    """Whoever has a /64 has one bucket, whatever address of it is used; the next network has its own."""
    limits = limiter(Clock())
    counts = [await admitted(limits, 3, None, f"2001:db8:0:1::{index:x}") for index in range(5)]
    assert sum(counts) == 10
    assert await admitted(limits, 100, None, "2001:db8:0:2::1") == 10
    assert await admitted(limits, 100, None, "::ffff:10.0.0.1") == 10
    assert await admitted(limits, 100, None, "10.0.0.1") == 0


async def test_a_clinic_has_a_limit_over_all_users() -> None:
    """Users who are each within their own limit are refused when their clinic's is used up."""
    limits = limiter(Clock(), clinic_per_min=50)
    counts = [await admitted(limits, 30, user(f"user-{index}")) for index in range(3)]
    assert counts == [30, 20, 0]
    assert await admitted(limits, 30, user("other", "other-clinic")) == 30


async def test_the_refusal_says_when() -> None:
    """A refused call carries the limit, the wait and the headers of the seed."""
    clock = Clock()
    limits = limiter(clock)
    await admitted(limits, 40, user())
    with pytest.raises(RateLimited) as refused:
        await limits.admit(user(), "::1", CLINIC, BOOKING)
    assert refused.value.limit_per_min == 20
    assert refused.value.retry_after_s == 3
    assert refused.value.headers == {
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(1_000 + 120),
    }


@given(st.lists(st.floats(0, 30), min_size=1, max_size=60), st.integers(1, 100), st.integers(1, 50))
async def test_no_window_admits_more_than_burst_and_rate(
    waits: list[float], per_min: int, burst: int
) -> None:
    """Over any run of calls, no more get through than the burst and what time refilled."""
    clock = Clock()
    buckets = LocalBuckets(10, clock)
    count = 0
    for wait_s in waits:
        clock.now_s += wait_s
        (state,) = await buckets.take([("k", Rate(per_min, burst))])
        count += state.is_admitted
    assert count <= burst + sum(waits) * per_min / 60 + 1e-6


async def test_memory_is_bounded() -> None:
    """Buckets that were not used for longest are forgotten when there are too many."""
    buckets = LocalBuckets(10, Clock())
    for index in range(1_000):
        await buckets.take([(str(index), Rate(1, 1))])
    assert len(buckets._levels) == 10
