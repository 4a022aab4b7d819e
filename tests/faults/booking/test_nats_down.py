"""NATS goes away under load: bookings do not notice, and their events are all told when it is back."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import nats
from medforall.events.v1 import events_pb2

from ctl.embedded import EmbeddedNats, start_server
from ctl.ports import free_port
from tests.faults.booking.load import Load
from tests.support.booking import BookingProcess, Client, Keys, booking_processes, environment_of
from tests.support.databases import migrated_database
from tests.support.invariants import invariants, query
from tests.support.practice import new_practice
from tests.support.servers import Servers
from tests.support.waiting import wait_until_async

UNPUBLISHED = "SELECT count(*) FROM outbox_event WHERE published_at IS NULL"
DRAINED_S_MAX = 30.0


async def told_versions(nats_url: str, clinic: str, count: int) -> dict[str, list[int]]:
    """The versions of each appointment in the order in which the stream has them."""
    found: dict[str, list[int]] = defaultdict(list)
    connection = await nats.connect(nats_url)
    try:
        subject = f"medforall.appointment.{clinic}.>"
        subscription = await connection.jetstream().subscribe(subject, ordered_consumer=True)
        for _ in range(count):
            event = events_pb2.Event.FromString((await subscription.next_msg(timeout=10)).data)
            found[event.aggregate_id].append(event.aggregate_version)
    finally:
        await connection.close()
    return found


def waiting_events(process: BookingProcess) -> float:
    """What the process says of its outbox."""
    found = re.search(r"^outbox_unpublished_events (\S+)", process.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_bookings_go_on_without_nats(servers: Servers, tmp_path: Path) -> None:
    """T16: while NATS is down every booking succeeds and the lag shows; then the outbox drains, in order."""
    spec = EmbeddedNats(
        tmp_path / "nats",
        port=free_port(),
        monitor_port=free_port(),
        password="fault",
        log_path=tmp_path / "nats.log",
    )
    keys, server = Keys(tmp_path / "keys"), start_server(spec)
    try:
        with migrated_database(servers.postgres_url) as database:
            environment = environment_of(database, keys, spec.url)
            with booking_processes(environment, tmp_path) as (process,):
                practice = new_practice(database, providers=3, rooms=3, patients=3)
                client = Client([process.target], practice, keys.token(practice.clinic))
                async with Load(client, lanes=3) as load:
                    await load.more(10)
                    server.kill()
                    await load.more(40)
                for visit in load.acknowledged[-20:]:
                    await client.call("CancelAppointment", appointment_id=visit)
                assert set(load.heard) == {"OK"}
                assert query(database.owner_url, UNPUBLISHED)[0][0] >= 60

                async def lag_shows() -> bool:
                    return waiting_events(process) >= 60

                async def drained() -> bool:
                    return query(database.owner_url, UNPUBLISHED) == [(0,)]

                await wait_until_async(lag_shows, timeout_s=20, what="the gauge of waiting events")
                server = start_server(spec)
                await wait_until_async(drained, timeout_s=DRAINED_S_MAX, what="the outbox to drain")
                await client.close()
                told = await told_versions(spec.url, practice.clinic, len(load.acknowledged) + 20)
                invariants(database)
    finally:
        server.stop()
    canceled = set(load.acknowledged[-20:])
    assert told == {visit: [1, 2] if visit in canceled else [1] for visit in load.acknowledged}
