"""Rate limits hold through HTTP, over instances, without Redis, and against forged addresses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from google.protobuf.message import Message
from grpc.aio import Metadata
from medforall.booking.v1 import booking_pb2
from medforall.directory.v1 import directory_pb2
from prometheus_client import Counter
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from chassis.auth.principal import Principal, Role
from chassis.cache import AsyncCache, build_breaker
from chassis.config import Rate
from chassis.settings import RedisSettings
from gateway.clinics import ClinicLimits
from gateway.rate_limit import LocalBuckets
from gateway.redis_buckets import RedisBuckets
from tests.integration.gateway.conftest import APPOINTMENT, CLINIC, OTHER_CLINIC, Services, StartGateway
from tests.support.waiting import wait_until_async

PATH = f"/v1/clinics/{CLINIC}/appointments/{APPOINTMENT}:cancel"
NOWHERE = "redis://127.0.0.1:1/0"
# The usual bursts, which nearly nothing refills: how long the calls take decides nothing.
SLOW = {
    "MEDFORALL_RATE_LIMIT": "on",
    "MEDFORALL_RATE_BOOKING": "1/40",
    "MEDFORALL_RATE_ANONYMOUS_AVAILABILITY": "1/20",
    "MEDFORALL_RATE_ANONYMOUS_READ": "1/60",
}


def authorization(token: Callable[..., str]) -> dict[str, str]:
    """The header of a user whom no other test knows."""
    return {"authorization": f"Bearer {token(subject=str(uuid4()))}"}


async def statuses(clients: list[httpx.AsyncClient], times: int, headers: dict[str, str]) -> list[int]:
    """The statuses of `times` calls, spread over the gateways."""
    calls = [clients[index % len(clients)].post(PATH, headers=headers) for index in range(times)]
    return [answer.status_code for answer in await asyncio.gather(*calls)]


async def test_two_instances_share_their_buckets(
    start_gateway: StartGateway, services: Services, token: Callable[..., str]
) -> None:
    """A user's burst of 40 is 40 over all gateways together, within five per cent, at ten times the burst."""
    services.answers("CancelAppointment", booking_pb2.CancelAppointmentResponse())
    gateways = [await start_gateway(**SLOW) for _ in range(2)]
    answers = await statuses(gateways, 400, authorization(token))
    assert 40 <= answers.count(200) <= 42
    assert answers.count(429) == 400 - answers.count(200)


async def test_the_429_is_the_seed_s(start_gateway: StartGateway, token: Callable[..., str]) -> None:
    """Every answer carries the rate headers; the refusal has the seed's body and Retry-After."""
    client = await start_gateway(MEDFORALL_RATE_LIMIT="on")
    headers = authorization(token)
    first = await client.post(PATH, headers=headers)
    assert first.status_code == 501
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("20", "39")
    await statuses([client], 45, headers)
    refused = await client.post(PATH, headers=headers)
    body = refused.json()
    assert refused.status_code == 429
    assert body["error"] == "RATE_LIMIT_EXCEEDED"
    assert (body["limit"], body["window"]) == (20, "1 minute")
    assert str(body["retryAfter"]) == refused.headers["retry-after"]
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert body["requestId"] == refused.headers["x-request-id"]


async def test_limits_hold_without_redis(
    start_gateway: StartGateway, services: Services, token: Callable[..., str]
) -> None:
    """While Redis is away each instance counts for itself: no open door, no 500."""
    services.answers("CancelAppointment", booking_pb2.CancelAppointmentResponse())
    client = await start_gateway(**SLOW, MEDFORALL_REDIS_URL=NOWHERE)
    answers = await statuses([client], 120, authorization(token))
    assert 40 <= answers.count(200) <= 42
    assert set(answers) == {200, 429}


async def test_redis_s_return_is_no_fresh_burst(redis_url: str) -> None:
    """An answer of Redis that comes after this instance gave out its burst alone admits nobody."""
    settings = RedisSettings(url=redis_url, timeout_ms=10_000, connect_timeout_ms=10_000)
    cache = AsyncCache(settings, build_breaker(settings))
    local = LocalBuckets(10, now_s=lambda: 0.0)
    buckets = RedisBuckets(cache, local, Counter("fallbacks", "Not read here.", registry=None))
    wanted = [(f"rate:{uuid4()}", Rate(1, 3))]
    late = asyncio.create_task(buckets.take(wanted))
    await asyncio.sleep(0)  # it has looked at its instance's bucket, and waits for Redis
    for _ in range(3):
        (alone,) = await local.take(wanted)
        assert alone.is_admitted
    (state,) = await late
    await cache.stop()
    assert not state.is_admitted


async def test_a_forged_address_buys_nothing(start_gateway: StartGateway) -> None:
    """X-Forwarded-For of an unknown peer is not believed: without a token the real address counts."""
    client = await start_gateway(**SLOW, MEDFORALL_REDIS_URL=NOWHERE)
    del client.headers["authorization"]
    path = f"/v1/clinics/{CLINIC}/availability"
    answers = [
        (await client.get(path, headers={"X-Forwarded-For": f"10.0.0.{index}"})).status_code
        for index in range(30)
    ]
    assert answers.count(429) >= 9


