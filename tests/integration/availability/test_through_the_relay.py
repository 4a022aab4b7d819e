"""From the outbox through the relay, JetStream and the durable consumer into the projections, some of it twice."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import psycopg
import pytest
from medforall.events.v1 import events_pb2

from availability_svc.usecases.verify_projection import ProjectionCare
from scheduling import localtime
from scheduling.errors import Unavailable
from tests.integration.availability.conftest import FIRST_DAY, World
from tests.support.availability_book import Book
from tests.support.availability_service import Running
from tests.support.booking import Keys, booking_processes, environment_of
from tests.support.waiting import wait_until_async

STEPS = 600
DAYS = 28


@pytest.mark.slow
async def test_what_the_relay_publishes_is_projected_though_some_of_it_fails_first(
    world: World,
    care: ProjectionCare,
    service: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hundreds of changes leave by the relay, every fifth is refused once and delivered again: nothing differs."""
    low, high = (
        localtime.day_bounds(world.clinic.zone, FIRST_DAY + timedelta(days=days))[0] for days in (0, DAYS)
    )
    care.warm(world.clinic.id, low, high)
    book = Book(
        clinic_id=world.clinic.id,
        static=world.clinic.locations[0].static,
        patients=list(world.clinic.patient_ids),
        rng=random.Random(5),
        first_min=low,
        last_min=high,
    )
    book.load(world.database.owner_url)
    refused = _refuse_every_fifth_once(service, monkeypatch)
    events = [event for event in (book.step() for _ in range(STEPS)) if event is not None]
    book.store(world.database.owner_url)
    _put_out(world, events)
    nats_url = world.environment["MEDFORALL_NATS_URL"]
    environment = environment_of(world.database, Keys(tmp_path / "keys"), nats_url)
    with booking_processes(environment, tmp_path):

        async def is_published() -> bool:
            return _waiting(world) == 0

        await wait_until_async(is_published, timeout_s=60, what="the relay to publish")
    published_at = datetime.now(UTC)

    async def is_projected() -> bool:
        stamp = service.reader.stamp()
        return not stamp.is_stale and stamp.fresh_at > published_at

    await wait_until_async(is_projected, timeout_s=90, what="the consumer to catch up")
    assert len(refused) > STEPS // 10
    found = care.verify(world.clinic.id)
    assert found.differences == []
    assert found.entries > STEPS


def _refuse_every_fifth_once(service: Running, monkeypatch: pytest.MonkeyPatch) -> set[bytes]:
    """Have the worker fail at the first delivery of some events; they are noted."""
    worker: Any = service.worker
    original, refused = worker.project, set[bytes]()

    async def project(data: bytes) -> None:
        if crc32(data) % 5 == 0 and data not in refused:
            refused.add(data)
            raise Unavailable("not yet")
        await original(data)

    monkeypatch.setattr(worker, "project", project)
    return refused


def _put_out(world: World, events: list[bytes]) -> None:
    with psycopg.connect(world.database.owner_url) as owner:
        owner.cursor().executemany(
            "INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version,"
            " event_type, payload) VALUES (%s, %s, 'appointment', %s, %s, %s, %s)",
            [
                (uuid4(), event.clinic_id, event.aggregate_id, event.aggregate_version, event.type, data)
                for data in events
                for event in [events_pb2.Event.FromString(data)]
            ],
        )


def _waiting(world: World) -> int:
    with psycopg.connect(world.database.owner_url) as owner:
        row = owner.execute("SELECT count(*) FROM outbox_event WHERE published_at IS NULL").fetchone()
    assert row is not None
    return int(row[0])
