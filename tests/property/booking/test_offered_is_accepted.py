"""What an independent oracle finds bookable is what CreateAppointment accepts, both ways, on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from database.busy_facts import PATIENT_SQL
from database.facts import build_location, build_patient, patient_parameters, read_location_document
from scheduling.clock import minutes_of
from scheduling.facts import Claim, SlotRequest
from tests.integration.booking.conftest import Suite
from tests.oracle.availability import Oracle, day_span
from tests.support.booking import Client, tried
from tests.support.clinic_rows import insert
from tests.support.practice import MONDAY, Practice, new_id

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham")
CLINICS = 12
PROBES = 24

CLAIMS = """
SELECT resource_id::text, unit, (extract(epoch FROM starts_at) / 60)::int, (extract(epoch FROM ends_at) / 60)::int,
       appointment_id::text, (extract(epoch FROM expires_at) / 60)::float8
FROM claim WHERE clinic_id = %s
"""


def random_practice(suite: Suite, rng: random.Random) -> Practice:
    """A clinic with any mix of windows, closures, pools and rules around MONDAY."""
    zone = rng.choice(ZONES)
    service = {
        "default_duration_min": rng.choice((20, 30, 45)),
        "slot_step_min": rng.choice((5, 15, 20, 50)),
        "buffer_before_min": rng.choice((0, 0, 10)),
        "buffer_after_min": rng.choice((0, 5, 25)),
        "requires_room": rng.random() < 0.7,
        "buffers_within_hours": rng.random() < 0.3,
        "allow_patient_overlap": rng.random() < 0.2,
    }
    practice = suite.practice(providers=0, rooms=0, patients=4, zone=zone, service=service)
    with psycopg.connect(suite.database.owner_url) as owner:
        for _ in range(rng.randint(1, 2)):
            first = rng.randint(0, 18)
            provider = practice.add_provider(owner, hours=(first, first + rng.randint(3, 16)))
            for _ in range(rng.randint(0, 2)):
                _window(owner, practice, provider, rng)
        for _ in range(rng.randint(0, 3)):
            practice.add_room(
                owner,
                room_type=rng.choice(("exam", "surgery")),
                concurrent_visits=rng.choice((1, 1, 2)),
                turnaround_min=rng.choice((0, 15)),
            )
        for _ in range(rng.randint(0, 2)):
            practice.add_equipment(owner, "ecg", rng.randint(1, 2), turnaround_min=rng.choice((0, 10)))
        for _ in range(rng.randint(0, 3)):
            rule_type, payload = _rule(practice, rng)
            practice.add_rule(owner, rule_type, **payload)
        if rng.random() < 0.3:
            start = datetime(MONDAY.year, MONDAY.month, MONDAY.day) + timedelta(hours=rng.randint(0, 20))  # noqa: DTZ001
            insert(
                owner,
                "closure",
                clinic_id=practice.clinic,
                id=new_id(),
                start_local=start,
                end_local=start + timedelta(hours=rng.randint(1, 5)),
            )
    return practice


def _window(owner: Any, practice: Practice, provider: str, rng: random.Random) -> None:
    start = datetime(MONDAY.year, MONDAY.month, MONDAY.day) + timedelta(minutes=15 * rng.randint(-40, 90))  # noqa: DTZ001
    insert(
        owner,
        "provider_availability",
        clinic_id=practice.clinic,
        id=new_id(),
        provider_id=provider,
        kind=rng.choice(("available", "unavailable", "override")),
        start_local=start,
        end_local=start + timedelta(minutes=15 * rng.randint(1, 30)),
        recurrence_rule=rng.choice((None, "FREQ=WEEKLY;BYDAY=MO,TU")),
    )


def _rule(practice: Practice, rng: random.Random) -> tuple[str, dict[str, object]]:
    day = MONDAY.isoformat()
    choices: list[tuple[str, dict[str, object]]] = [
        ("allowed_provider", {"provider_ids": practice.providers[:1]}),
        ("required_equipment_type", {"equipment_type": "ecg", "min_units": rng.randint(1, 2)}),
        ("room_type", {"room_type": "exam"}),
        ("min_gap", {"min_gap_minutes": rng.randint(5, 60)}),
        ("max_daily", {"max_per_day": rng.randint(1, 4), "scope": rng.choice(("service", "provider"))}),
        ("lead_time", {"max_days_ahead": rng.choice((3, 30))}),
        ("blackout_dates", {"dates": [rng.choice((day, "2030-01-01"))]}),
        ("patient_limit", {"max_active": rng.randint(1, 3)}),
        ("patient_limit", {"min_days_between": 1}),
    ]
    return rng.choice(choices)


def oracle(suite: Suite, practice: Practice, provider: str, patient: str, day: range) -> Oracle:
    """The oracle, from what the database says at this moment."""
    with psycopg.connect(suite.database.owner_url) as owner:
        document = read_location_document(owner, practice.clinic, practice.location)
        assert document is not None
        claims = [Claim(*row) for row in owner.execute(CLAIMS, (practice.clinic,))]
        row = owner.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        parameters = patient_parameters(practice.clinic, patient, day.start - 400 * 1440)
        facts = build_patient(patient, owner.execute(PATIENT_SQL, parameters).fetchall())
    return Oracle(
        build_location(document).static,
        claims,
        SlotRequest(practice.service, (provider,), patient_id=patient),
        now_min=minutes_of(row[0]),
        first=day.start,
        end=day.stop,
        patient=facts,
    )


async def probe(suite: Suite, client: Client, practice: Practice, rng: random.Random) -> bool:
    """Ask for one start; the oracle's word and the service's must agree."""
    provider, patient = rng.choice(practice.providers), rng.choice(practice.patients)
    day = day_span(practice.zone, MONDAY + timedelta(days=rng.choice((0, 0, 1))))
    asked = await asyncio.to_thread(oracle, suite, practice, provider, patient, day)
    on_grid = [start for start in day if asked.on_grid(start)]
    who = next(found for found in asked.static.providers if found.id == provider)
    offered = [start for start in on_grid if not asked.reasons(who, start)]
    pool = offered if offered and rng.random() < 0.6 else on_grid
    start = rng.choice(pool)
    expected = asked.reasons(who, start)
    instant = datetime.fromtimestamp(start * 60, tz=None).astimezone().isoformat()
    made, found = await tried(client.create(instant, provider_id=provider, patient_id=patient, timeout_s=20))
    assert (found == "OK") == (not expected), (practice.zone, instant, found, expected)
    if made is not None and rng.random() < 0.3:
        await client.call("CancelAppointment", appointment_id=made.appointment.id)
    return made is not None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CLINICS))
async def test_the_oracles_offers_are_accepted_and_nothing_else(suite: Suite, seed: int) -> None:
    """For a random clinic that fills up, a create is accepted exactly when the oracle finds its start bookable."""
    rng = random.Random(seed)
    practice = random_practice(suite, rng)
    client = Client(suite.targets, practice, suite.keys.token(practice.clinic))
    try:
        for _ in range(PROBES):
            await probe(suite, client, practice, rng)
    finally:
        await client.close()
