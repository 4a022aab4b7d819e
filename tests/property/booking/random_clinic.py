"""Random clinics around one day, and the oracle's view of them as PostgreSQL has them."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from database.busy_facts import PATIENT_SQL
from database.facts import build_location, build_patient, patient_parameters, read_location_document
from scheduling.clock import minutes_of
from scheduling.facts import Claim, SlotRequest
from tests.integration.booking.conftest import Suite
from tests.oracle.availability import Oracle, day_span
from tests.support.clinic_rows import insert
from tests.support.practice import MONDAY, Practice, new_id

RULE_TYPES = (
    "allowed_provider",
    "required_equipment_type",
    "room_type",
    "min_gap",
    "max_daily",
    "lead_time",
    "blackout_dates",
    "patient_limit",
)
_CLAIMS = """
SELECT resource_id::text, unit, (extract(epoch FROM starts_at) / 60)::int, (extract(epoch FROM ends_at) / 60)::int,
       appointment_id::text, (extract(epoch FROM expires_at) / 60)::float8
FROM claim WHERE clinic_id = %s
"""


def changing_day(zone: str) -> date:
    """The first local day from MONDAY on that does not have 24 hours."""
    days = (MONDAY + timedelta(days=n) for n in range(370))
    return next(day for day in days if len(day_span(zone, day)) != 1_440)


def random_practice(
    suite: Suite, rng: random.Random, *, zone: str, day: date, steps: tuple[int, ...], rule_type: str
) -> Practice:
    """A clinic with any mix of windows, hours, closures, pools and rules around `day`; a `rule_type` is among them."""
    service = {
        "default_duration_min": rng.choice((20, 30, 45)),
        "slot_step_min": rng.choice(steps),
        "buffer_before_min": rng.choice((0, 0, 10)),
        "buffer_after_min": rng.choice((0, 5, 25)),
        "requires_room": rng.random() < 0.7,
        "buffers_within_hours": rng.random() < 0.3,
        "allow_patient_overlap": rng.random() < 0.2,
    }
    practice = suite.practice(providers=0, rooms=0, patients=4, zone=zone, service=service)
    with psycopg.connect(suite.database.owner_url) as owner:
        for _ in range(2):
            first = rng.randint(0, 12)
            provider = practice.add_provider(owner, hours=(first, first + rng.randint(6, 20)))
            for _ in range(rng.randint(0, 2)):
                _window(owner, practice, ("provider", provider), day, rng)
        _add_pools(owner, practice, day, rng)
        for chosen in {rule_type, *rng.sample(RULE_TYPES, rng.randint(0, 2))}:
            practice.add_rule(owner, chosen, **_payload(chosen, practice, day, rng))
        if rng.random() < 0.4:
            _add_hours(owner, practice, rng)
        if rng.random() < 0.3:
            _add_closure(owner, practice, day, rng)
    return practice


def _add_pools(owner: Any, practice: Practice, day: date, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        room = practice.add_room(
            owner,
            room_type=rng.choice(("exam", "exam", "surgery")),
            concurrent_visits=rng.choice((1, 1, 2)),
            turnaround_min=rng.choice((0, 15)),
        )
        if rng.random() < 0.3:
            _window(owner, practice, ("room", room), day, rng)
    for _ in range(rng.randint(1, 2)):
        item = practice.add_equipment(owner, "ecg", rng.randint(1, 2), turnaround_min=rng.choice((0, 10)))
        if rng.random() < 0.3:
            _window(owner, practice, ("equipment", item), day, rng)


def _add_hours(owner: Any, practice: Practice, rng: random.Random) -> None:
    opens, closes = 60 * rng.randint(0, 9), 60 * rng.randint(15, 24)
    own = {"clinic_id": practice.clinic, "location_id": practice.location}
    for weekday in range(1, 8):
        insert(owner, "location_hours", **own, weekday=weekday, opens_min=opens, closes_min=closes)


def _add_closure(owner: Any, practice: Practice, day: date, rng: random.Random) -> None:
    start = datetime(day.year, day.month, day.day) + timedelta(hours=rng.randint(0, 20))  # noqa: DTZ001 - local
    end = start + timedelta(hours=rng.randint(1, 5))
    insert(owner, "closure", clinic_id=practice.clinic, id=new_id(), start_local=start, end_local=end)


def _window(owner: Any, practice: Practice, whose: tuple[str, str], day: date, rng: random.Random) -> None:
    start = datetime(day.year, day.month, day.day) + timedelta(minutes=15 * rng.randint(-40, 90))  # noqa: DTZ001
    word, resource = whose
    insert(
        owner,
        f"{word}_availability",
        clinic_id=practice.clinic,
        id=new_id(),
        kind=rng.choice(("available", "unavailable", "override")),
        start_local=start,
        end_local=start + timedelta(minutes=15 * rng.randint(1, 30)),
        recurrence_rule=rng.choice((None, "FREQ=WEEKLY;BYDAY=SU,MO,TU")),
        **{f"{word}_id": resource},
    )


def _payload(rule_type: str, practice: Practice, day: date, rng: random.Random) -> dict[str, Any]:
    ahead = (day - datetime.now(UTC).date()).days
    choices: dict[str, list[dict[str, Any]]] = {
        "allowed_provider": [{"provider_ids": practice.providers[:1]}],
        "required_equipment_type": [{"equipment_type": "ecg", "min_units": rng.randint(1, 2)}],
        "room_type": [{"room_type": "exam"}],
        "min_gap": [{"min_gap_minutes": rng.randint(5, 60)}],
        "max_daily": [{"max_per_day": rng.randint(1, 6), "scope": rng.choice(("service", "provider"))}],
        "lead_time": [
            {"max_days_ahead": ahead + 2},
            {"min_minutes": (ahead - 3) * 1440},
            {"max_days_ahead": 3},
        ],
        "blackout_dates": [{"dates": [(day + timedelta(days=1)).isoformat()]}, {"dates": [day.isoformat()]}],
        "patient_limit": [{"max_active": rng.randint(1, 6)}, {"min_days_between": 1}],
    }
    # The first one leaves something to book more often than not.
    return choices[rule_type][0] if rng.random() < 0.75 else rng.choice(choices[rule_type])


def oracle_of(suite: Suite, practice: Practice, provider: str, patient: str, day: range) -> Oracle:
    """The oracle, from what the database says at this moment."""
    with psycopg.connect(suite.database.owner_url) as owner:
        document = read_location_document(owner, practice.clinic, practice.location)
        assert document is not None
        claims = [Claim(*row) for row in owner.execute(_CLAIMS, (practice.clinic,))]
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
