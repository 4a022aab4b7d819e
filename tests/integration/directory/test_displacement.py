"""What a change of the directory does to visits that are booked already."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import grpc.aio
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from medforall.directory.v1 import directory_types_pb2 as types
from medforall.type.v1 import reason_pb2

from scheduling.ids import gap_id
from tests.integration.directory.conftest import Directory, Suite
from tests.support.booking import code_of, reason_of
from tests.support.invariants import OVERLAPS, query
from tests.support.practice import MONDAY, Practice, at, new_id


async def book(directory: Directory, practice: Practice, hour: int, minute: int = 0, **fields: Any) -> Any:
    """Book half an hour with the practice's first provider for a patient of its own."""
    wanted = {
        "patient_id": practice.patients[hour % len(practice.patients)],
        "service_id": practice.service,
        "provider_id": practice.provider,
        "location_id": practice.location,
        "start": at(hour, minute),
    } | fields
    return (await directory.booking("CreateAppointment", **wanted)).appointment


def listed(reply: Any) -> dict[str, str]:
    """Displaced appointments and why."""
    prefix = "ERROR_REASON_"
    return {
        found.appointment_id: reason_pb2.ErrorReason.Name(found.reason).removeprefix(prefix)
        for found in reply.displaced
    }


def claims_of(suite: Suite, appointment: str, resource: str) -> list[tuple[Any, ...]]:
    """Hours and minutes that an appointment's claims on a resource begin and end at."""
    return query(
        suite.database.owner_url,
        """SELECT to_char(starts_at AT TIME ZONE 'UTC', 'HH24:MI'), to_char(ends_at AT TIME ZONE 'UTC', 'HH24:MI')
           FROM claim WHERE appointment_id = %s AND resource_id = %s""",
        appointment,
        resource,
    )


async def test_a_closure_lists_the_visits_in_it_and_strict_refuses_it(
    directory: Directory, practice: Practice
) -> None:
    """Only visits inside the closure are listed; with `strict` nothing is written and the reply says how many."""
    inside = await book(directory, practice, 10)
    await book(directory, practice, 14)
    closure = types.Closure(location_id=practice.location, start=at(9)[:16], end=at(12)[:16])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("CreateClosure", closure=closure, strict=True)
    assert (code_of(refused.value), reason_of(refused.value)) == ("FAILED_PRECONDITION", "WOULD_DISPLACE")
    assert list((await directory.call("ListClosures")).closures) == []
    accepted = await directory.call("CreateClosure", closure=closure)
    assert listed(accepted) == {inside.id: "OUTSIDE_HOURS"}
    assert accepted.displaced[0].start_utc == inside.start_utc


