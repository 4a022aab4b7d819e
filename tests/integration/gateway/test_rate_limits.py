"""Rate limits hold through HTTP, over instances, without Redis, and against forged addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import httpx
from medforall.booking.v1 import booking_pb2
from medforall.directory.v1 import directory_pb2

from tests.integration.gateway.conftest import APPOINTMENT, CLINIC, Services, StartGateway

PATH = f"/v1/clinics/{CLINIC}/appointments/{APPOINTMENT}:cancel"
NOWHERE = "redis://127.0.0.1:1/0"


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
    gateways = [await start_gateway(MEDFORALL_RATE_LIMIT="on") for _ in range(2)]
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
    client = await start_gateway(MEDFORALL_RATE_LIMIT="on", MEDFORALL_REDIS_URL=NOWHERE)
    answers = await statuses([client], 120, authorization(token))
    assert 40 <= answers.count(200) <= 42
    assert set(answers) == {200, 429}


async def test_a_forged_address_buys_nothing(start_gateway: StartGateway) -> None:
    """X-Forwarded-For of an unknown peer is not believed: without a token the real address counts."""
    client = await start_gateway(MEDFORALL_RATE_LIMIT="on", MEDFORALL_REDIS_URL=NOWHERE)
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
        MEDFORALL_RATE_LIMIT="on",
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
    """A clinic with a limit of its own in the directory is held to it, over all of its users."""
    clinic = directory_pb2.GetClinicResponse()
    clinic.clinic.requests_per_minute = 30
    services.answers("GetClinic", clinic)
    services.answers("CancelAppointment", booking_pb2.CancelAppointmentResponse())
    client = await start_gateway(MEDFORALL_RATE_LIMIT="on", MEDFORALL_REDIS_URL=NOWHERE)
    await client.post(PATH, headers=authorization(token))
    while not services.asked("GetClinic"):  # noqa: ASYNC110 - the lookup runs beside the call
        await asyncio.sleep(0.01)
    answers = [status for _ in range(4) for status in await statuses([client], 15, authorization(token))]
    assert 29 <= answers.count(200) <= 32
