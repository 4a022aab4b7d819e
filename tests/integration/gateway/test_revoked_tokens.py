"""Tokens that were shut out before they end, over REST."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from medforall.booking.v1 import booking_pb2

from chassis.auth.revocations import Revocations
from chassis.cache import AsyncCache, build_breaker
from chassis.settings import RedisSettings
from tests.integration.gateway.conftest import CLINIC, PATH, Services, StartGateway
from tests.support.waiting import wait_until_async


@pytest.fixture
async def revocations(redis_url: str) -> AsyncIterator[Revocations]:
    """What an operator's command writes to."""
    settings = RedisSettings(url=redis_url)
    cache = AsyncCache(settings, build_breaker(settings))
    yield Revocations(cache)
    await cache.stop()


async def test_a_revoked_token_is_refused(
    start_gateway: StartGateway, services: Services, revocations: Revocations, token: Callable[..., str]
) -> None:
    """A token that was served is 401 after it is revoked, without the service being asked; another one is served."""
    client = await start_gateway(MEDFORALL_REVOCATIONS_REFRESH_MS="50")
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse())
    stolen = {"authorization": f"Bearer {token(jti='stolen')}"}

    async def get(headers: dict[str, str]) -> httpx.Response:
        return await client.get(PATH, headers=headers)

    assert (await get(stolen)).status_code == 200
    await revocations.revoke_token("stolen", 60)

    async def is_refused() -> bool:
        return (await get(stolen)).status_code == 401

    await wait_until_async(is_refused, what="the token's refusal")
    asked = len(services.calls)
    answer = await get(stolen)
    assert (answer.json()["error"], answer.headers["www-authenticate"][:6]) == ("UNAUTHENTICATED", "Bearer")
    assert len(services.calls) == asked
    assert (await get({"authorization": f"Bearer {token(jti='other')}"})).status_code == 200


async def test_a_revoked_user_is_refused_until_restored(
    start_gateway: StartGateway, services: Services, revocations: Revocations, token: Callable[..., str]
) -> None:
    """Every token of a user is refused, even one signed afterwards, until the user is let in again."""
    await revocations.revoke_user(CLINIC, "mallory", 60)
    client = await start_gateway(MEDFORALL_REVOCATIONS_REFRESH_MS="50")
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse())
    headers = {"authorization": f"Bearer {token(subject='mallory')}"}
    assert (await client.get(PATH, headers=headers)).status_code == 401
    await revocations.restore_user(CLINIC, "mallory")

    async def is_served() -> bool:
        return (await client.get(PATH, headers=headers)).status_code == 200

    await wait_until_async(is_served, what="the user's return")