async def test_time_off_lists_the_providers_own_visits(directory: Directory, practice: Practice) -> None:
    """A provider's time off pushes its visits outside, and booking refuses the time from then on."""
    visit = await book(directory, practice, 10)
    reply = await directory.call(
        "CreateWindow",
        window=types.Window(
            resource_id=practice.provider,
            start=at(9)[:16],
            end=at(13)[:16],
            kind=types.WINDOW_KIND_UNAVAILABLE,
        ),
    )
    assert listed(reply) == {visit.id: "OUTSIDE_HOURS"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await book(directory, practice, 11)
    assert reason_of(refused.value) == "OUTSIDE_HOURS"


@pytest.mark.parametrize("word", ["Room", "Provider", "Service", "Location"])
async def test_what_goes_out_of_use_lists_the_visits_that_need_it(
    directory: Directory, practice: Practice, word: str
) -> None:
    """Deactivating a room, provider, service or location lists every visit to come that uses it."""
    visit = await book(directory, practice, 10)
    ids = {
        "Room": practice.rooms[0],
        "Provider": practice.provider,
        "Service": practice.service,
        "Location": practice.location,
    }
    reply = await directory.call(f"Deactivate{word}", **{f"{word.lower()}_id": ids[word]})
    assert listed(reply) == {visit.id: "RESOURCE_INACTIVE"}


async def test_a_longer_turnaround_is_claimed_where_it_fits(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Rooms of visits to come are taken for the cleaning too; where the next visit is too near, it is listed."""
    first, second = await book(directory, practice, 10), await book(directory, practice, 10, 30)
    room = practice.rooms[0]
    reply = await directory.call(
        "UpdateRoom",
        room_id=room,
        room=types.Room(turnaround_min=20),
        update_mask=FieldMask(paths=["turnaround_min"]),
    )
    assert listed(reply) == {first.id: "ROOM_ALREADY_BOOKED"}
    assert claims_of(suite, first.id, room) == [("10:00", "10:30")]
    assert claims_of(suite, second.id, room) == [("10:30", "11:20")]
    events = query(
        suite.database.owner_url,
        "SELECT event_type FROM outbox_event WHERE aggregate_id = %s ORDER BY aggregate_version",
        second.id,
    )
    assert events == [("appointment.created",), ("appointment.updated",)]
    assert query(suite.database.owner_url, OVERLAPS) == [(0,)]


async def test_a_new_gap_binds_the_visits_that_are_there(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Visits get their gap claims; one too near the last is listed; booking keeps the gap to all that have it."""
    await book(directory, practice, 10)
    near = await book(directory, practice, 10, 45)
    rule = types.ServiceRule(service_id=practice.service, rule_type="min_gap")
    rule.rule_payload.update({"min_gap_minutes": 30})
    reply = await directory.call("CreateServiceRule", service_rule=rule)
    assert listed(reply) == {near.id: "MIN_GAP"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await book(directory, practice, 11, 30)
    assert reason_of(refused.value) == "MIN_GAP"
    assert (await book(directory, practice, 12)).id
    gone = await directory.call("DeactivateServiceRule", service_rule_id=reply.service_rule.id)
    assert listed(gone) == {}
    assert (await book(directory, practice, 11, 30)).id


async def test_a_longer_gap_is_kept_from_every_visit_that_is_there(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Each visit claims the longer gap, however near others lie; all that are too near an earlier one are listed."""
    rule = types.ServiceRule(service_id=practice.service, rule_type="min_gap")
    rule.rule_payload.update({"min_gap_minutes": 10})
    created = (await directory.call("CreateServiceRule", service_rule=rule)).service_rule
    visits = [await book(directory, practice, *when) for when in ((10, 0), (10, 45), (11, 30))]
    rule.rule_payload.update({"min_gap_minutes": 30})
    reply = await directory.call(
        "UpdateServiceRule",
        service_rule_id=created.id,
        service_rule=rule,
        update_mask=FieldMask(paths=["rule_payload"]),
    )
    assert listed(reply) == {visits[1].id: "MIN_GAP", visits[2].id: "MIN_GAP"}
    gap = gap_id(created.id, practice.provider)
    assert [claims_of(suite, visit.id, gap) for visit in visits] == [
        [("10:00", "11:00")],
        [("10:45", "11:45")],
        [("11:30", "12:30")],
    ]
    assert query(suite.database.owner_url, OVERLAPS) == [(0,)]


async def test_a_new_daily_limit_counts_the_visits_that_are_there(
    directory: Directory, practice: Practice
) -> None:
    """Visits over the limit are listed, and the day is full for everybody else."""
    visits = [await book(directory, practice, hour) for hour in (9, 10, 11)]
    rule = types.ServiceRule(service_id=practice.service, rule_type="max_daily")
    rule.rule_payload.update({"max_per_day": 2})
    reply = await directory.call("CreateServiceRule", service_rule=rule)
    assert listed(reply) == {visits[2].id: "MAX_DAILY_REACHED"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await book(directory, practice, 15)
    assert reason_of(refused.value) == "MAX_DAILY_REACHED"
    next_day = MONDAY + timedelta(days=1)
    assert (await book(directory, practice, 15, start=at(15, day=next_day))).id


async def test_a_lower_limit_lists_as_many_as_are_over_it(directory: Directory, practice: Practice) -> None:
    """What counts is how many visits a day has, not which places of the day's quota they got."""
    rule = types.ServiceRule(service_id=practice.service, rule_type="max_daily")
    rule.rule_payload.update({"max_per_day": 3})
    created = (await directory.call("CreateServiceRule", service_rule=rule)).service_rule
    visits = [await book(directory, practice, hour) for hour in (9, 10, 11)]

    async def lower(limit: int) -> dict[str, str]:
        rule.rule_payload.update({"max_per_day": limit})
        mask = FieldMask(paths=["rule_payload"])
        reply = await directory.call(
            "UpdateServiceRule", service_rule_id=created.id, service_rule=rule, update_mask=mask
        )
        return listed(reply)

    assert await lower(1) == {visit.id: "MAX_DAILY_REACHED" for visit in visits[1:]}
    for visit in visits[:2]:
        await directory.booking("CancelAppointment", appointment_id=visit.id)
    assert await lower(2) == {}
    assert await lower(1) == {}


async def test_a_smaller_pool_lists_the_visits_that_find_it_empty(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Lowering a room's concurrent visits lists the later ones, which keep their time and claims."""
    room, second = (
        practice.rooms[0],
        await directory.add("Provider", name="Dr. Two", location_id=practice.location),
    )
    await directory.add(
        "Window",
        resource_id=second.id,
        start=f"{date(2024, 1, 1)}T00:00",
        end=f"{date(2024, 1, 2)}T00:00",
        recurrence_rule="FREQ=DAILY",
        kind=types.WINDOW_KIND_AVAILABLE,
    )
    mask = FieldMask(paths=["concurrent_visits"])
    await directory.call("UpdateRoom", room_id=room, room=types.Room(concurrent_visits=2), update_mask=mask)
    one = await book(directory, practice, 10, room_id=room)
    two = await book(
        directory, practice, 10, room_id=room, provider_id=second.id, patient_id=practice.patients[3]
    )
    reply = await directory.call(
        "UpdateRoom", room_id=room, room=types.Room(concurrent_visits=1), update_mask=mask
    )
    assert set(listed(reply)) < {one.id, two.id}
    assert set(listed(reply).values()) == {"ROOM_ALREADY_BOOKED"}
    assert claims_of(suite, one.id, room) == claims_of(suite, two.id, room) == [("10:00", "10:30")]


async def test_bookings_and_changes_of_the_directory_do_not_pass_each_other(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """While visits are booked and a closure is made at once, each visit inside is either listed or was refused."""
    closure = types.Closure(location_id=practice.location, start=at(8)[:16], end=at(12)[:16])
    hours = [(hour, minute) for hour in (8, 9, 10, 11) for minute in (0, 30)]

    async def attempt(index: int) -> str:
        try:
            patient = practice.patients[index]
            return str((await book(directory, practice, *hours[index], patient_id=patient)).id)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)

    attempts = [asyncio.create_task(attempt(index)) for index in range(4)]
    change = asyncio.create_task(directory.call("CreateClosure", closure=closure, idempotency_key=new_id()))
    attempts += [asyncio.create_task(attempt(index)) for index in range(4, 8)]
    booked = set(await asyncio.gather(*attempts)) - {"OUTSIDE_HOURS"}
    assert set(listed(await change)) == booked
    assert query(suite.database.owner_url, OVERLAPS) == [(0,)]


async def test_a_zone_stays_while_visits_are_booked_ahead(directory: Directory, practice: Practice) -> None:
    """Another zone would give booked visits another local time: refused for the location and for its clinic."""
    await book(directory, practice, 10)
    mask = FieldMask(paths=["timezone"])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call(
            "UpdateLocation",
            location_id=practice.location,
            location=types.Location(timezone="Asia/Tokyo"),
            update_mask=mask,
        )
    assert reason_of(refused.value) == "WOULD_DISPLACE"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call(
            "UpdateClinic",
            clinic=types.Clinic(default_timezone="Asia/Tokyo"),
            update_mask=FieldMask(paths=["default_timezone"]),
        )
    assert reason_of(refused.value) == "WOULD_DISPLACE"


async def test_a_patient_out_of_use_keeps_its_visits_and_books_no_more(
    directory: Directory, practice: Practice
) -> None:
    """Deactivating a patient lists the visits ahead; a new booking finds no such patient."""
    patient = (await directory.add("Patient", name="Bo Ek", dob="1990-01-01")).id
    visit = await book(directory, practice, 10, patient_id=patient)
    reply = await directory.call("DeactivatePatient", patient_id=patient)
    assert listed(reply) == {visit.id: "RESOURCE_INACTIVE"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await book(directory, practice, 12, patient_id=patient)
    assert code_of(refused.value) == "NOT_FOUND"


async def test_a_placeholder_that_becomes_somebody_is_taken_by_its_visits(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Visits that overlap are listed, `strict` refuses for them, and no booking overlaps with any of them after it."""
    person: dict[str, Any] = {"name": "Walk-in", "placeholder": True}
    patient = await directory.add("Patient", **person)
    with psycopg.connect(suite.database.owner_url) as owner:
        second, third = practice.add_provider(owner), practice.add_provider(owner)
        for _ in range(3):
            practice.add_room(owner)
    first = await book(directory, practice, 10, patient_id=patient.id)
    beside = await book(directory, practice, 10, provider_id=second, patient_id=patient.id)
    later = await book(directory, practice, 11, patient_id=patient.id)
    somebody = types.Patient(name="Jane Doe", dob="1980-04-30", placeholder=False)
    fields: dict[str, Any] = {
        "patient_id": patient.id,
        "patient": somebody,
        "update_mask": FieldMask(paths=["name", "dob", "placeholder"]),
    }
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("UpdatePatient", strict=True, **fields)
    assert reason_of(refused.value) == "WOULD_DISPLACE"
    displaced = listed(await directory.call("UpdatePatient", **fields))
    assert set(displaced.values()) == {"PATIENT_ALREADY_BOOKED"}
    assert set(displaced) < {first.id, beside.id}
    assert len(displaced) == 1
    for visit in (first, beside, later):
        assert claims_of(suite, visit.id, patient.id)
    for hour in (10, 11):
        with pytest.raises(grpc.aio.AioRpcError) as taken:
            await book(directory, practice, hour, provider_id=third, patient_id=patient.id)
        assert reason_of(taken.value) == "PATIENT_ALREADY_BOOKED"
    fields |= {"patient": types.Patient(placeholder=True), "update_mask": FieldMask(paths=["placeholder"])}
    assert listed(await directory.call("UpdatePatient", strict=True, **fields)) == {}
    assert claims_of(suite, first.id, patient.id) == []
    await book(directory, practice, 10, provider_id=third, patient_id=patient.id)


async def test_a_service_that_may_not_overlap_any_more_takes_its_patients(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """A visit of it beside another visit of the patient is listed, one alone only takes the patient."""
    with psycopg.connect(suite.database.owner_url) as owner:
        infusion = practice.add_service(owner, requires_room=False, allow_patient_overlap=True)
        second, third = practice.add_provider(owner), practice.add_provider(owner)
    patient = practice.patients[0]
    beside = await book(directory, practice, 10, service_id=infusion, provider_id=second, patient_id=patient)
    await book(directory, practice, 10, 15, patient_id=patient)
    alone = await book(directory, practice, 12, service_id=infusion, patient_id=patient)
    fields: dict[str, Any] = {
        "service_id": infusion,
        "service": types.Service(allow_patient_overlap=False),
        "update_mask": FieldMask(paths=["allow_patient_overlap"]),
    }
    assert listed(await directory.call("UpdateService", **fields)) == {beside.id: "PATIENT_ALREADY_BOOKED"}
    assert claims_of(suite, alone.id, patient) == [("12:00", "12:30")]
    with pytest.raises(grpc.aio.AioRpcError) as taken:
        await book(directory, practice, 12, provider_id=third, patient_id=patient)
    assert reason_of(taken.value) == "PATIENT_ALREADY_BOOKED"
    retired = listed(await directory.call("DeactivateService", service_id=infusion))
    assert retired == {beside.id: "RESOURCE_INACTIVE", alone.id: "RESOURCE_INACTIVE"}, (
        "that is all that is new"
    )
