"""What is acknowledged survives, what is not leaves nothing half done: kill -9 at every place that matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import nats
import psycopg
import pytest
from medforall.events.v1 import events_pb2

from tests.support.booking import (
    BookingProcess,
    Client,
    Keys,
    booking_processes,
    code_of,
    environment_of,
    outcome,
)
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.invariants import invariants, query
from tests.support.practice import at, new_id, new_practice
from tests.support.servers import Servers
from tests.support.waiting import wait_until_async


class Scene:
    """One booking process with a clinic, which a test kills and starts again."""

    def __init__(
        self, database: MigratedDatabase, keys: Keys, process: BookingProcess, nats_url: str
    ) -> None:
        self.database, self.keys, self.process, self.nats_url = database, keys, process, nats_url
        self.practice = new_practice(database, rooms=2)

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


async def test_a_crash_after_commit_keeps_the_booking(scene: Scene, client: Client) -> None:
    """Killed between COMMIT and reply: the same key gives the booking again, once, and its event arrives."""
    scene.arm("booking.after_commit=kill")
    key = new_id()
    with pytest.raises(grpc.aio.AioRpcError) as lost:
        await client.create(at(9), idempotency_key=key)
    assert code_of(lost.value) == "UNAVAILABLE"
    scene.process.restart(MEDFORALL_FAILPOINTS="")
    again = await client.create(at(9), idempotency_key=key, timeout_s=20)
    assert again.replayed
    assert query(scene.database.owner_url, "SELECT count(*) FROM appointment") == [(1,)]
    events = await scene.delivered(1)
    assert [event.aggregate_id for event in events] == [again.appointment.id]
    invariants(scene.database)


async def test_a_crash_before_commit_leaves_nothing(scene: Scene, client: Client) -> None:
    """Killed inside the transaction: no row of it is left, and the key works as if it had never been used."""
    scene.arm("booking.before_commit=kill")
    key = new_id()
    with pytest.raises(grpc.aio.AioRpcError):
        await client.create(at(9), idempotency_key=key)
    for table in (
        "appointment",
        "appointment_ref",
        "claim",
        "outbox_event",
        "idempotency_key",
        "audit_event",
    ):
        assert query(scene.database.owner_url, f"SELECT count(*) FROM {table}") == [(0,)], table
    scene.process.restart(MEDFORALL_FAILPOINTS="")
    created = await client.create(at(9), idempotency_key=key, timeout_s=20)
    assert not created.replayed
    invariants(scene.database)


async def test_a_relay_killed_after_publishing_publishes_once(scene: Scene, client: Client) -> None:
    """Killed between the acknowledgement and the mark: published again, and stored once by the message's id."""
    scene.arm("relay.published=kill")
    visit = await outcome(client.create(at(9)))
    assert visit in ("OK", "UNAVAILABLE")
    scene.process.popen.wait(20)
    sql = "SELECT count(*) FROM outbox_event WHERE published_at IS NULL"
    assert query(scene.database.owner_url, sql) == [(1,)]
    scene.process.restart(MEDFORALL_FAILPOINTS="")

    async def published() -> bool:
        return query(scene.database.owner_url, sql) == [(0,)]

    await wait_until_async(published, timeout_s=15, what="the relay")
    await client.create(at(11), patient=1, timeout_s=20)
    events = await scene.delivered(2)
    assert len({event.event_id for event in events}) == 2


async def test_terminated_backends_are_survived(scene: Scene, client: Client) -> None:
    """Backends that are ended at random cost no acknowledged booking, and no caller hears INTERNAL."""
    stop = asyncio.Event()
    heard: list[str] = []

    async def book(lane: int) -> None:
        hour = 0
        while not stop.is_set() and hour < 24:
            heard.append(await outcome(client.create(at(hour, 30 * lane), patient=lane, timeout_s=15)))
            hour += 1

    async def terminate() -> None:
        sql = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'booking_svc'"""
        for _ in range(8):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(query, scene.database.owner_url, sql)
        stop.set()

    await asyncio.gather(book(0), book(1), terminate())
    assert "OK" in heard
    assert set(heard) <= {"OK", "UNAVAILABLE UNAVAILABLE", "ALREADY_EXISTS SLOT_ALREADY_BOOKED"}, heard
    booked = query(scene.database.owner_url, "SELECT count(*) FROM appointment")[0][0]
    assert booked >= heard.count("OK")
    assert await outcome(client.create(at(23, 0), patient=2)) in ("OK", "ALREADY_EXISTS SLOT_ALREADY_BOOKED")
    invariants(scene.database)


async def test_a_slow_writer_loses_no_event(scene: Scene, client: Client) -> None:
    """An event whose transaction began first and commits last is published too, and others do not wait for it."""
    await client.create(at(9))
    with psycopg.connect(scene.database.owner_url) as owner:
        owner.execute(
            """INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version,
                   event_type, payload) VALUES (%s, %s, 'appointment', %s, 1, 'appointment.created', '')""",
            (new_id(), scene.practice.clinic, new_id()),
        )
        later = (await client.create(at(11), patient=1)).appointment
        events = await scene.delivered(2)
        assert events[1].aggregate_id == later.id
    events = await scene.delivered(3)
    assert events[2].event_id == "", "the late one, whose payload is empty here"


async def test_a_poison_event_is_parked_and_the_others_flow(scene: Scene, client: Client) -> None:
    """What NATS refuses is parked with its aggregate behind it; other aggregates flow, and it can be re-driven."""
    scene.process.stop()
    scene.process.restart(MEDFORALL_RELAY_ATTEMPTS_MAX="2")
    poisoned, sql = new_id(), "SELECT count(*) FROM outbox_event WHERE parked_at IS NOT NULL"
    with psycopg.connect(scene.database.owner_url) as owner:
        for version, payload in ((1, b"x" * 1_100_000), (2, b"")):
            owner.execute(
                """INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version,
                       event_type, payload) VALUES (%s, %s, 'appointment', %s, %s, 'appointment.updated', %s)""",
                (new_id(), scene.practice.clinic, poisoned, version, payload),
            )

    async def parked() -> bool:
        return query(scene.database.owner_url, sql) == [(1,)]

    await wait_until_async(parked, timeout_s=15, what="the event to be parked")
    visit = (await client.create(at(9))).appointment
    events = await scene.delivered(1)
    assert [event.aggregate_id for event in events] == [visit.id]
    waiting = query(
        scene.database.owner_url,
        "SELECT aggregate_version FROM outbox_event WHERE aggregate_id = %s AND published_at IS NULL ORDER BY id",
        poisoned,
    )
    assert waiting == [(1,), (2,)]
