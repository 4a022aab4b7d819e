"""Events that never arrive, and events nobody can read: the projections end up equal to PostgreSQL all the same."""

import shutil
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import psycopg
import pytest
import redis
from medforall.events.v1 import events_pb2

from availability_svc.projection import kept_back as kept_back_module
from availability_svc.usecases.verify_projection import ProjectionCare
from availability_svc.wiring import Stores
from chassis.streams import APPOINTMENTS
from ctl.embedded import EmbeddedNats, start_server
from ctl.ports import free_port
from database.transaction import Database
from scheduling import localtime
from tests.integration.availability.asking import book_of, book_slot, call, caller_of, search_of
from tests.integration.availability.conftest import FIRST_DAY, World
from tests.support.availability_service import Running, publish, running
from tests.support.waiting import wait_until_async


async def _has(world: World, service: Running, slot: Any) -> bool:
    """Tell whether a search that is not stale offers a slot."""
    reply = await call(service.stub.SearchSlots, search_of(world, limit=500), caller_of(world))
    offered = {(one.start_utc.seconds, one.provider.id) for one in reply.slots}
    return not reply.metadata.stale and (slot.start_utc.seconds, slot.provider.id) in offered


async def _is_gone(world: World, service: Running, slot: Any) -> bool:
    """Tell whether a search offers a slot no more."""
    reply = await call(service.stub.SearchSlots, search_of(world, limit=500), caller_of(world))
    return (slot.start_utc.seconds, slot.provider.id) not in {
        (one.start_utc.seconds, one.provider.id) for one in reply.slots
    }


async def _is_fresh(world: World, service: Running) -> bool:
    reply = await call(service.stub.SearchSlots, search_of(world, limit=1), caller_of(world))
    return not reply.metadata.stale


async def _any_slot(world: World, service: Running) -> Any:
    reply = await call(service.stub.SearchSlots, search_of(world, limit=500), caller_of(world))
    return reply.slots[0]


def _warm(world: World, care: ProjectionCare) -> None:
    low, _ = localtime.day_bounds(world.clinic.zone, FIRST_DAY)
    care.warm(world.clinic.id, low, low + 7 * 1440)


def _checksum(world: World, stores: Stores) -> str:
    """Return one sum over every claim that is projected of the clinic."""
    clinic_id = world.clinic.id
    kept = stores.projection.buckets(clinic_id, sorted(stores.projection.kept_buckets(clinic_id)))
    claims = sorted(
        str((bucket_id, claim.resource_id, claim.unit, claim.start_min, claim.end_min, claim.appointment_id))
        for bucket_id, bucket in kept.items()
        for calendar in bucket.calendars.values()
        for claim in calendar.claims
    )
    assert claims
    return sha256("\n".join(claims).encode()).hexdigest()


async def test_a_wiped_stream_store_costs_no_change(
    world: World, stores: Stores, care: ProjectionCare, tmp_path: Path
) -> None:
    """T18: JetStream's store is wiped with a change in it; the projections are read anew and equal a fresh rebuild."""
    spec = EmbeddedNats(
        tmp_path / "nats",
        port=free_port(),
        monitor_port=free_port(),
        password="fault",
        log_path=tmp_path / "nats.log",
    )
    server = start_server(spec)
    book = book_of(world, stores)
    try:
        async with running(world.settings(MEDFORALL_NATS_URL=spec.url)) as service:
            _warm(world, care)
            slot = await _any_slot(world, service)
            await wait_until_async(lambda: _has(world, service, slot), timeout_s=15, what="a fresh answer")
            lost = book_slot(world, book, slot)
            book.store(world.database.owner_url)
            assert lost
            assert await _has(world, service, slot)
            server.kill()
            shutil.rmtree(tmp_path / "nats" / "jetstream")
            server = start_server(spec)
            await wait_until_async(
                lambda: _is_gone(world, service, slot), timeout_s=40, what="the slot to go"
            )
            _warm(world, care)
            assert care.verify(world.clinic.id).differences == []
            rebuilt = _checksum(world, stores)
            with redis.Redis.from_url(world.environment["MEDFORALL_REDIS_URL"]) as client:
                client.flushdb()
            _warm(world, care)
            assert _checksum(world, stores) == rebuilt
            canceled = book.cancel_last()
            book.store(world.database.owner_url)
            await publish(spec.url, {str(uuid4()): canceled})
            await wait_until_async(lambda: _has(world, service, slot), timeout_s=15, what="it to come back")
    finally:
        server.stop()


