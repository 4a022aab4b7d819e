"""gRPC streams, presence, revocation, and streams that forget or are made anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import httpx
import pytest
import redis.asyncio
from medforall.realtime.v1 import realtime_pb2 as wire
from medforall.realtime.v1 import realtime_pb2_grpc

from chassis.auth.principal import Role
from chassis.auth.revocations import Revocations
from chassis.breaker import CircuitBreaker
from chassis.cache import AsyncCache, hash_tag
from chassis.settings import RedisSettings
from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit, client, joined
from tests.support.waiting import wait_until_async

from .test_websocket import closed


@pytest.fixture
async def stub(suite: RealtimeSuite) -> AsyncIterator[Any]:
    """A client of realtime_svc."""
    async with grpc.aio.insecure_channel(suite.realtime_target) as channel:
        yield realtime_pb2_grpc.RealtimeServiceStub(channel)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def subscribe(stub: Any, suite: RealtimeSuite, clinic: Clinic, resume_from: str = "", **claims: Any) -> Any:
    """An open Subscribe of the clinic's channel."""
    request = wire.SubscribeRequest(
        clinic_id=clinic.id, channels=[f"clinic:{clinic.id}"], resume_from=resume_from
    )
    return stub.Subscribe(request, metadata=bearer(suite.token(clinic_id=clinic.id, **claims)))


async def item(call: Any) -> wire.SubscribeResponse:
    async with asyncio.timeout(10):
        read: wire.SubscribeResponse = await call.read()
        return read


async def status(call: Any) -> grpc.StatusCode:
    """How a stream ends. Signs of life may come before that, and gRPC tells the end to who has read them."""
    async with asyncio.timeout(10):
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        code: grpc.StatusCode = await call.code()
        return code


