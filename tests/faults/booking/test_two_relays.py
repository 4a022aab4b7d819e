"""Two processes, one outbox; and a reply that comes too late."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import grpc.aio
import nats
import psycopg
import pytest
from medforall.events.v1 import events_pb2

from booking_svc.outbox.queue import Backlog, OutboxEvent, OutboxQueue
from booking_svc.outbox.relay import Relay, RelayLimits
from booking_svc.outbox.wakeup import Wakeup
from chassis.bus import Bus
from chassis.settings import NatsSettings
from chassis.streams import STREAMS
from database.pipeline import Connection
from tests.support.booking import Client, Keys, booking_processes, code_of, environment_of
from tests.support.databases import migrated_database
from tests.support.invariants import invariants, query
from tests.support.practice import at, new_id, new_practice
from tests.support.servers import Servers
from tests.support.waiting import wait_until_async

VISITS = 36  # half of them are enough for a batch
UNPUBLISHED = "SELECT count(*) FROM outbox_event WHERE published_at IS NULL"


async def stored_events(nats_url: str, clinic: str, count: int) -> list[events_pb2.Event]:
    """What the stream holds of a clinic, in its order, once there are `count`; and whatever came after them."""
    connection = await nats.connect(nats_url)
    try:
        subject = f"medforall.appointment.{clinic}.>"
        subscription = await connection.jetstream().subscribe(subject, ordered_consumer=True)
        found = [(await subscription.next_msg(timeout=20)).data for _ in range(count)]
        with pytest.raises(nats.errors.TimeoutError):
            await subscription.next_msg(timeout=1)
        return [events_pb2.Event.FromString(data) for data in found]
    finally:
        await connection.close()


async def test_two_relays_publish_each_event_once_and_in_order(servers: Servers, tmp_path: Path) -> None:
    """T10: the other relay takes over from one that is killed: every event once, each visit's in order."""
    keys = Keys(tmp_path / "keys")
    with migrated_database(servers.postgres_url) as database:
        environment = environment_of(database, keys, servers.nats_url)
        with booking_processes(environment, tmp_path, 2) as processes:
            practice = new_practice(database)
            token = keys.token(practice.clinic)
            first, second = (Client([process.target], practice, token) for process in processes)
            visits = [
                (await (first, second)[n % 2].create(start_of(n), patient=n % 10)).appointment.id
                for n in range(VISITS // 2)
            ]
            processes[0].popen.kill()
            visits += [
                (await second.create(start_of(n), patient=n % 10)).appointment.id
                for n in range(VISITS // 2, VISITS)
            ]
            for visit in visits:
                await second.call("CancelAppointment", appointment_id=visit)

            async def all_out() -> bool:
                return query(database.owner_url, UNPUBLISHED) == [(0,)]

            await wait_until_async(all_out, timeout_s=30, what="the other relay")
            events = await stored_events(servers.nats_url, practice.clinic, 2 * VISITS)
            await first.close()
            await second.close()
            invariants(database)
    versions: dict[str, list[int]] = defaultdict(list)
    for event in events:
        versions[event.aggregate_id].append(event.aggregate_version)
    assert versions == {visit: [1, 2] for visit in visits}


def start_of(number: int) -> str:
    """A start for each of the visits."""
    return at(number % 24, number // 24 * 30)


class Watched:
    """A relay on the test's servers, which stops at a fail point until it is let go."""

    def __init__(self, url: str, bus: Bus, stops_at: str) -> None:
        self.stops_at = stops_at
        self.has_stopped, self.goes_on = asyncio.Event(), asyncio.Event()
        self.marked: list[int] = []
        self._url = url
        self.relay = Relay(self._connect, bus, Wakeup(), self, limits=RelayLimits(), fail_point=self._at)

    async def publish(self) -> int:
        """Publish one batch; how many events were in it."""
        connection = await self._connect()
        try:
            return await self.relay.publish_next(OutboxQueue(connection))
        finally:
            await connection.close()

    async def _at(self, place: str) -> None:
        if place == self.stops_at:
            self.has_stopped.set()
            await self.goes_on.wait()

    async def _connect(self) -> Connection:
        return Connection(await psycopg.AsyncConnection.connect(self._url, autocommit=True))

    def published(self, events: Sequence[OutboxEvent]) -> None:
        self.marked += [event.id for event in events]

    def parked(self, event: OutboxEvent) -> None:
        raise AssertionError(f"{event.event_id} was parked")

    def backlog(self, backlog: Backlog) -> None: ...


async def test_a_relay_that_was_paused_goes_on_while_another_works(servers: Servers, tmp_path: Path) -> None:
    """T10: one relay has read a batch when it loses its lease, and publishes it later, while its successor publishes.

    Everything that the late one sends the stream has already, so each event is stored once and each visit's in order.
    """
    keys = Keys(tmp_path / "keys")
    with migrated_database(servers.postgres_url) as database:
        environment = environment_of(database, keys, servers.nats_url)
        environment["MEDFORALL_RELAY_ENABLED"] = "false"
        with booking_processes(environment, tmp_path) as (process,):
            practice = new_practice(database)
            client = Client([process.target], practice, keys.token(practice.clinic))
            bus = Bus(NatsSettings(url=servers.nats_url), client_name="test relays")
            await bus.start()
            await bus.ensure_streams(STREAMS)
            late = Watched(database.worker_url, bus, "relay.read")
            successor = Watched(database.worker_url, bus, "relay.published")
            visits = [
                (await client.create(start_of(n), patient=n % 10)).appointment.id for n in range(VISITS // 2)
            ]
            late_batch = asyncio.create_task(late.publish())
            await late.has_stopped.wait()
            for visit in visits:
                await client.call("CancelAppointment", appointment_id=visit)
            batch = asyncio.create_task(successor.publish())
            await successor.has_stopped.wait()
            # The successor's first wave is out and not marked: now both are at work.
            late.goes_on.set()
            assert await late_batch == VISITS // 2
            assert not batch.done()
            successor.goes_on.set()
            assert await batch == VISITS
            assert query(database.owner_url, UNPUBLISHED) == [(0,)]
            assert len(late.marked) == VISITS // 2
            assert await late.publish() == await successor.publish() == 0
            events = await stored_events(servers.nats_url, practice.clinic, VISITS)
            await client.close()
            await bus.stop()
    versions: dict[str, list[int]] = defaultdict(list)
    for event in events:
        versions[event.aggregate_id].append(event.aggregate_version)
    assert versions == {visit: [1, 2] for visit in visits}
    assert len({event.event_id for event in events}) == VISITS


async def test_a_reply_that_comes_too_late_is_given_again(servers: Servers, tmp_path: Path) -> None:
    """T07: held up after COMMIT until the client gives up and asks again with its key: one booking, the same id."""
    keys = Keys(tmp_path / "keys")
    with migrated_database(servers.postgres_url) as database:
        environment = environment_of(database, keys, servers.nats_url)
        environment["MEDFORALL_FAILPOINTS"] = "booking.after_commit=sleep:2000"
        with booking_processes(environment, tmp_path) as (process,):
            practice = new_practice(database)
            client = Client([process.target], practice, keys.token(practice.clinic))
            key = new_id()
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await client.create(at(9), idempotency_key=key, timeout_s=1.5)
            assert code_of(late.value) == "DEADLINE_EXCEEDED"
            again = await client.create(at(9), idempotency_key=key, timeout_s=20)
            await client.close()
            assert again.replayed
            assert query(database.owner_url, "SELECT id::text FROM appointment") == [(again.appointment.id,)]
            invariants(database)
