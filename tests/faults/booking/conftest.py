"""A booking process with a clinic, for a test that breaks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from medforall.events.v1 import events_pb2

from tests.support.booking import BookingProcess, Client, Keys, booking_processes, environment_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import new_practice
from tests.support.servers import Servers


class Scene:
    """One booking process with a clinic, which a test kills and starts again."""

    def __init__(
        self, database: MigratedDatabase, keys: Keys, process: BookingProcess, nats_url: str
    ) -> None:
        self.database, self.keys, self.process, self.nats_url = database, keys, process, nats_url
        self.practice = new_practice(database, providers=2, rooms=2)

    def client(self) -> Client:
        return Client([self.process.target], self.practice, self.keys.token(self.practice.clinic))

    def arm(self, fail_points: str) -> None:
        """Restart the process with these fail points."""
        self.process.stop()
        self.process.restart(MEDFORALL_FAILPOINTS=fail_points)

    async def delivered(self, count: int) -> list[events_pb2.Event]:
        """The clinic's events on the stream, once there are `count`."""
        connection = await nats.connect(self.nats_url)
        events: list[events_pb2.Event] = []
        try:
            subject = f"medforall.appointment.{self.practice.clinic}.>"
            subscription = await connection.jetstream().subscribe(subject, ordered_consumer=True)
            while len(events) < count:
                message = await subscription.next_msg(timeout=10)
                events.append(events_pb2.Event.FromString(message.data))
        finally:
            await connection.close()
        return events


@pytest.fixture
def scene(servers: Servers, tmp_path: Path) -> Iterator[Scene]:
    keys = Keys(tmp_path / "keys")
    with migrated_database(servers.postgres_url) as database:
        environment = environment_of(database, keys, servers.nats_url)
        with booking_processes(environment, tmp_path) as (process,):
            yield Scene(database, keys, process, servers.nats_url)


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[Client]:
    made = scene.client()
    yield made
    await made.close()
