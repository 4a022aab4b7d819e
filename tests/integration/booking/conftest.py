"""Booking processes for a whole module, a clinic for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.booking import BookingProcess, Client, Keys, booking_processes, environment_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import Practice, new_practice
from tests.support.servers import Servers


@dataclass(slots=True)
class Suite:
    """A database and booking processes on it."""

    database: MigratedDatabase
    keys: Keys
    processes: list[BookingProcess]
    nats_url: str

    @property
    def targets(self) -> list[str]:
        return [process.target for process in self.processes]

    def practice(self, **options: Any) -> Practice:
        return new_practice(self.database, **options)


@pytest.fixture(scope="module")
def process_count() -> int:
    """How many booking processes a module wants."""
    return 1


@pytest.fixture(scope="module")
def suite(servers: Servers, tmp_path_factory: pytest.TempPathFactory, process_count: int) -> Iterator[Suite]:
    """Running booking processes."""
    folder: Path = tmp_path_factory.mktemp("booking")
    keys = Keys(folder / "keys")
    with migrated_database(servers.postgres_url) as database:
        environment = environment_of(database, keys, servers.nats_url)
        with booking_processes(environment, folder, process_count) as processes:
            yield Suite(database, keys, processes, servers.nats_url)


MakeClient = Callable[..., Client]


@pytest.fixture
async def make_client(suite: Suite) -> AsyncIterator[MakeClient]:
    """Makes callers; closes their channels afterwards."""
    made: list[Client] = []

    def make(practice: Practice, role: str = "admin", subject: str = "tester", **claims: Any) -> Client:
        token = suite.keys.token(practice.clinic, role, subject, **claims)
        made.append(Client(suite.targets, practice, token))
        return made[-1]

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def full(suite: Suite) -> Practice:
    """A clinic with two providers, rooms that are shared, pooled equipment, a quota, a gap and a limit."""
    practice = suite.practice(providers=2, rooms=2, service={"buffer_before_min": 5, "buffer_after_min": 10})
    with psycopg.connect(practice.owner_url) as owner:
        practice.add_room(owner, concurrent_visits=2, turnaround_min=20)
        practice.add_equipment(owner, "ecg", 2, turnaround_min=5)
        practice.add_service(owner, allow_patient_overlap=True, requires_room=False)
        practice.add_rule(owner, "required_equipment_type", equipment_type="ecg", min_units=1)
        practice.add_rule(owner, "max_daily", max_per_day=6, scope="service")
        practice.add_rule(owner, "min_gap", min_gap_minutes=15)
        practice.add_rule(owner, "patient_limit", max_active=3)
        practice.add_rule(owner, "patient_limit", service=practice.services[1], max_active=5)
    return practice