async def test_subscribe_tells_a_position_then_messages_and_resumes(
    stub: Any, suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """Subscribe begins with its position, streams typed messages, and resumes from any of their ids."""
    call = subscribe(stub, suite, clinic)
    begun = await item(call)
    assert begun.WhichOneof("item") == "position"
    visits = [Visit(clinic) for _ in range(3)]
    for visit in visits:
        await events.publish(visit.event())
    told = [(await item(call)).message for _ in visits]
    call.cancel()
    assert [message.appointment.appointment_id for message in told] == [visit.id for visit in visits]
    again = subscribe(stub, suite, clinic, told[0].id)
    resumed = [(await item(again)).message.appointment.appointment_id for _ in visits[1:]]
    assert resumed == [visit.id for visit in visits[1:]]
    assert (await item(again)).position == told[-1].id
    again.cancel()


async def test_subscribe_keeps_out_who_may_not_listen(
    stub: Any, suite: RealtimeSuite, clinic: Clinic
) -> None:
    """No scope, another clinic, a channel of another clinic: each has its status."""
    assert await status(subscribe(stub, suite, clinic, scopes=())) is grpc.StatusCode.PERMISSION_DENIED
    stranger = Clinic()
    request = wire.SubscribeRequest(clinic_id=stranger.id, channels=[f"clinic:{stranger.id}"])
    metadata = bearer(suite.token(clinic_id=clinic.id))
    assert await status(stub.Subscribe(request, metadata=metadata)) is grpc.StatusCode.NOT_FOUND
    request = wire.SubscribeRequest(clinic_id=clinic.id, channels=[f"clinic:{stranger.id}"])
    assert await status(stub.Subscribe(request, metadata=metadata)) is grpc.StatusCode.NOT_FOUND


async def test_connect_is_for_the_installation_only(stub: Any, suite: RealtimeSuite, clinic: Clinic) -> None:
    """A clinic's token, whatever its role and scopes, does not open a gateway's stream."""
    token = suite.token(Role.ADMIN, clinic_id=clinic.id, scopes=("connect:realtime", "read:appointments"))
    call = stub.Connect(metadata=bearer(token))
    assert await status(call) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_malformed_user_ends_nobodys_stream(stub: Any, suite: RealtimeSuite, clinic: Clinic) -> None:
    """What a gateway reports of users with odd ids is left out; what it says besides is applied."""
    platform = suite.token(Role.PLATFORM, clinic_id="", scopes=("connect:realtime",), subject="gateway")
    call = stub.Connect(metadata=bearer(platform))
    users = [
        wire.PresentUser(clinic_id="my clinic", user_id="ann", connections=1),
        wire.PresentUser(clinic_id=clinic.id, user_id="", connections=1),
        wire.PresentUser(clinic_id=clinic.id, user_id="bob", connections=1),
    ]
    await call.write(wire.ConnectRequest(hello=wire.Hello(gateway_id=str(uuid4()), stream=1)))
    await call.write(wire.ConnectRequest(presence=wire.PresenceReport(users=users)))
    join = wire.Join(request_id=1, clinic_id=clinic.id, channels=[f"clinic:{clinic.id}"])
    await call.write(wire.ConnectRequest(join=join))
    async with asyncio.timeout(10):
        assert (await call.read()).joined.request_id == 1
    admin = suite.token(Role.ADMIN, clinic_id=clinic.id)

    async def is_bob_alone() -> bool:
        request = wire.GetPresenceRequest(clinic_id=clinic.id)
        found = await stub.GetPresence(request, metadata=bearer(admin))
        return [user.user_id for user in found.connected] == ["bob"]

    await wait_until_async(is_bob_alone, what="the user whose ids are good")
    call.cancel()


async def test_a_position_older_than_what_is_kept_is_answered_with_resync(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """After the stream has forgotten, a reader is told to fetch again, and then is live."""
    token = suite.token(clinic_id=clinic.id)
    old = await events.publish(Visit(clinic).event())
    last = [await events.publish(Visit(clinic).event()) for _ in range(3)][-1]
    async with joined(suite, token, f"clinic:{clinic.id}") as reader:
        await reader.say(type="ping")
        here = (await reader.hear("pong"))["metadata"]["sequence"]
    await events.purge(last)
    restart_realtime(suite)
    async with client(suite) as reader:
        position = here.replace(str(last), str(old - 1), 1)
        await reader.join(token, f"clinic:{clinic.id}", resume_from=position)
        assert [message["type"] for message in reader.received] == ["authenticated", "resync", "subscribed"]
        assert reader.received[1]["payload"]["reason"] == "position_expired"
        visit = Visit(clinic)
        await events.publish(visit.event())
        assert (await reader.hear())["payload"]["appointmentId"] == visit.id


def restart_realtime(suite: RealtimeSuite) -> None:
    """kill -9, and a fresh instance. On this thread: a child ends with the thread that started it."""
    suite.kill("realtime_svc")
    suite.restart("realtime_svc")
    suite.processes["realtime_svc"].wait_ready()


async def test_a_long_absence_is_read_from_the_stream(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """What has left the memory of a fresh instance is read from JetStream, in order and once."""
    token = suite.token(clinic_id=clinic.id)
    async with joined(suite, token, f"clinic:{clinic.id}") as reader:
        position = (reader.received[-1])["metadata"]["sequence"]
    visits = [Visit(clinic) for _ in range(30)]
    for visit in visits:
        await events.publish(visit.event())
        assert visit.last is not None
        await events.publish(visit.last, again=True)
    suite.settings["MEDFORALL_REALTIME_WARM_UP_RECORDS"] = "3"
    try:
        restart_realtime(suite)
        async with client(suite) as reader:
            await reader.join(token, f"clinic:{clinic.id}", resume_from=position)
            told = [m["payload"].get("appointmentId") for m in reader.received[1:-1]]
        assert told == [visit.id for visit in visits]
    finally:
        del suite.settings["MEDFORALL_REALTIME_WARM_UP_RECORDS"]


async def test_a_clinic_of_very_many_channels_goes_on_after_realtime_svc_was_killed(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """Two users join more channels than one `Join` may name; the stream that all clinics share stands again."""
    async with AsyncExitStack() as stack:
        for number in range(104):
            token = suite.token(clinic_id=clinic.id, subject=f"user-{number % 2}")
            names = [f"provider:{uuid4()}" for _ in range(99)]
            reader = await stack.enter_async_context(joined(suite, token, f"clinic:{clinic.id}", *names))
        other = Clinic()
        bystander = await stack.enter_async_context(
            joined(suite, suite.token(clinic_id=other.id), f"clinic:{other.id}")
        )
        suite.kill("realtime_svc")
        visits = [Visit(clinic), Visit(other)]
        for visit in visits:
            await events.publish(visit.event())
        restart_realtime(suite)
        for listener, visit in zip((reader, bystander), visits, strict=True):
            assert (await listener.hear(timeout_s=60))["payload"]["appointmentId"] == visit.id


async def test_streams_made_anew_tell_everybody_to_fetch_again(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """When JetStream's store is lost, connected and resuming readers get `resync`, then live messages."""
    token = suite.token(clinic_id=clinic.id)
    async with joined(suite, token, f"clinic:{clinic.id}") as reader:
        await events.publish(Visit(clinic).event())
        position = (await reader.hear())["metadata"]["sequence"]
        await events.remake()
        assert (await reader.hear("resync", timeout_s=40))["payload"]["reason"] == "streams_reset"
        visit = Visit(clinic)
        await events.publish(visit.event())
        assert (await reader.hear("appointment.created"))["payload"]["appointmentId"] == visit.id
    async with client(suite) as late:
        await late.join(token, f"clinic:{clinic.id}", resume_from=position)
        assert [m["type"] for m in late.received] == ["authenticated", "resync", "subscribed"]


async def test_presence_counts_connections_and_names_them_for_admins(
    suite: RealtimeSuite, clinic: Clinic, stub: Any
) -> None:
    """REST tells how many are connected; admins see who; a user who goes is gone."""
    channel = f"clinic:{clinic.id}"
    staff = suite.token(clinic_id=clinic.id, subject="ann")
    admin = suite.token(Role.ADMIN, clinic_id=clinic.id, subject="bob")

    async def presence(token: str) -> Any:
        async with httpx.AsyncClient(base_url=suite.http_url, trust_env=False) as http:
            headers = {"authorization": f"Bearer {token}"}
            return (await http.get(f"/v1/clinics/{clinic.id}/presence", headers=headers)).json()

    async def has(connections: int) -> bool:
        return bool((await presence(staff))["connections"] == connections)

    async with joined(suite, staff, channel), joined(suite, staff, channel), joined(suite, admin, channel):
        subscription = subscribe(stub, suite, clinic, subject="integration")
        await item(subscription)
        await wait_until_async(lambda: has(4), timeout_s=30, what="four connections")
        assert await presence(staff) == {"connections": 4, "users": 3, "connected": []}
        assert (await presence(admin))["connected"] == [
            {"userId": "ann", "connections": 2},
            {"userId": "bob", "connections": 1},
            {"userId": "integration", "connections": 1},
        ]
        subscription.cancel()
    await wait_until_async(lambda: has(0), what="nobody")


async def test_presence_is_right_after_realtime_svc_was_killed(
    suite: RealtimeSuite, clinic: Clinic, redis_url: str
) -> None:
    """A fresh instance hears of everybody again; what the dead one said ends by itself."""
    token = suite.token(Role.ADMIN, clinic_id=clinic.id)
    async with joined(suite, token, f"clinic:{clinic.id}"):
        restart_realtime(suite)

        async def is_one() -> bool:
            async with httpx.AsyncClient(base_url=suite.http_url, trust_env=False) as http:
                headers = {"authorization": f"Bearer {token}"}
                answer = await http.get(f"/v1/clinics/{clinic.id}/presence", headers=headers)
            return bool(answer.json().get("connections") == 1)

        await wait_until_async(is_one, what="one connection")
        async with redis.asyncio.from_url(redis_url) as client_:
            key = f"presence:{hash_tag(clinic.id)}"
            assert 0 < await client_.ttl(key) <= 90


async def test_a_revoked_token_is_shown_out_and_kept_out(
    suite: RealtimeSuite, clinic: Clinic, stub: Any, redis_url: str
) -> None:
    """A user who is shut out loses every open connection within a minute and gets no new one."""
    token = suite.token(clinic_id=clinic.id, subject="mallory")
    subscription = subscribe(stub, suite, clinic, subject="mallory")
    await item(subscription)
    async with joined(suite, token, f"clinic:{clinic.id}") as reader:
        await revoke(redis_url, clinic.id, "mallory")
        assert await closed(reader) == 4403
    assert await status(subscription) is grpc.StatusCode.UNAUTHENTICATED
    async with client(suite) as again:
        await again.say(type="authenticate", token=token)
        assert (await again.hear())["payload"]["error"] == "UNAUTHENTICATED"


async def revoke(redis_url: str, clinic_id: str, subject: str) -> None:
    """Shut a user out."""
    cache = AsyncCache(RedisSettings(url=redis_url), CircuitBreaker(failures_max=3, open_ms=1_000))
    try:
        await Revocations(cache).revoke_user(clinic_id, subject, 60)
    finally:
        await cache.stop()
