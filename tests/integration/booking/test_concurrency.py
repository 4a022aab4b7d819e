"""Many callers at once, on two booking processes: nothing is booked twice, and nothing that fits is left out."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import outcome
from tests.support.invariants import deadlocks, invariants, query
from tests.support.practice import MONDAY, at

CALL_S = 30.0


@pytest.fixture(scope="module")
def process_count() -> int:
    """Two processes, so that no lock inside one of them can be what keeps order."""
    return 2


async def all_of(calls: Iterable[Any]) -> Counter[str]:
    return Counter(await asyncio.gather(*(outcome(call) for call in calls)))


async def test_one_slot_has_one_winner(suite: Suite, make_client: MakeClient) -> None:
    """Of 200 clients who want one slot one gets it, and the others hear that the provider is taken."""
    practice = suite.practice(patients=200)
    client = make_client(practice)
    before = deadlocks(suite.database)
    found = await all_of(client.create(at(9), patient=n, timeout_s=CALL_S) for n in range(200))
    assert found == {"OK": 1, "ALREADY_EXISTS SLOT_ALREADY_BOOKED": 199}
    assert deadlocks(suite.database) == before
    invariants(suite.database)


async def test_partial_overlaps_leave_a_maximal_set(suite: Suite, make_client: MakeClient) -> None:
    """200 overlapping wishes for shared rooms and a pool of three: afterwards no refused one would still fit."""
    practice = suite.practice(providers=5, rooms=0, patients=200)
    with psycopg.connect(suite.database.owner_url) as owner:
        for _ in range(4):
            practice.add_room(owner)
        practice.add_equipment(owner, "scanner", 2)
        practice.add_equipment(owner, "scanner", 1)
        practice.add_rule(owner, "required_equipment_type", equipment_type="scanner", min_units=1)
    client = make_client(practice)
    before = deadlocks(suite.database)
    rng = random.Random(4)
    wishes: list[dict[str, Any]] = [
        {
            "start": at(9 + rng.randrange(3), rng.choice((0, 15, 30, 45))),
            "patient": n,
            "provider_id": rng.choice(practice.providers),
        }
        for n in range(200)
    ]
    found = await all_of(client.create(timeout_s=CALL_S, **wish) for wish in wishes)
    conflicts = {"SLOT_ALREADY_BOOKED", "ROOM_ALREADY_BOOKED", "EQUIPMENT_UNAVAILABLE"}
    assert found.keys() <= {"OK", *(f"ALREADY_EXISTS {reason}" for reason in conflicts)}, found
    assert found["OK"] >= 12
    again = await all_of(client.create(timeout_s=CALL_S, **wish) for wish in wishes)
    assert again["OK"] == 0, "something that fits was left unbooked"
    assert deadlocks(suite.database) == before
    invariants(suite.database)


async def test_everyone_finds_a_room_while_there_is_one(suite: Suite, make_client: MakeClient) -> None:
    """Ten providers book at one moment and there are ten rooms: all of them get one, whatever they chose first."""
    practice = suite.practice(providers=10, rooms=10, patients=10)
    client = make_client(practice)
    for hour in range(8, 14):
        found = await all_of(
            client.create(at(hour), patient=n, provider_id=practice.providers[n], timeout_s=CALL_S)
            for n in range(10)
        )
        assert found == {"OK": 10}
    invariants(suite.database)


async def test_visits_that_trade_places_both_end_well(suite: Suite, make_client: MakeClient) -> None:
    """Chains of moves, A to B's time and B to A's at once, neither deadlock nor lose a visit."""
    practice = suite.practice(providers=2, rooms=2, patients=2)
    client = make_client(practice)
    before = deadlocks(suite.database)
    first = (await client.create(at(9), patient=0)).appointment
    second = (await client.create(at(10), patient=1, provider_id=practice.providers[1])).appointment
    for round_ in range(20):
        hours = (11, 12) if round_ % 2 else (9, 10)
        calls = [
            client.call(
                "RescheduleAppointment",
                appointment_id=visit.id,
                start=at(hour),
                provider_id=provider,
                timeout_s=CALL_S,
            )
            for visit, hour, provider in (
                (first, hours[0], practice.providers[1]),
                (second, hours[1], practice.providers[0]),
                (first, hours[1], practice.providers[0]),
                (second, hours[0], practice.providers[1]),
            )
        ]
        found = await all_of(calls)
        allowed = {
            "OK",
            "ALREADY_EXISTS SLOT_ALREADY_BOOKED",
            "ABORTED CONCURRENT_BOOKING",
        }
        assert found.keys() <= allowed, found
        assert found["OK"] >= 1
    for visit in (first, second):
        got = (await client.call("GetAppointment", appointment_id=visit.id)).appointment
        assert got.version > 1
    assert deadlocks(suite.database) == before
    invariants(suite.database)


async def test_a_day_of_eight_takes_eight(suite: Suite, make_client: MakeClient) -> None:
    """50 clients against a daily limit of eight, on different times and providers: eight get in."""
    practice = suite.practice(providers=5, rooms=10, patients=50)
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_rule(owner, "max_daily", max_per_day=8, scope="service")
    client = make_client(practice)
    before = deadlocks(suite.database)
    found = await all_of(
        client.create(at(8 + n // 5), patient=n, provider_id=practice.providers[n % 5], timeout_s=CALL_S)
        for n in range(50)
    )
    assert found == {"OK": 8, "FAILED_PRECONDITION MAX_DAILY_REACHED": 42}
    assert deadlocks(suite.database) == before
    invariants(suite.database)


async def test_bookings_that_share_nothing_do_not_wait(suite: Suite, make_client: MakeClient) -> None:
    """While one transaction holds a provider's row, another provider's booking goes through."""
    practice = suite.practice(providers=2, rooms=2, patients=2)
    client = make_client(practice)
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(
            "SELECT 1 FROM resource WHERE id = ANY (%s) FOR NO KEY UPDATE",
            ([practice.providers[0], practice.rooms[0], practice.patients[0]],),
        )
        other: dict[str, Any] = {
            "provider_id": practice.providers[1],
            "room_id": practice.rooms[1],
            "patient": 1,
        }
        assert await outcome(client.create(at(9), timeout_s=1.5, **other)) == "OK"
    assert await outcome(client.create(at(9))) == "OK"


async def test_expiry_and_confirmation_have_one_winner(suite: Suite, make_client: MakeClient) -> None:
    """1,000 holds confirmed in the moment they end: each is confirmed or expired, never both, and the slot agrees."""
    practice = suite.practice(providers=10, rooms=0, patients=1)
    with psycopg.connect(suite.database.owner_url) as owner:
        service = practice.add_service(owner, requires_room=False, allow_patient_overlap=True)
    practice.services.reverse()
    client = make_client(practice)
    tally: Counter[tuple[str, str]] = Counter()

    async def race(n: int) -> None:
        day, place = divmod(n, 500)
        start = at(place // 10 % 24, 0, MONDAY + timedelta(days=day * 3 + place // 240))
        provider = practice.providers[n % 10]
        held = await client.hold(
            start, service_id=service, provider_id=provider, patient_id=practice.patients[0], timeout_s=CALL_S
        )
        hold_id = held.appointment.id
        end = "UPDATE {} SET expires_at = clock_timestamp() + interval '4 ms' WHERE {} = %s"
        with psycopg.connect(suite.database.owner_url) as owner:
            owner.execute(end.format("appointment", "id"), (hold_id,))
            owner.execute(end.format("claim", "appointment_id"), (hold_id,))
        confirmed, rival = await asyncio.gather(
            outcome(
                client.call("ConfirmHold", hold_id=hold_id, hold_token=held.hold_token, timeout_s=CALL_S)
            ),
            outcome(client.create(start, service_id=service, provider_id=provider, timeout_s=CALL_S)),
        )
        tally[confirmed.split(" ")[-1], rival.split(" ")[-1]] += 1

    for first in range(0, 1_000, 20):
        await asyncio.gather(*(race(n) for n in range(first, first + 20)))
    assert tally.total() == 1_000
    assert tally.keys() <= {
        ("OK", "SLOT_ALREADY_BOOKED"),
        ("HOLD_EXPIRED", "OK"),
        ("HOLD_EXPIRED", "SLOT_ALREADY_BOOKED"),
    }, tally
    assert query(
        suite.database.owner_url,
        "SELECT count(*) FROM appointment WHERE clinic_id = %s AND status = 'held' AND expires_at > clock_timestamp()",
        practice.clinic,
    ) == [(0,)]
    invariants(suite.database)
