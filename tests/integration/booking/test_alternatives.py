"""What a refusal of a time offers instead: near, free for this patient, and bookable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import grpc.aio
import psycopg
import pytest

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import details_of, outcome, reason_of
from tests.support.clinic_rows import insert
from tests.support.practice import MONDAY, Noon, Practice, at, new_id


async def refusal(call: Any) -> tuple[str, Any]:
    """Why a call was refused, and what it was offered."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return reason_of(refused.value), details_of(refused.value).get("BookingConflict")


@pytest.fixture(scope="module")
def process_count() -> int:
    """One with a database of its own: a visit loses its claims there."""
    return 1


def starts(slots: Sequence[Any]) -> list[str]:
    return [slot.start[11:16] for slot in slots]


async def test_a_patient_with_a_full_day_is_offered_three_times(
    suite: Suite, make_client: MakeClient
) -> None:
    """A patient who is busy for hours around the time is offered the nearest times after that, not nothing."""
    practice = suite.practice(providers=2, rooms=2)
    client = make_client(practice)
    for hour in (6, 8, 10, 12):
        await client.create(at(hour), end=at(hour + 2), provider_id=practice.providers[1])
    reason, offered = await refusal(client.create(at(10)))
    assert reason == "PATIENT_ALREADY_BOOKED"
    assert starts(offered.same_provider) == ["14:00", "14:15", "05:30"]
    assert len(offered.any_provider) == 3
    assert await outcome(client.create(offered.same_provider[0].start)) == "OK"


async def test_a_patient_who_may_overlap_is_offered_what_it_may_have(
    suite: Suite, make_client: MakeClient
) -> None:
    """Where a service lets a patient's visits overlap, its other visits keep no slot from being offered."""
    practice = suite.practice(providers=2, rooms=2)
    with psycopg.connect(suite.database.owner_url) as owner:
        infusion = practice.add_service(owner, allow_patient_overlap=True)
    client = make_client(practice)
    await client.create(at(8), end=at(10), provider_id=practice.providers[1])
    await client.create(at(9), patient=1)
    reason, offered = await refusal(client.create(at(9), service_id=infusion))
    assert reason == "SLOT_ALREADY_BOOKED"
    assert starts(offered.same_provider) == ["08:30", "09:30", "08:15"]


async def test_a_provider_of_every_other_week_is_looked_for_long_enough(
    suite: Suite, make_client: MakeClient
) -> None:
    """One who works an hour every other Monday has three slots to offer, within four weeks."""
    practice = suite.practice(providers=1, rooms=2)
    with psycopg.connect(suite.database.owner_url) as owner:
        rare = practice.add_provider(owner)
        owner.execute("DELETE FROM provider_availability WHERE provider_id = %s", (rare,))
        _hours(owner, practice, rare, "FREQ=WEEKLY;INTERVAL=2")
    client = make_client(practice)
    await client.create(at(9), provider_id=rare, end=at(10))
    reason, offered = await refusal(client.create(at(9), patient=1, provider_id=rare))
    assert reason == "SLOT_ALREADY_BOOKED"
    later = (MONDAY + timedelta(days=14)).isoformat()
    assert [slot.start[:16] for slot in offered.same_provider] == [
        f"{later}T09:00",
        f"{later}T09:15",
        f"{later}T09:30",
    ]
    assert starts(offered.any_provider) == ["09:00", "08:45", "09:15"]
    for slot in offered.same_provider[:1]:
        assert await outcome(client.create(slot.start, patient=1, provider_id=rare)) == "OK"


def _hours(owner: psycopg.Connection[Any], practice: Practice, provider: str, recurrence: str) -> None:
    """Nine to ten, from the first Monday on."""
    insert(
        owner,
        "provider_availability",
        clinic_id=practice.clinic,
        id=new_id(),
        provider_id=provider,
        kind="available",
        start_local=datetime(MONDAY.year, MONDAY.month, MONDAY.day, 9),  # noqa: DTZ001 - windows are local
        end_local=datetime(MONDAY.year, MONDAY.month, MONDAY.day, 10),  # noqa: DTZ001
        recurrence_rule=recurrence,
    )


RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "MIN_GAP": ("min_gap", {"min_gap_minutes": 60}),
    "MAX_DAILY_REACHED": ("max_daily", {"max_per_day": 1, "scope": "service"}),
    "BLACKOUT_DATE": ("blackout_dates", {"dates": [MONDAY.isoformat()]}),
    "PATIENT_LIMIT": ("patient_limit", {"min_days_between": 2}),
    "OFF_GRID": ("", {}),
    "OUTSIDE_HOURS": ("", {}),
    "LEAD_TIME": ("lead_time", {"min_minutes": 60 * 24 * 30}),
}


