"""PostgreSQL is killed under load and comes back: nothing acknowledged is lost, and nobody hears INTERNAL."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from ctl.embedded import EmbeddedPostgres, start_server
from ctl.ports import free_port
from tests.support.booking import Client, Keys, booking_processes, environment_of, tried
from tests.support.databases import migrated_database
from tests.support.invariants import invariants, query
from tests.support.practice import at, new_practice
from tests.support.servers import Servers
from tests.support.waiting import wait_until_async

ALLOWED = {"OK", "UNAVAILABLE UNAVAILABLE", "ALREADY_EXISTS SLOT_ALREADY_BOOKED"}


async def test_a_killed_database_is_survived(servers: Servers, tmp_path: Path) -> None:
    """kill -9 of the server under load: callers get UNAVAILABLE meanwhile, and the pool heals without a restart."""
    spec = EmbeddedPostgres(
        tmp_path / "postgres", port=free_port(), password="fault", log_path=tmp_path / "postgres.log"
    )
    postgres = start_server(spec)
    try:
        keys = Keys(tmp_path / "keys")
        with migrated_database(spec.url) as database:
            environment = environment_of(database, keys, servers.nats_url)
            with booking_processes(environment, tmp_path) as (process,):
                practice = new_practice(database, providers=4, rooms=4, patients=4)
                client = Client([process.target], practice, keys.token(practice.clinic))
                heard: list[str] = []
                acknowledged: list[str] = []
                stop = asyncio.Event()

                async def book(lane: int) -> None:
                    for place in range(90):
                        if stop.is_set():
                            return
                        reply, found = await tried(
                            client.create(
                                at(place // 4, place % 4 * 15),
                                end=at((place + 1) // 4, (place + 1) % 4 * 15),
                                patient=lane,
                                provider_id=practice.providers[lane],
                                room_id=practice.rooms[lane],
                                timeout_s=10,
                            )
                        )
                        heard.append(found)
                        if reply is not None:
                            acknowledged.append(reply.appointment.id)
                        else:
                            await asyncio.sleep(0.05)

                async def booked_twenty() -> bool:
                    return len(acknowledged) >= 20

                lanes = [asyncio.create_task(book(lane)) for lane in range(4)]
                await wait_until_async(booked_twenty, timeout_s=30, what="bookings")
                assert postgres.pid is not None
                os.kill(postgres.pid, signal.SIGKILL)
                await asyncio.to_thread(postgres.stop)
                await asyncio.sleep(0.3)
                postgres = await asyncio.to_thread(start_server, spec)
                back, before = time.monotonic(), len(acknowledged)
                while len(acknowledged) == before and not all(lane.done() for lane in lanes):
                    assert time.monotonic() - back < 5, "the pool did not heal"
                    await asyncio.sleep(0.02)
                stop.set()
                await asyncio.gather(*lanes)
                await client.close()
                assert set(heard) <= ALLOWED, set(heard)
                assert "UNAVAILABLE UNAVAILABLE" in heard
                rows = query(database.owner_url, "SELECT id::text FROM appointment")
                assert set(acknowledged) <= {row[0] for row in rows}
                invariants(database)
    finally:
        postgres.stop()
