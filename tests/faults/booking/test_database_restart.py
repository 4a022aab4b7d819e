"""PostgreSQL goes away under load and comes back: nothing acknowledged is lost, and nobody hears INTERNAL."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ctl.embedded import EmbeddedPostgres, start_server
from ctl.ports import free_port
from ctl.processes import ManagedProcess
from tests.faults.booking.load import Load
from tests.support.booking import Client, Keys, booking_processes, environment_of, outcome
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.invariants import invariants, query
from tests.support.practice import at, new_practice
from tests.support.servers import Servers, postgres_installation

ALLOWED = {"OK", "UNAVAILABLE UNAVAILABLE", "ALREADY_EXISTS SLOT_ALREADY_BOOKED"}
AWAY_S_MAX, HEALED_S_MAX = 2.0, 5.0


@dataclass(slots=True)
class OwnDatabase:
    """A PostgreSQL server of this test alone, with a booking process on it."""

    spec: EmbeddedPostgres
    server: ManagedProcess
    database: MigratedDatabase
    client: Client

    async def kill(self) -> None:
        """End the server as a power cut would."""
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)
        await asyncio.to_thread(self.server.stop)

    async def start(self) -> None:
        """Start it again on its data."""
        self.server = await asyncio.to_thread(start_server, self.spec)


@pytest.fixture
async def own(servers: Servers, tmp_path: Path) -> AsyncIterator[OwnDatabase]:
    spec = EmbeddedPostgres(
        tmp_path / "postgres",
        port=free_port(),
        password="fault",
        log_path=tmp_path / "postgres.log",
        installation=postgres_installation(),
    )
    made, keys = OwnDatabase(spec, start_server(spec), None, None), Keys(tmp_path / "keys")  # type: ignore[arg-type]
    try:
        with migrated_database(spec.url) as made.database:
            environment = environment_of(made.database, keys, servers.nats_url)
            with booking_processes(environment, tmp_path) as (process,):
                practice = new_practice(made.database, providers=4, rooms=4, patients=4)
                made.client = Client([process.target], practice, keys.token(practice.clinic))
                yield made
                await made.client.close()
    finally:
        made.server.stop()


async def test_a_killed_database_is_survived(own: OwnDatabase) -> None:
    """T12: kill -9 of the server under load: callers get UNAVAILABLE, and the pool heals without a restart."""
    async with Load(own.client, lanes=4) as load:
        await load.more(20)
        await own.kill()
        await asyncio.sleep(0.3)
        await own.start()
        await load.more(1, timeout_s=HEALED_S_MAX)
        await load.more(20)
    assert set(load.heard) <= ALLOWED, set(load.heard)
    assert "UNAVAILABLE UNAVAILABLE" in load.heard
    rows = query(own.database.owner_url, "SELECT id::text FROM appointment")
    assert set(load.acknowledged) <= {row[0] for row in rows}
    invariants(own.database)


async def test_callers_of_an_absent_database_do_not_pile_up(own: OwnDatabase) -> None:
    """T13: while the server is stopped each of 50 callers at once hears UNAVAILABLE in less than two seconds."""
    assert await outcome(own.client.create(at(8))) == "OK"
    own.server.stop()

    async def ask(hour: int) -> tuple[str, float]:
        began = time.monotonic()
        return await outcome(own.client.create(at(hour), timeout_s=10)), time.monotonic() - began

    heard = await asyncio.gather(*(ask(9 + n % 10) for n in range(50)))
    await own.start()
    assert {word for word, _ in heard} == {"UNAVAILABLE UNAVAILABLE"}
    assert max(after_s for _, after_s in heard) < AWAY_S_MAX
    assert await outcome(own.client.create(at(9), timeout_s=10)) == "OK"
    invariants(own.database)
