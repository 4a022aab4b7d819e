"""What an independent oracle finds bookable is what CreateAppointment accepts, both ways, on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from scheduling.errors import Reason
from tests.integration.booking.conftest import Suite
from tests.oracle.availability import Oracle, day_span
from tests.property.booking.random_clinic import RULE_TYPES, changing_day, oracle_of, random_practice
from tests.support.booking import Client, tried
from tests.support.invariants import invariants
from tests.support.practice import MONDAY, Practice

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham")
CHANGING = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham")
CLINICS = 16
PROBES = 24
WHOLE_DAYS = 16
OFF_GRID_PROBES = 6


class Caller:
    """Asks the oracle and the service the same."""

    def __init__(self, suite: Suite, practice: Practice) -> None:
        self.suite, self.practice = suite, practice
        self.client = Client(suite.targets, practice, suite.keys.token(practice.clinic))

    async def oracle(self, provider: str, patient: str, day: date) -> Oracle:
        span = day_span(self.practice.zone, day)
        return await asyncio.to_thread(oracle_of, self.suite, self.practice, provider, patient, span)

    async def attempt(self, asked: Oracle, start: int) -> Any:
        """Book a start; the answer must be the oracle's, and so must the reason of a refusal. The visit, or None."""
        provider, patient = asked.request.provider_ids, asked.request.patient_id
        assert provider is not None
        who = next(found for found in asked.static.providers if found.id == provider[0])
        expected = asked.reasons(who, start)
        instant = datetime.fromtimestamp(start * 60, UTC).isoformat()
        made, found = await tried(
            self.client.create(instant, provider_id=who.id, patient_id=patient, timeout_s=20)
        )
        told = (self.practice.zone, instant, found, expected)
        assert (found == "OK") == (not expected), told
        assert made is not None or Reason(found.split(" ")[1]) in _told_as(expected), told
        return None if made is None else made.appointment

    async def cancel(self, visit: Any) -> None:
        await self.client.call("CancelAppointment", appointment_id=visit.id)


def _told_as(expected: Iterable[Reason]) -> set[Reason]:
    """What a refusal may be called: the oracle calls a room or item that is closed, or missing, taken."""
    found = set(expected)
    if found & {Reason.ROOM_ALREADY_BOOKED, Reason.EQUIPMENT_UNAVAILABLE}:
        found |= {Reason.ROOM_TYPE, Reason.OUTSIDE_HOURS}
    return found


async def probe(caller: Caller, rng: random.Random, day: date) -> None:
    """Ask for one start, one that the oracle offers more often than not; keep most of what is had."""
    provider, patient = rng.choice(caller.practice.providers), rng.choice(caller.practice.patients)
    asked = await caller.oracle(provider, patient, day)
    span = day_span(caller.practice.zone, day)
    on_grid = [start for start in span if asked.on_grid(start)]
    who = next(found for found in asked.static.providers if found.id == provider)
    offered = [start for start in on_grid if not asked.reasons(who, start)]
    made = await caller.attempt(asked, rng.choice(offered if offered and rng.random() < 0.6 else on_grid))
    if made is not None and rng.random() < 0.3:
        await caller.cancel(made)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CLINICS))
async def test_the_oracles_offers_are_accepted_and_nothing_else(suite: Suite, seed: int) -> None:
    """For a random clinic that fills up, a create is accepted exactly when the oracle finds its start bookable."""
    rng = random.Random(seed)
    practice = random_practice(
        suite,
        rng,
        zone=ZONES[seed % len(ZONES)],
        day=MONDAY,
        steps=(5, 15, 20, 50),
        rule_type=RULE_TYPES[seed % len(RULE_TYPES)],
    )
    caller = Caller(suite, practice)
    for _ in range(PROBES):
        await probe(caller, rng, MONDAY + timedelta(days=rng.choice((0, 0, 1))))
    await caller.client.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(WHOLE_DAYS))
async def test_of_a_whole_day_what_is_offered_is_accepted(suite: Suite, seed: int) -> None:
    """Every start of a day is tried on a half full clinic and given back: accepted are the oracle's slots, all of them.

    Each rule type comes twice: once on an ordinary day, once on the day on which the zone's clock changes.
    """
    rng = random.Random(1_000 + seed)
    is_changing = seed >= len(RULE_TYPES)
    zone = CHANGING[seed % len(CHANGING)] if is_changing else ZONES[seed % len(ZONES)]
    day = changing_day(zone) if is_changing else MONDAY
    rule_type = RULE_TYPES[seed % len(RULE_TYPES)]
    practice = random_practice(suite, rng, zone=zone, day=day, steps=(15, 20, 50), rule_type=rule_type)
    caller, span = Caller(suite, practice), day_span(zone, day)
    assert (len(span) == 1_440) != is_changing
    for _ in range(6):
        await probe(caller, rng, day)
    patient = rng.choice(practice.patients)
    for provider in practice.providers:
        asked = await caller.oracle(provider, patient, day)
        starts = [start for start in span if asked.on_grid(start)] + rng.sample(span, OFF_GRID_PROBES)
        accepted = set()
        for start in starts:
            made = await caller.attempt(asked, start)
            if made is not None:
                accepted.add((start, provider))
                await caller.cancel(made)
        offered = asked.slots(span.start, span.stop + asked.duration)
        assert accepted == {slot for slot in offered if slot[0] in span}
    await caller.client.close()
    invariants(suite.database)
