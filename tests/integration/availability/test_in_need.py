"""What the running service does when it is cold or something it reads from is away."""

import asyncio
import time
from typing import Any

import grpc
import pytest
import redis as redis_client
from grpc_status import rpc_status
from medforall.availability.v1 import availability_pb2 as pb

from tests.integration.availability.asking import call, caller_of, code_of, search_of
from tests.integration.availability.conftest import World
from tests.integration.chassis.proxy import Proxy
from tests.support.availability_service import Running, running
from tests.support.waiting import wait_until_async


def _inside(service: Running) -> Any:
    """Return the reader, to look at and to empty what it keeps."""
    return service.reader


async def test_many_cold_callers_read_the_database_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty searches of one cold place at once read each calendar from the database a single time."""
    async with running(world.settings()) as service:
        truth = _inside(service)._calendars._truth
        read: list[Any] = []
        original = truth.stretches

        def counted(clinic_id: str, stretches: Any, **options: Any) -> Any:
            read.extend(stretches)
            return original(clinic_id, stretches, **options)

        monkeypatch.setattr(truth, "stretches", counted)
        caller = caller_of(world)
        await asyncio.gather(*(call(service.stub.SearchSlots, search_of(world), caller) for _ in range(30)))
        assert read
        assert len(read) == len(set(read))


async def test_without_redis_answers_come_from_the_database(world: World) -> None:
    """T21: Redis flushed, cut and silent in turn; every search is answered right, and in less than a second."""
    url = world.environment["MEDFORALL_REDIS_URL"]
    async with Proxy(url) as line, running(world.settings(MEDFORALL_REDIS_URL=line.url)) as service:
        caller = caller_of(world)
        expected = await call(service.stub.SearchSlots, search_of(world, limit=500), caller)

        async def is_right() -> float:
            _inside(service)._calendars.clear()
            _inside(service)._locations.clear()
            began = time.perf_counter()
            reply = await call(service.stub.SearchSlots, search_of(world, limit=500), caller)
            assert list(reply.slots) == list(expected.slots)
            return time.perf_counter() - began

        with redis_client.Redis.from_url(url) as client:
            client.flushdb()
        assert await is_right() < 1
        line.cut()
        assert max([await is_right() for _ in range(5)]) < 1
        line.restore()
        line.hold()
        assert max([await is_right() for _ in range(6)]) < 1
        line.restore()

        async def is_back() -> bool:
            await is_right()
            reply = await call(service.stub.SearchSlots, search_of(world, limit=1), caller)
            _inside(service)._calendars.clear()
            reply = await call(service.stub.SearchSlots, search_of(world, limit=1), caller)
            return bool(reply.metadata.cache_layer == pb.CACHE_LAYER_L2)

        await wait_until_async(is_back, timeout_s=10, what="Redis to be used again")


async def test_without_nats_answers_say_that_they_are_stale(world: World) -> None:
    """NATS away: the search goes on, says stale with a growing age, and is fresh again afterwards."""
    async with (
        Proxy(world.environment["MEDFORALL_NATS_URL"]) as line,
        running(world.settings(MEDFORALL_NATS_URL=line.url)) as service,
    ):
        caller = caller_of(world)

        async def is_stale() -> bool:
            reply = await call(service.stub.SearchSlots, search_of(world, limit=1), caller)
            return bool(reply.metadata.stale)

        async def is_receiving() -> bool:
            return bool(_inside(service)._freshness._is_receiving)

        await wait_until_async(is_receiving, timeout_s=10, what="events to be received")
        line.cut()
        await wait_until_async(is_stale, timeout_s=10, what="the answers to be stale")
        first = await call(service.stub.SearchSlots, search_of(world, limit=1), caller)
        await asyncio.sleep(0)
        second = await call(service.stub.SearchSlots, search_of(world, limit=1), caller)
        assert second.metadata.age_ms >= first.metadata.age_ms > 0
        line.restore()
        await wait_until_async(is_receiving, timeout_s=15, what="events to be received again")


async def test_without_the_database_the_cache_answers_and_the_rest_is_unavailable(world: World) -> None:
    """T13: what is projected is served marked stale, what is not is UNAVAILABLE in less than two seconds."""
    async with (
        Proxy(world.environment["MEDFORALL_APP_DATABASE_URL"]) as app,
        Proxy(world.environment["MEDFORALL_WORKER_DATABASE_URL"]) as worker,
        running(
            world.settings(MEDFORALL_APP_DATABASE_URL=app.url, MEDFORALL_WORKER_DATABASE_URL=worker.url)
        ) as service,
    ):
        caller = caller_of(world)
        expected = await call(service.stub.SearchSlots, search_of(world), caller)
        app.cut()
        worker.cut()
        _inside(service)._calendars.clear()
        _inside(service)._locations.clear()

        async def is_stale() -> bool:
            reply = await call(service.stub.SearchSlots, search_of(world), caller)
            assert list(reply.slots) == list(expected.slots)
            return bool(reply.metadata.stale)

        await wait_until_async(is_stale, timeout_s=10, what="the answers to be stale")
        began = time.perf_counter()
        cold = search_of(world, day=60)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(service.stub.SearchSlots, cold, caller)
        assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
        assert rpc_status.from_call(failed.value) is not None
        assert time.perf_counter() - began < 2
        app.restore()
        worker.restore()

        async def is_answered() -> bool:
            return await code_of(service.stub.SearchSlots, cold, caller) == grpc.StatusCode.OK

        await wait_until_async(is_answered, timeout_s=10, what="the database to be used again")


async def test_a_silent_database_keeps_nobody_from_what_is_cached(world: World) -> None:
    """PostgreSQL holds its lines: many callers at once are answered from memory, or told UNAVAILABLE, and soon."""
    async with (
        Proxy(world.environment["MEDFORALL_APP_DATABASE_URL"]) as app,
        running(world.settings(MEDFORALL_APP_DATABASE_URL=app.url)) as service,
    ):
        caller = caller_of(world)
        warm, cold = search_of(world), search_of(world, day=90)
        patient = search_of(world, patient_id=world.clinic.patient_ids[0])
        expected = await call(service.stub.SearchSlots, warm, caller)
        assert expected.slots
        app.hold()

        async def outcome(request: Any) -> tuple[grpc.StatusCode, float]:
            began = time.perf_counter()
            code = await code_of(service.stub.SearchSlots, request, caller)
            return code, time.perf_counter() - began

        for round_s in (8, 5, 5):
            asked = [warm, cold, patient] * 16
            outcomes = await asyncio.gather(*(outcome(request) for request in asked))
            assert [code for code, _ in outcomes[0::3]] == [grpc.StatusCode.OK] * 16
            away = {code for code, _ in (*outcomes[1::3], *outcomes[2::3])}
            assert away == {grpc.StatusCode.UNAVAILABLE}
            assert max(took_s for _, took_s in outcomes) < round_s
        app.restore()

        async def is_answered() -> bool:
            codes = [await code_of(service.stub.SearchSlots, request, caller) for request in (cold, patient)]
            return codes == [grpc.StatusCode.OK] * 2

        await wait_until_async(is_answered, timeout_s=15, what="the database to be used again")
