"""A booking process for all modules that want nothing of their own, a clinic for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import psycopg
import pytest

from tests.support.booking import Client
from tests.support.booking_suite import Suite, booking_suite
from tests.support.practice import Practice
from tests.support.servers import Servers

__all__ = ["SHARED", "MakeClient", "Suite", "full", "make_client", "process_count", "shared_suite", "suite"]

SHARED: Final = 0


@pytest.fixture(scope="session")
def shared_suite(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """What the modules of this folder and worker share."""
    with booking_suite(servers, tmp_path_factory.mktemp("booking")) as made:
        yield made


@pytest.fixture(scope="module")
def process_count() -> int:
    """How many processes, with a database of theirs, a module wants for itself: SHARED, none, as a rule.

    A module that leaves behind what breaks an invariant, or counts what a process has done, wants its own.
    """
    return SHARED


@pytest.fixture(scope="module")
def suite(
    request: pytest.FixtureRequest,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
    process_count: int,
) -> Iterator[Suite]:
    """Running booking processes: the worker's, or the module's own."""
    if process_count == SHARED:
        yield request.getfixturevalue("shared_suite")
    else:
        folder = tmp_path_factory.mktemp("booking")
        with booking_suite(servers, folder, process_count=process_count) as made:
            yield made


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
