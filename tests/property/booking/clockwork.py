"""What the model test runs on: processes whose clocks are apart, and a clinic that they and the model know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import psycopg
from medforall.booking.v1 import booking_pb2_grpc

from scheduling.ids import gap_id, quota_id
from tests.oracle import booking as oracle
from tests.support.booking import BookingProcess, Keys, environment_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import MONDAY, Practice, new_id, new_practice
from tests.support.servers import Servers

JUMP_MIN, JUMPS, FIRST_HOUR = 20, 2, 5
PER_DAY, PER_PATIENT = 6, 3
MIDNIGHT = datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=UTC)

# The processes' clocks differ, so none of them may sweep for all.
NO_SWEEPER = """
INSERT INTO lease (name, holder, token, acquired_at, expires_at)
VALUES ('hold-sweeper', 'nobody', 1, now(), now() + interval '1 year')
"""


@dataclass(frozen=True, slots=True)
class Clockwork:
    """Processes on one database, each twenty minutes ahead of the one before, all in the early hours of MONDAY."""

    database: MigratedDatabase
    keys: Keys
    stubs: Sequence[Any]
    owner: psycopg.Connection[Any]


@contextmanager
def clockwork(servers: Servers, folder: Path) -> Iterator[Clockwork]:
    """Running processes, and one connection for all that the model looks up."""
    keys, processes = Keys(folder / "keys"), []
    with (
        migrated_database(servers.postgres_url) as database,
        psycopg.connect(database.owner_url, autocommit=True) as owner,
    ):
        owner.execute(NO_SWEEPER)
        first = MIDNIGHT + timedelta(hours=FIRST_HOUR) - datetime.now(UTC)
        try:
            for jump in range(JUMPS + 1):
                offset = first + timedelta(minutes=JUMP_MIN * jump)
                environment = environment_of(database, keys, servers.nats_url)
                environment["MEDFORALL_CLOCK_OFFSET_MS"] = str(int(offset.total_seconds() * 1_000))
                processes.append(BookingProcess(environment, folder / f"booking-{jump}.log"))
            for process in processes:
                process.wait_serving()
            channels = [grpc.insecure_channel(process.target) for process in processes]
            stubs = [booking_pb2_grpc.BookingServiceStub(channel) for channel in channels]
            yield Clockwork(database, keys, stubs, owner)
            for channel in channels:
                channel.close()
        finally:
            for process in processes:
                process.stop()


def new_clinic(running: Clockwork) -> tuple[Practice, oracle.Clinic]:
    """Three doctors, two rooms of which one takes two visits, scanners, three patients, two services with rules.

    Ids are random but in the order of their making: what the service prefers is the same in every run.
    """
    numbers = count()
    practice = new_practice(
        running.database,
        providers=3,
        rooms=1,
        patients=3,
        service={"buffer_after_min": 5},
        ids=lambda: f"{next(numbers):08x}{new_id()[8:]}",
    )
    practice.add_room(running.owner, concurrent_visits=2, turnaround_min=15)
    items = [
        practice.add_equipment(running.owner, "scanner", quantity, turnaround_min=10 * quantity)
        for quantity in (1, 2)
    ]
    services = (_visit(running, practice), _scan(running, practice))
    return practice, oracle.Clinic(
        services={service.id: service for service in services},
        rooms=dict(zip(practice.rooms, (oracle.Pool(), oracle.Pool(2, 15)), strict=True)),
        items=dict(zip(items, (oracle.Pool(1, 10), oracle.Pool(2, 20)), strict=True)),
        day=(0, 1440),
    )


def _visit(running: Clockwork, practice: Practice) -> oracle.Service:
    """A visit in a room, so many a day and so many for each patient."""
    quota = practice.add_rule(running.owner, "max_daily", max_per_day=PER_DAY, scope="service")
    practice.add_rule(running.owner, "patient_limit", max_active=PER_PATIENT)
    return oracle.Service(
        practice.service,
        buffer_after=5,
        quota=quota_id(quota, practice.location, MONDAY),
        per_day=PER_DAY,
        per_patient=PER_PATIENT,
    )


def _scan(running: Clockwork, practice: Practice) -> oracle.Service:
    """A scan without a room, with two units of equipment and a gap between two of one provider."""
    scan = practice.add_service(running.owner, requires_room=False)
    equipment = {"equipment_type": "scanner", "min_units": 2}
    practice.add_rule(running.owner, "required_equipment_type", service=scan, **equipment)
    gap = practice.add_rule(running.owner, "min_gap", service=scan, min_gap_minutes=15)
    gaps = {provider: gap_id(gap, provider) for provider in practice.providers}
    return oracle.Service(scan, requires_room=False, items_needed=2, gap=15, gaps=gaps)
