"""What patients may have and do, and what a visit keeps on record of its claims."""

from __future__ import annotations

from datetime import timedelta

import grpc.aio
import psycopg
import pytest
from medforall.booking.v1 import appointment_pb2

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import details_of, outcome
from tests.support.invariants import invariants, query
from tests.support.practice import MONDAY, Noon, at

CONFIRMED = appointment_pb2.APPOINTMENT_STATUS_CONFIRMED
UNITS = """
SELECT (SELECT array_agg(unit ORDER BY unit) FROM claim WHERE appointment_id = %s AND resource_id = %s),
       (SELECT units FROM appointment_equipment WHERE appointment_id = %s AND equipment_id = %s)
"""


async def test_all_of_a_patients_visits_ahead_count(suite: Suite, make_client: MakeClient) -> None:
    """A visit in two weeks counts against `max_active` when another is booked three months later."""
    practice = suite.practice()
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_rule(owner, "patient_limit", max_active=1)
    client = make_client(practice)
    await client.create(at(9))
    late = at(9, day=MONDAY + timedelta(days=91))
    assert await outcome(client.create(late)) == "FAILED_PRECONDITION PATIENT_LIMIT"
    assert await outcome(client.create(late, patient=1)) == "OK"


@pytest.mark.parametrize("status", ["CHECKED_IN", "IN_PROGRESS", "COMPLETED", "NO_SHOW"])
async def test_a_patient_steps_no_visit_on(suite: Suite, make_client: MakeClient, status: str) -> None:
    """What a patient may not call by name it cannot have by way of an update; confirming and canceling it can."""
    practice = suite.practice()
    patient = make_client(practice, "patient", patient_id=practice.patients[0])
    visit = (await patient.create(at(9))).appointment

    async def step(word: str) -> str:
        wanted = appointment_pb2.AppointmentStatus.Value(f"APPOINTMENT_STATUS_{word}")
        return await outcome(patient.call("UpdateAppointment", appointment_id=visit.id, status=wanted))

    assert (await step(status)).startswith("PERMISSION_DENIED")
    assert await step("CONFIRMED") == "OK"
    assert await step("CANCELED") == "OK"


@pytest.mark.parametrize(
    "along_with", [{}, {"status": CONFIRMED}, {"start": at(11)}], ids=["alone", "step", "move"]
)
async def test_a_patient_writes_no_notes_over_those_of_staff(
    suite: Suite, make_client: MakeClient, along_with: dict[str, object]
) -> None:
    """Notes on a visit are refused to a patient alone, with a step and with a move; without, it may."""
    practice = suite.practice()
    staff, patient = make_client(practice), make_client(practice, "patient", patient_id=practice.patients[0])
    visit = (await staff.create(at(9), notes="allergic")).appointment
    change = {"appointment_id": visit.id, **along_with}
    for notes in ("mine", ""):
        found = await outcome(patient.call("UpdateAppointment", notes=notes, **change))
        assert found == "PERMISSION_DENIED PERMISSION_DENIED"
    assert (await staff.call("GetAppointment", appointment_id=visit.id)).appointment == visit
    if along_with:
        assert await outcome(patient.call("UpdateAppointment", **change)) == "OK"
    assert (await staff.call("GetAppointment", appointment_id=visit.id)).appointment.notes == "allergic"


async def test_a_patient_confirms_a_hold_without_notes(suite: Suite, make_client: MakeClient) -> None:
    """What staff noted on a hold stays when the patient confirms it."""
    practice = suite.practice()
    staff, patient = make_client(practice), make_client(practice, "patient", patient_id=practice.patients[0])
    held = await staff.hold(at(9), patient_id=practice.patients[0], notes="allergic")
    use = {"hold_id": held.appointment.id, "hold_token": held.hold_token}
    assert (
        await outcome(patient.call("ConfirmHold", notes="mine", **use))
        == "PERMISSION_DENIED PERMISSION_DENIED"
    )
    assert await outcome(patient.call("ConfirmHold", **use)) == "OK"
    seen = await staff.call("GetAppointment", appointment_id=held.appointment.id)
    assert seen.appointment.notes == "allergic"


async def test_a_confirmed_hold_records_what_it_claims(suite: Suite, make_client: MakeClient) -> None:
    """When its patient becomes known, the units claimed and on record are those that were held."""
    practice = suite.practice(providers=2, rooms=2)
    with psycopg.connect(suite.database.owner_url) as owner:
        item = practice.add_equipment(owner, "laser", 2)
        practice.add_rule(owner, "required_equipment_type", equipment_type="laser", min_units=1)
    client = make_client(practice)
    first = (await client.create(at(9))).appointment
    held = await client.hold(at(9), provider_id=practice.providers[1])
    units = list(held.appointment.equipment[0].units)
    await client.call("CancelAppointment", appointment_id=first.id)
    hold_id = held.appointment.id
    confirmed = await client.call(
        "ConfirmHold", hold_id=hold_id, hold_token=held.hold_token, patient_id=practice.patients[1]
    )
    claimed, recorded = query(suite.database.owner_url, UNITS, hold_id, item, hold_id, item)[0]
    assert claimed == recorded == units
    assert list(confirmed.appointment.equipment[0].units) == units
    assert confirmed.appointment.room_id == held.appointment.room_id
    invariants(suite.database)


async def test_a_no_show_comes_back_under_a_new_limit(suite: Suite, make_client: MakeClient) -> None:
    """A limit that was set after somebody did not come does not keep it from getting back what it had."""
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone)
    client = make_client(practice)
    visit = (await client.create(noon.just_begun(), override_reason="walked in")).appointment
    await client.call("MarkNoShow", appointment_id=visit.id)
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_rule(owner, "max_daily", max_per_day=1, scope="service")
    assert await outcome(client.call("CheckInAppointment", appointment_id=visit.id)) == "OK"
    invariants(suite.database)


async def test_what_a_move_is_offered_it_can_have(suite: Suite, make_client: MakeClient) -> None:
    """A visit that keeps its named room is offered the times at which that room is free."""
    practice = suite.practice(providers=2, rooms=2)
    client = make_client(practice)
    room = practice.rooms[0]
    visit = (await client.create(at(9), room_id=room)).appointment
    other = practice.providers[1]
    for hour, minute in ((10, 30), (11, 0), (11, 30)):
        await client.create(at(hour, minute), patient=1, provider_id=other, room_id=room)
    await client.create(at(11), patient=2, room_id=practice.rooms[1])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.call("RescheduleAppointment", appointment_id=visit.id, start=at(11))
    offered = [slot.start for slot in details_of(refused.value)["BookingConflict"].same_provider]
    assert len(offered) == 3
    for start in offered:
        assert (
            await outcome(client.call("RescheduleAppointment", appointment_id=visit.id, start=start)) == "OK"
        )