@pytest.mark.parametrize("reason", RULES)
@pytest.mark.parametrize("method", ["create", "hold", "move"])
async def test_a_rule_that_refuses_a_time_offers_others(
    suite: Suite, make_client: MakeClient, reason: str, method: str
) -> None:
    """Where a rule, the hours or the grid say no to a time, the refusal has three others, and they can be had."""
    practice = suite.practice(rooms=2)
    kind, payload = RULES[reason]
    client = make_client(practice)
    first = (await client.create(at(9))).appointment
    far = (await client.create(at(9, day=MONDAY + timedelta(days=40)), patient=1)).appointment
    with psycopg.connect(suite.database.owner_url) as owner:
        if kind:
            practice.add_rule(owner, kind, **payload)
        if reason == "OUTSIDE_HOURS":
            _day_off(owner, practice, MONDAY)
        if reason in ("MIN_GAP", "MAX_DAILY_REACHED"):  # what was booked before the rule has no claim for it
            owner.execute("DELETE FROM claim WHERE appointment_id = %s", (first.id,))
    if reason in ("MIN_GAP", "MAX_DAILY_REACHED"):
        await client.create(at(9), patient=2)
    wanted = at(9, 35) if reason == "OFF_GRID" else at(9, 30)

    async def ask(start: str) -> Any:
        if method == "move":
            return await client.call("RescheduleAppointment", appointment_id=far.id, start=start)
        book = client.hold if method == "hold" else client.create
        patient = practice.patients[0 if reason == "PATIENT_LIMIT" else 1]
        return await book(start, patient_id=patient)

    if method == "move" and reason == "PATIENT_LIMIT":
        await client.create(at(8, day=MONDAY - timedelta(days=3)), patient=1)
        wanted = at(9, 30, day=MONDAY - timedelta(days=2))
    found, offered = await refusal(ask(wanted))
    assert found == reason
    assert len(offered.same_provider) == len(offered.any_provider) == 3
    assert await outcome(ask(offered.same_provider[0].start)) == "OK"


def _day_off(owner: psycopg.Connection[Any], practice: Practice, day: date) -> None:
    insert(
        owner,
        "provider_availability",
        clinic_id=practice.clinic,
        id=new_id(),
        provider_id=practice.provider,
        kind="unavailable",
        start_local=datetime(day.year, day.month, day.day),  # noqa: DTZ001 - windows are local
        end_local=datetime(day.year, day.month, day.day) + timedelta(days=1),  # noqa: DTZ001
    )


async def test_a_start_that_has_passed_offers_what_is_next(suite: Suite, make_client: MakeClient) -> None:
    """A start of yesterday is refused with the first times from now on."""
    practice = suite.practice()
    client = make_client(practice)
    now = datetime.now(UTC)
    reason, offered = await refusal(client.create(at(9, day=now.date() - timedelta(days=1))))
    assert reason == "LEAD_TIME"
    first = datetime.fromisoformat(offered.same_provider[0].start)
    assert now < first < now + timedelta(minutes=30)


@pytest.mark.parametrize("what", ["service_id", "provider_id"])
async def test_what_no_other_time_mends_has_no_slots(
    suite: Suite, make_client: MakeClient, what: str
) -> None:
    """A service or provider out of use is refused without slots."""
    practice = suite.practice()
    client = make_client(practice)
    table, found = {
        "service_id": ("service", practice.service),
        "provider_id": ("provider", practice.provider),
    }[what]
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(f"UPDATE {table} SET active = false WHERE id = %s", (found,))
    assert await refusal(client.create(at(9))) == ("RESOURCE_INACTIVE", None)


async def test_a_no_show_whose_time_is_gone_is_offered_another(suite: Suite, make_client: MakeClient) -> None:
    """Checked in after somebody took its time, by either call: the refusal offers times that can be booked."""
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone, rooms=2)
    client = make_client(practice)
    start = noon.at(15)
    visit = (await client.create(start)).appointment
    await client.call("MarkNoShow", appointment_id=visit.id)
    await client.create(start, patient=1)
    reason, offered = await refusal(client.call("CheckInAppointment", appointment_id=visit.id))
    assert reason == "SLOT_ALREADY_BOOKED"
    assert [item.id for item in offered.taken] == [practice.provider]
    assert len(offered.same_provider) == 3
    again = await refusal(
        client.call("UpdateAppointment", appointment_id=visit.id, status="APPOINTMENT_STATUS_CHECKED_IN")
    )
    assert again == (reason, offered)
    assert await outcome(client.create(offered.same_provider[0].start)) == "OK"