async def test_a_poison_event_is_set_aside_and_the_others_flow(
    world: World, stores: Stores, service: Running, nats_url: str
) -> None:
    """T20: bytes that are no event and an event that cannot be applied are counted, kept, and hold up nothing."""
    slot = await _any_slot(world, service)
    await wait_until_async(lambda: _has(world, service, slot), timeout_s=15, what="a fresh answer")
    book = book_of(world, stores)
    event = book_slot(world, book, slot)
    book.store(world.database.owner_url)
    poison = [b"no event", _of_no_resource(world).SerializeToString()]
    counted = service.worker._poison.labels("appointment")
    before = counted._value.get()
    connection = await nats.connect(nats_url)
    try:
        terminated = await connection.subscribe(
            f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{APPOINTMENTS.name}.availability-appointments"
        )
        subject = f"medforall.appointment.{world.clinic.id}.created"
        stream = connection.jetstream()
        places = [
            (await stream.publish(subject, data, headers={"Nats-Msg-Id": str(uuid4())})).seq
            for data in poison
        ]
        await publish(nats_url, {str(uuid4()): event}, subject)
        await wait_until_async(lambda: _is_gone(world, service, slot), timeout_s=5, what="the slot to go")

        async def is_counted() -> bool:
            return bool(counted._value.get() == before + len(poison))

        await wait_until_async(is_counted, timeout_s=30, what="the poison to be set aside")
        for _ in poison:
            await terminated.next_msg(timeout=10)
        kept = [await stream.get_msg(APPOINTMENTS.name, place) for place in places]
        assert [message.data for message in kept] == poison
        await wait_until_async(lambda: _is_fresh(world, service), timeout_s=15, what="a fresh answer")
        assert await _is_gone(world, service, slot)
    finally:
        await connection.close()


async def test_a_parked_event_is_seen_all_the_same(world: World, stores: Stores, service: Running) -> None:
    """The relay has parked a booking's event, and another waits behind it: both are projected, answers are fresh."""
    slot = await _any_slot(world, service)
    await wait_until_async(lambda: _has(world, service, slot), timeout_s=15, what="a fresh answer")
    book = book_of(world, stores)
    booked = book_slot(world, book, slot)
    book.store(world.database.owner_url)
    aggregate_id = str(uuid4())
    kept_back = [_outbox_row(world, aggregate_id, booked, 1, is_parked=True)]
    try:
        await wait_until_async(lambda: _is_gone(world, service, slot), timeout_s=15, what="the slot to go")
        await wait_until_async(lambda: _is_fresh_now(world, service), timeout_s=15, what="a fresh answer")
        assert await _is_gone(world, service, slot)
        canceled = book.cancel_last()
        book.store(world.database.owner_url)
        kept_back.append(_outbox_row(world, aggregate_id, canceled, 2))
        await wait_until_async(lambda: _has(world, service, slot), timeout_s=15, what="it to come back")
        await wait_until_async(lambda: _is_fresh_now(world, service), timeout_s=15, what="a fresh answer")
    finally:
        with psycopg.connect(world.database.owner_url) as owner:
            owner.execute("DELETE FROM outbox_event WHERE id = ANY (%s)", (kept_back,))


async def test_more_parked_events_than_are_known_at_once_wait_and_are_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for three of five: each is projected once, the last two when two of the first are published."""
    monkeypatch.setattr(kept_back_module, "_KNOWN_MAX", 3)
    rows = [_outbox_row(world, str(uuid4()), b"%d" % at, 1, is_parked=True) for at in range(5)]
    settings = world.settings()
    database = Database(settings.worker_database.url, settings.database, application_name="test")
    projected: list[bytes] = []

    async def project(data: bytes) -> None:
        projected.append(data)

    async def give_up(clinic_id: str) -> None:
        raise AssertionError(clinic_id)

    await database.open()
    try:
        kept_back = kept_back_module.KeptBack(database, project, give_up)
        for _ in range(3):
            await kept_back.project()
            assert (projected, kept_back.known) == ([b"0", b"1", b"2"], rows[:3])
        with psycopg.connect(world.database.owner_url) as owner:
            owner.execute("UPDATE outbox_event SET published_at = now() WHERE id = ANY (%s)", (rows[:2],))
        for _ in range(2):
            await kept_back.project()
            assert (projected, kept_back.known) == ([b"0", b"1", b"2", b"3", b"4"], rows[2:])
    finally:
        await database.close()
        with psycopg.connect(world.database.owner_url) as owner:
            owner.execute("DELETE FROM outbox_event WHERE id = ANY (%s)", (rows,))


async def _is_fresh_now(world: World, service: Running) -> bool:
    """Tell whether an answer has all that was committed before this moment."""
    asked_at = datetime.now(UTC)
    reply = await call(service.stub.SearchSlots, search_of(world, limit=1), caller_of(world))
    fresh_at = reply.metadata.fresh_at.ToDatetime(UTC)
    return not reply.metadata.stale and asked_at - fresh_at < timedelta(seconds=2)


def _outbox_row(
    world: World, aggregate_id: str, payload: bytes, version: int, *, is_parked: bool = False
) -> int:
    """Have an event wait in the outbox for ever, and return its place there."""
    with psycopg.connect(world.database.owner_url) as owner:
        row = owner.execute(
            "INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version,"
            " event_type, payload, parked_at) VALUES (gen_random_uuid(), %s, 'appointment', %s, %s, 'x', %s,"
            " CASE WHEN %s THEN now() END) RETURNING id",
            (world.clinic.id, aggregate_id, version, payload, is_parked),
        ).fetchone()
    assert row is not None
    return int(row[0])


def _of_no_resource(world: World) -> events_pb2.Event:
    """Return an event that names a resource by what is no id."""
    event = events_pb2.Event(event_id=str(uuid4()), clinic_id=world.clinic.id, aggregate_id=str(uuid4()))
    change = event.resources.add(resource_id="no id", calendar_version=1)
    change.claims.add(start_min=29_000_000, end_min=29_000_030, unit=1)
    return event