async def test_a_trusted_proxy_s_address_is_believed(start_gateway: StartGateway) -> None:
    """From a configured proxy the last untrusted address counts, not what the client wrote before it."""
    client = await start_gateway(
        **SLOW,
        MEDFORALL_REDIS_URL=NOWHERE,
        MEDFORALL_TRUSTED_PROXIES="127.0.0.0/8,10.9.0.0/16",
    )
    del client.headers["authorization"]
    path = f"/v1/clinics/{CLINIC}/availability"

    async def ask(forwarded: str) -> int:
        return (await client.get(path, headers={"X-Forwarded-For": forwarded})).status_code

    own = [await ask(f"1.2.3.{index}, 203.0.113.7, 10.9.1.1") for index in range(25)]
    assert own.count(429) >= 4
    assert await ask("203.0.113.8") != 429


async def test_a_clinic_s_own_limit_is_learnt(
    start_gateway: StartGateway, services: Services, token: Callable[..., str]
) -> None:
    """A clinic is held to its own limit over all of its users, though none of them may read the directory."""
    services.answers("GetClinicLimits", directory_pb2.GetClinicLimitsResponse(requests_per_minute=30))
    services.answers("CancelAppointment", booking_pb2.CancelAppointmentResponse())
    client = await start_gateway(MEDFORALL_RATE_LIMIT="on", MEDFORALL_REDIS_URL=NOWHERE)

    def user() -> dict[str, str]:
        return {
            "authorization": f"Bearer {token(subject=str(uuid4()), role=Role.PATIENT, scopes=['write:appointments'])}"
        }

    await client.post(PATH, headers=user())

    async def is_known() -> bool:
        return bool(services.asked("GetClinicLimits"))

    await wait_until_async(is_known, what="the clinic's limits to be asked for")
    groups = await asyncio.gather(*(statuses([client], 15, user()) for _ in range(4)))
    assert 29 <= [status for group in groups for status in group].count(200) <= 32


async def test_a_changed_limit_holds_soon() -> None:
    """What a clinic's limit became is asked for again after ten seconds, beside the next call."""
    now = [0.0]
    limits = [30]

    async def ask(request: Message, timeout_s: float, metadata: Metadata) -> bytes:
        return directory_pb2.GetClinicLimitsResponse(requests_per_minute=limits[0]).SerializeToString()

    clinics = ClinicLimits(ask, default_per_min=5_000, now_s=lambda: now[0])
    caller = Principal(subject="u", role=Role.PATIENT, clinic_id=CLINIC)
    for now[0], limits[0] in ((0.0, 30), (11.0, 40)):
        clinics.learn(caller, "Bearer x")
        await wait_until_async(lambda: _is(clinics.per_min(CLINIC), limits[0]), what="the limit to be known")
    await clinics.stop()


async def _is(value: int, wanted: int) -> bool:
    return value == wanted


async def test_guessing_tokens_is_limited(start_gateway: StartGateway, token: Callable[..., str]) -> None:
    """Bad tokens count by their address, with rate headers, until they are 429; nobody else's calls feel it.

    A token that has only ended is always told so: everybody behind one address may need another at the same moment.
    """
    client = await start_gateway(**SLOW, MEDFORALL_REDIS_URL=NOWHERE)
    bad = {"authorization": "Bearer eyJ.bad.token"}
    answers = [await client.get(f"/v1/clinics/{CLINIC}", headers=bad) for _ in range(70)]
    codes = [answer.status_code for answer in answers]
    assert codes[:60] == [401] * 60
    assert codes.count(429) >= 8
    assert all("x-ratelimit-remaining" in answer.headers for answer in answers)
    ended = {"authorization": f"Bearer {token(iat=int(time.time()) - 900, exp=int(time.time()) - 300)}"}
    assert [(await client.get(f"/v1/clinics/{CLINIC}", headers=ended)).status_code for _ in range(3)] == [
        401
    ] * 3
    assert (await client.get("/v1/nothing")).status_code == 404
    assert (await client.get(f"/v1/clinics/{CLINIC}")).status_code == 501


async def test_unknown_addresses_say_the_rate(start_gateway: StartGateway) -> None:
    """404 of an unknown address and 405 carry the rate headers of their address."""
    client = await start_gateway(**SLOW, MEDFORALL_REDIS_URL=NOWHERE)
    unknown = await client.get("/v1/nothing")
    other = await client.delete(f"/v1/clinics/{CLINIC}/appointments")
    assert (unknown.status_code, unknown.headers["x-ratelimit-remaining"]) == (404, "59")
    assert (other.status_code, other.headers["x-ratelimit-remaining"]) == (405, "58")
    assert other.headers["allow"] == "GET, POST, HEAD"


async def test_opening_streams_counts(start_gateway: StartGateway, token: Callable[..., str]) -> None:
    """A stream takes a token of its user, refused ones of their address."""
    client = await start_gateway(
        MEDFORALL_RATE_LIMIT="on", MEDFORALL_REDIS_URL=NOWHERE, MEDFORALL_RATE_READ="1/2"
    )
    headers = authorization(token)
    answers = [
        await client.get(f"/v1/realtime/sse?clinicId={OTHER_CLINIC}", headers=headers) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    address = f"ws://127.0.0.1:{client.base_url.port}/v1/realtime/ws"
    async with connect(address) as connection:
        text = headers["authorization"].removeprefix("Bearer ")
        await connection.send(json.dumps({"type": "authenticate", "token": text}))
        assert json.loads(await connection.recv())["payload"]["error"] == "RATE_LIMIT_EXCEEDED"
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
