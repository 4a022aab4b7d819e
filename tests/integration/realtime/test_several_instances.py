"""Two gateways and two instances of realtime_svc: nobody notices which one serves, or that one of them ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis.auth.principal import Role
from tests.support.realtime import Client, Clinic, Events, RealtimeSuite, Visit, joined
from tests.support.waiting import wait_until_async

_ENDINGS: dict[str, Callable[[RealtimeSuite, str], None]] = {
    "killed": RealtimeSuite.kill,
    "drained": RealtimeSuite.end,
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[RealtimeSuite]:
    """Two of each."""
    made = RealtimeSuite(Path(tmp_path_factory.mktemp("several")), redis_url, instances=2, gateways=2)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
async def readers(suite: RealtimeSuite, clinic: Clinic) -> AsyncIterator[list[Client]]:
    """Two users at each gateway, who hear of one clinic."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                joined(
                    suite,
                    suite.token(Role.ADMIN, clinic_id=clinic.id, subject=f"user-{number}"),
                    f"clinic:{clinic.id}",
                    gateway=gateway,
                )
            )
            for number, gateway in enumerate(["gateway", "gateway", "gateway-2", "gateway-2"])
        ]


async def connected(suite: RealtimeSuite, clinic: Clinic) -> dict[str, int]:
    """User -> connections, as an admin is told."""
    token = suite.token(Role.ADMIN, clinic_id=clinic.id)
    async with httpx.AsyncClient(base_url=suite.http_url, trust_env=False) as http:
        headers = {"authorization": f"Bearer {token}"}
        answer = await http.get(f"/v1/clinics/{clinic.id}/presence", headers=headers)
    return {user["userId"]: user["connections"] for user in answer.json().get("connected", ())}


async def told(reader: Client, count: int) -> list[str]:
    """The next `count` event ids."""
    found: list[Any] = []
    while len(found) < count:
        message = await reader.hear(timeout_s=30)
        assert message["type"].startswith("appointment."), message
        found.append(message["metadata"]["eventId"])
    return found


async def test_presence_is_the_sum_of_both_gateways(
    suite: RealtimeSuite, clinic: Clinic, readers: list[Client]
) -> None:
    """Users of both gateways are counted together, wherever one asks, and those who go are gone."""

    async def has(*users: int) -> bool:
        return await connected(suite, clinic) == {f"user-{number}": 1 for number in users}

    await wait_until_async(lambda: has(0, 1, 2, 3), what="four users")
    await readers[2].connection.close()
    await wait_until_async(lambda: has(0, 1, 3), what="three users")


@pytest.mark.slow
@pytest.mark.parametrize("ending", sorted(_ENDINGS))
async def test_one_realtime_svc_ends_and_the_other_serves(
    suite: RealtimeSuite, events: Events, clinic: Clinic, readers: list[Client], ending: str
) -> None:
    """Whichever of both ends, open connections hear everything, in order, once, and presence stays right."""
    published: list[str] = []

    async def publish(count: int) -> None:
        for _ in range(count):
            event = Visit(clinic).event()
            await events.publish(event)
            published.append(event.event_id)

    everybody = {f"user-{number}": 1 for number in range(4)}

    async def all_are_there() -> bool:
        return await connected(suite, clinic) == everybody

    await publish(5)
    # Each ends in turn, so that both gateways have to move at least once.
    for name in suite.realtime_targets:
        _ENDINGS[ending](suite, name)
        await publish(10)
        await wait_until_async(all_are_there, timeout_s=20, what="everybody at the other instance")
        suite.restart(name)
        suite.processes[name].wait_ready()
        await publish(5)
    await publish(5)
    for reader in readers:
        assert await told(reader, len(published)) == published
    assert await connected(suite, clinic) == everybody
