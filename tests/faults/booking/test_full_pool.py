"""A thousand callers and ten connections, with the waiting times that the product has by default."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import psycopg
import pytest

from tests.support.booking import (
    BookingProcess,
    Client,
    Keys,
    booking_processes,
    code_of,
    details_of,
    environment_of,
    reason_of,
)
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.invariants import deadlocks, invariants, query
from tests.support.practice import Practice, at, new_practice
from tests.support.servers import Servers
from tests.support.waiting import wait_until_async

CALLERS, CONNECTIONS, PROVIDERS = 1_000, 10, 100
PATIENCE_S = 25.0
POOL_WAIT = "MEDFORALL_DATABASE_POOL_TIMEOUT_MS"
BUCKET = re.compile(
    r'scheduling_rpc_duration_seconds_bucket\{code="OK",le="([^"]+)",method="CreateAppointment".*\} (\S+)'
)
OPEN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'booking_svc' AND usename = 'medforall_app'
"""
WAITING_FOR_LOCKS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'booking_svc' AND wait_event_type = 'Lock'
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller heard, and after how long."""

    word: str
    after_s: float
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """A process with few connections, and a clinic with a time of its own for everybody."""

    database: MigratedDatabase
    keys: Keys
    process: BookingProcess
    practice: Practice

    def client(self) -> Client:
        return Client([self.process.target], self.practice, self.keys.token(self.practice.clinic))

    async def book(self, client: Client, caller: int) -> Answered:
        """Book the caller's own time with one of the providers."""
        provider, place = self.practice.providers[caller % PROVIDERS], caller // PROVIDERS
        began = time.monotonic()
        try:
            await client.create(at(8 + place), patient=caller, provider_id=provider, timeout_s=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            retry, word = details_of(error).get("RetryInfo"), f"{code_of(error)} {reason_of(error)}"
            retry_s = retry.retry_delay.ToTimedelta().total_seconds() if retry else 0.0
            return Answered(word, time.monotonic() - began, retry_s)
        return Answered("OK", time.monotonic() - began)

    def accepted_within(self, bound_s: str) -> float:
        """The share of accepted bookings that the service had ready within a bound of its histogram."""
        counts = {le: float(count) for le, count in BUCKET.findall(self.process.metrics())}
        return counts[bound_s] / counts["+Inf"]


@pytest.fixture
def crowd(servers: Servers, tmp_path: Path) -> Iterator[Crowd]:
    keys = Keys(tmp_path / "keys")
    with migrated_database(servers.postgres_url) as database:
        environment = environment_of(database, keys, servers.nats_url)
        del environment[POOL_WAIT]
        environment["MEDFORALL_DATABASE_POOL_MAX"] = str(CONNECTIONS)
        with booking_processes(environment, tmp_path) as (process,):
            practice = new_practice(
                database,
                providers=PROVIDERS,
                rooms=0,
                patients=CALLERS,
                service={"requires_room": False},
            )
            yield Crowd(database, keys, process, practice)


async def test_a_crowd_is_served_quickly_or_refused(crowd: Crowd) -> None:
    """T15: 1,000 callers at once: each is booked or told to come again, and p99 of the booked is below 1 s."""
    client = crowd.client()
    before = deadlocks(crowd.database)
    heard = await asyncio.gather(*(crowd.book(client, caller) for caller in range(CALLERS)))
    await client.close()
    assert {answer.word for answer in heard} <= {"OK", "RESOURCE_EXHAUSTED OVERLOADED"}
    assert max(answer.after_s for answer in heard) < PATIENCE_S / 2
    booked = sum(answer.word == "OK" for answer in heard)
    assert booked >= CONNECTIONS
    assert query(crowd.database.owner_url, "SELECT count(*) FROM appointment") == [(booked,)]
    assert crowd.accepted_within("1.0") >= 0.99
    assert deadlocks(crowd.database) == before
    invariants(crowd.database)


async def test_the_first_callers_of_a_process_are_served(crowd: Crowd) -> None:
    """Callers come at once to a process that has just begun: they share what is open, however long opening takes."""
    crowd.process.stop()
    slowly = f"{crowd.database.app_url}?options=-c%20post_auth_delay%3D1"
    crowd.process.restart(MEDFORALL_APP_DATABASE_URL=slowly)
    client = crowd.client()
    heard = await asyncio.gather(*(crowd.book(client, caller) for caller in range(2 * CONNECTIONS)))
    await client.close()
    assert {answer.word for answer in heard} == {"OK"}
    assert query(crowd.database.owner_url, OPEN)[0][0] < CONNECTIONS


async def test_callers_behind_stuck_connections_are_refused_in_time(crowd: Crowd) -> None:
    """T15: while all connections wait for somebody's lock, whoever comes is told to come again; then all is well."""
    client = crowd.client()
    with psycopg.connect(crowd.database.owner_url) as owner:
        owner.execute("SELECT FROM resource FOR NO KEY UPDATE")
        calls = [asyncio.create_task(crowd.book(client, caller)) for caller in range(CALLERS)]

        async def all_stuck() -> bool:
            return query(crowd.database.owner_url, WAITING_FOR_LOCKS) == [(CONNECTIONS,)]

        await wait_until_async(all_stuck, what="all connections to wait for the lock")
        heard = [await next_done for next_done in list(asyncio.as_completed(calls))[: CALLERS // 2]]
    heard_later = await asyncio.gather(*calls)
    assert {answer.word for answer in heard} == {"RESOURCE_EXHAUSTED OVERLOADED"}
    assert {answer.word for answer in heard_later} <= {
        "OK",
        "RESOURCE_EXHAUSTED OVERLOADED",
        "ABORTED CONCURRENT_BOOKING",
    }
    assert all(answer.retry_after_s > 0 for answer in heard_later if answer.word != "OK")
    assert max(answer.after_s for answer in heard_later) < PATIENCE_S / 2
    assert (await crowd.book(client, 0)).word in ("OK", "ALREADY_EXISTS SLOT_ALREADY_BOOKED")
    await client.close()
    invariants(crowd.database)
