"""What is acknowledged survives, what is not leaves nothing half done: kill -9 at every place that matters."""

from __future__ import annotations

import asyncio

import grpc.aio
import psycopg
import pytest
from medforall.events.v1 import events_pb2

from tests.faults.booking.conftest import Scene
from tests.support.booking import (
    Client,
    code_of,
    outcome,
)
from tests.support.command import medforall
from tests.support.invariants import invariants, query
from tests.support.practice import at, new_id
from tests.support.waiting import wait_until_async

BOOKED = ("appointment", "appointment_ref", "audit_event", "claim", "idempotency_key", "outbox_event")
BACKENDS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'booking_svc' AND backend_xid IS NOT NULL
"""
WRITTEN = f"""
SELECT DISTINCT coalesce(parent.relname, written.relname)
FROM pg_stat_activity JOIN pg_locks held USING (pid) JOIN pg_class written ON written.oid = held.relation
    LEFT JOIN pg_inherits ON inhrelid = written.oid LEFT JOIN pg_class parent ON parent.oid = inhparent
WHERE datname = current_database() AND application_name = 'booking_svc' AND state = 'idle in transaction'
    AND held.mode = 'RowExclusiveLock' AND coalesce(parent.relname, written.relname) IN {BOOKED}
"""  # what the open transaction has written to


async def test_a_crash_after_commit_keeps_the_booking(scene: Scene, client: Client) -> None:
    """T08: killed between COMMIT and reply: the same key gives the booking again, once, and its event arrives."""
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
    """T08: killed inside the transaction: no row of it is left, and the key works as if it had never been used."""
    scene.arm("booking.before_commit=kill")
    key = new_id()
    with pytest.raises(grpc.aio.AioRpcError):
        await client.create(at(9), idempotency_key=key)
    await nothing_is_left(scene)
    scene.process.restart(MEDFORALL_FAILPOINTS="")
    created = await client.create(at(9), idempotency_key=key, timeout_s=20)
    assert not created.replayed
    invariants(scene.database)


async def nothing_is_left(scene: Scene) -> None:
    """Wait for the server to end what it had of the dead process; then no table has a row of the booking."""

    async def ended() -> bool:
        return query(scene.database.owner_url, BACKENDS) == [(0,)]

    await wait_until_async(ended, timeout_s=15, what="the dead process's connections to end")
    for table in BOOKED:
        assert query(scene.database.owner_url, f"SELECT count(*) FROM {table}") == [(0,)], table


async def test_a_crash_of_a_written_transaction_leaves_nothing(scene: Scene, client: Client) -> None:
    """T08: killed when the database has every row but not the COMMIT: no row is left, and the key was never used."""
    scene.arm("booking.written=sleep:60000")
    key = new_id()
    booking = asyncio.create_task(outcome(client.create(at(9), idempotency_key=key, timeout_s=50)))

    async def written() -> bool:
        return set(query(scene.database.owner_url, WRITTEN)) == {(table,) for table in BOOKED}

    await wait_until_async(written, timeout_s=30, what="all rows to be written")
    scene.process.popen.kill()
    assert await booking == "UNAVAILABLE"
    await nothing_is_left(scene)
    scene.process.restart(MEDFORALL_FAILPOINTS="")
    created = await client.create(at(9), idempotency_key=key, timeout_s=20)
    assert not created.replayed
    invariants(scene.database)


async def test_a_relay_killed_after_publishing_publishes_once(scene: Scene, client: Client) -> None:
    """T09: killed between the acknowledgement and the mark: published again, and stored once by the message's id."""
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


async def test_a_poison_event_is_parked_and_the_others_flow(scene: Scene, client: Client) -> None:
    """T20: what NATS refuses is parked with its aggregate behind it while others flow; re-driven, both go out."""
    scene.process.stop()
    scene.process.restart(MEDFORALL_RELAY_ATTEMPTS_MAX="2")
    poisoned, sql = new_id(), "SELECT count(*) FROM outbox_event WHERE parked_at IS NOT NULL"
    with psycopg.connect(scene.database.owner_url) as owner:
        for version, payload in ((1, b"x" * 1_100_000), (2, _event(poisoned, 2))):
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
    with psycopg.connect(scene.database.owner_url) as owner:
        mended = "UPDATE outbox_event SET payload = %s WHERE aggregate_id = %s AND aggregate_version = 1"
        owner.execute(mended, (_event(poisoned, 1), poisoned))
    environment = {
        "MEDFORALL_WORKER_DATABASE_URL": scene.database.worker_url,
        "MEDFORALL_NATS_URL": scene.nats_url,
    }
    done = await asyncio.to_thread(medforall, "outbox", "redrive", environment=environment)
    assert done.returncode == 0, done.stderr
    told = [(event.aggregate_id, event.aggregate_version) for event in await scene.delivered(3)]
    assert told == [(visit.id, 1), (poisoned, 1), (poisoned, 2)]


def _event(aggregate_id: str, version: int) -> bytes:
    return events_pb2.Event(aggregate_id=aggregate_id, aggregate_version=version).SerializeToString()
