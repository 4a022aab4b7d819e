"""Shutting out tokens and users, on a real Valkey: told to every process within its refresh, kept through faults."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from chassis.auth import revocations
from chassis.auth.principal import Principal, Role
from chassis.auth.revocations import Revocations, RevocationWatch, Revoked, build_watch
from chassis.cache import AsyncCache, build_breaker, hash_tag
from chassis.config import load
from chassis.metrics import Metrics
from chassis.settings import AuthSettings, RedisSettings
from scheduling.errors import Exhausted, Unavailable
from tests.integration.chassis.proxy import Proxy
from tests.support.waiting import wait_until_async


def principal(subject: str = "ann", token_id: str = "t1") -> Principal:  # noqa: S107 - an id, no secret
    return Principal(subject=subject, role=Role.FRONT_DESK, clinic_id="c1", token_id=token_id)


class Now:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def url(redis_url: str) -> str:
    """A database of the server that no other test uses."""
    return f"{redis_url.rpartition('/')[0]}/9"


@pytest.fixture
async def cache(url: str) -> AsyncIterator[AsyncCache]:
    settings = RedisSettings(url=url)
    made = AsyncCache(settings, build_breaker(settings))
    await made.call(lambda redis: redis.flushdb())
    yield made
    await made.stop()


async def test_tokens_and_users_are_shut_out_and_let_in(cache: AsyncCache) -> None:
    """A token, a user with every token, and a user who is let in again are each seen at the next reading."""
    store, revoked = Revocations(cache), Revoked()
    watch = RevocationWatch(store, revoked, every_s=1)
    await watch.read()
    assert not revoked.holds(principal())
    await store.revoke_token("t1", 60)
    await store.revoke_user("c1", "bob", 60)
    await watch.read()
    assert revoked.holds(principal())
    assert not revoked.holds(principal(token_id="t2"))
    assert revoked.holds(principal("bob", token_id="anything"))
    assert await store.revoked([principal(), principal("bob"), principal("eve", "t9")]) == {
        principal(),
        principal("bob"),
    }
    await store.restore_user("c1", "bob")
    await watch.read()
    assert not revoked.holds(principal("bob", token_id="anything"))


async def test_a_mark_ends_by_itself_and_is_not_shortened(cache: AsyncCache) -> None:
    """A mark is good for the longest time that was given, in memory and in Redis, and then no more."""
    now = Now()
    store, revoked = Revocations(cache, now), Revoked(now)
    await store.revoke_token("t1", 600)
    await store.revoke_token("t1", 60)
    await RevocationWatch(store, revoked, every_s=1).read()
    now.s += 599
    assert revoked.holds(principal())
    assert await store.revoked([principal()]) == {principal()}
    now.s += 2
    assert not revoked.holds(principal())
    assert await store.revoked([principal()]) == set()
    assert await store.marks() == {}


async def test_who_is_shut_out_stays_out_while_redis_is_away(url: str, cache: AsyncCache) -> None:
    """Without Redis a process keeps what it knew last, and gives it back when Redis has forgotten everything."""
    async with Proxy(url) as line:
        settings = RedisSettings(url=line.url, timeout_ms=100, connect_timeout_ms=100, breaker_failures=1_000)
        through = AsyncCache(settings, build_breaker(settings))
        revoked = Revoked()
        watch = RevocationWatch(Revocations(through), revoked, every_s=0.02)
        await Revocations(cache).revoke_token("t1", 60)
        await watch.start()
        assert revoked.holds(principal())
        line.cut()
        with pytest.raises(Unavailable):
            await watch.read()
        assert revoked.holds(principal())
        line.restore()
        await cache.call(lambda redis: redis.flushdb())
        await Revocations(cache).revoke_token("t2", 60)

        async def is_heard() -> bool:
            return revoked.holds(principal(token_id="t2"))

        await wait_until_async(is_heard, what="the next mark")
        assert revoked.holds(principal())
        assert await Revocations(cache).revoked([principal()]) == {principal()}
        await watch.stop()
        await through.stop()


async def test_an_answer_that_is_an_error_does_not_end_the_looking(cache: AsyncCache) -> None:
    """A Redis that answers with an error is looked at again, and who was shut out stays out meanwhile."""
    revoked = Revoked()
    watch = RevocationWatch(Revocations(cache), revoked, every_s=0.02)
    await Revocations(cache).revoke_token("t1", 60)
    await watch.start()
    marks = f"{hash_tag('revoked')}:marks"
    async with cache.client.pipeline(transaction=True) as pipe:
        pipe.set(marks, "no set")
        pipe.set(f"{hash_tag('revoked')}:version", "another")
        await pipe.execute()
    with pytest.raises(Unavailable):
        await watch.read()

    async def is_noticed() -> bool:
        return watch.is_blind

    await wait_until_async(is_noticed, what="the error")
    assert revoked.holds(principal())
    await cache.call(lambda redis: redis.delete(marks))
    await Revocations(cache).revoke_token("t2", 60)

    async def is_heard() -> bool:
        return revoked.holds(principal(token_id="t2"))

    await wait_until_async(is_heard, what="the next mark")
    await watch.stop()


async def test_a_process_starts_without_redis() -> None:
    """A watch that cannot reach Redis starts, knows of nobody, and its metric says that it never read."""
    settings = RedisSettings(url="redis://127.0.0.1:1")
    cache, metrics, revoked = AsyncCache(settings, build_breaker(settings)), Metrics(), Revoked()
    watch = build_watch(load(AuthSettings, {"MEDFORALL_JWKS": "x"}), cache, revoked, metrics)
    await watch.start()
    assert not revoked.holds(principal())
    assert metrics.registry.get_sample_value("auth_revocations_read_timestamp_seconds") == 0
    await watch.stop()
    await cache.stop()


async def test_the_set_is_bounded(cache: AsyncCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """One mark too many is refused instead of growing every process's memory."""
    monkeypatch.setattr(revocations, "MARKS_MAX", 3)
    store = Revocations(cache)
    for _ in range(3):
        await store.revoke_token(uuid4().hex, 60)
    with pytest.raises(Exhausted):
        await store.revoke_token("one more", 60)
