"""What an import accepts of a random list of visits is what bookings of them, one after the other, accept."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.booking.conftest import Suite
from tests.integration.booking.imports import imported, rows_of, wipe_visits
from tests.property.booking.random_clinic import RULE_TYPES, random_practice
from tests.support.booking import Client, outcome
from tests.support.invariants import invariants
from tests.support.practice import MONDAY, Practice, at, new_id

CLINICS = 4

_VISITS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 3),
        st.integers(0, 95),
        st.sampled_from((0, 0, 0, 1)),
        st.one_of(st.none(), st.none(), st.integers(0, 2)),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


def entry(practice: Practice, picked: tuple[int, int, int, int, int | None, bool]) -> dict[str, str]:
    provider, patient, quarter, day, room, is_override = picked
    found = {
        "id": new_id(),
        "location_id": practice.location,
        "provider_id": practice.providers[provider],
        "service_id": practice.service,
        "patient_id": practice.patients[patient],
        "start": at(quarter // 4, quarter % 4 * 15, MONDAY + timedelta(days=day)),
    }
    if room is not None:
        found["room_id"] = practice.rooms[room % len(practice.rooms)]
    return found | ({"override_reason": "because"} if is_override else {})


async def booked(suite: Suite, practice: Practice, wanted: list[dict[str, str]]) -> list[str]:
    """What became of each booking."""
    client = Client(suite.targets, practice, suite.keys.token(practice.clinic))
    try:
        return [await outcome(client.create(**_asked(one))) for one in wanted]
    finally:
        await client.close()


def _asked(one: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "id"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CLINICS))
def test_an_import_accepts_what_bookings_accept(suite: Suite, seed: int) -> None:
    """Visit by visit, and for the same reason where it is refused; a list goes in as a whole exactly when all do."""
    practice = random_practice(
        suite,
        random.Random(3_000 + seed),
        zone=("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York")[seed],
        day=MONDAY,
        steps=(15,),
        rule_type=RULE_TYPES[2 * seed],
    )

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_VISITS)
    def compare(picked: list[tuple[int, int, int, int, int | None, bool]]) -> None:
        wanted = [entry(practice, one) for one in picked]
        report = asyncio.run(imported(suite, practice, wanted))
        refused = {fault.line: str(fault) for fault in report.refused}
        assert len(rows_of(practice)["appointment"]) == (0 if refused else len(wanted))
        wipe_visits(practice)
        for line, found in enumerate(asyncio.run(booked(suite, practice, wanted)), 1):
            assert (found == "OK") == (line not in refused), (line, found, refused)
            assert found == "OK" or found.split()[1] in refused[line]
        invariants(suite.database)
        wipe_visits(practice)

    compare()
