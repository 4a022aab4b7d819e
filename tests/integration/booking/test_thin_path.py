"""One booking's way: created, read, listed, moved, canceled, and told to JetStream."""

from __future__ import annotations

import nats
from medforall.booking.v1 import appointment_pb2
from medforall.events.v1 import events_pb2

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.invariants import invariants, query
from tests.support.practice import MONDAY, at
from tests.support.waiting import wait_until_async


async def test_a_booking_is_created_read_listed_moved_and_canceled(
    suite: Suite, make_client: MakeClient
) -> None:
    """The thin path works on PostgreSQL, and its claims go where the appointment goes."""
    practice = suite.practice()
    client = make_client(practice)
    created = (await client.create(at(9), notes="first visit")).appointment
    assert created.start == f"{MONDAY.isoformat()}T09:00:00+00:00"
    assert created.status == appointment_pb2.APPOINTMENT_STATUS_SCHEDULED
    assert created.room_id == practice.rooms[0]
    assert created.notes == "first visit"
    assert created.etag == '"1"'
    got = (await client.call("GetAppointment", appointment_id=created.id)).appointment
    assert got == created
    listed = await client.call("ListAppointments", date=MONDAY.isoformat())
    assert [visit.id for visit in listed.appointments] == [created.id]
    moved = await client.call("UpdateAppointment", appointment_id=created.id, start=at(10), etag=created.etag)
    assert moved.appointment.start_utc.seconds == created.start_utc.seconds + 3600
    assert moved.appointment.version == 2
    claims = query(
        suite.database.owner_url,
        "SELECT min(starts_at), count(*) FROM claim WHERE appointment_id = %s",
        created.id,
    )
    assert claims[0][0].hour == 10
    assert claims[0][1] == 3
    canceled = await client.call(
        "UpdateAppointment",
        appointment_id=created.id,
        status=appointment_pb2.APPOINTMENT_STATUS_CANCELED,
        reason="ill",
    )
    assert canceled.appointment.status == appointment_pb2.APPOINTMENT_STATUS_CANCELED
    assert canceled.appointment.reason == "ill"
    left = "SELECT count(*) FROM claim WHERE clinic_id = %s"
    assert query(suite.database.owner_url, left, practice.clinic) == [(0,)]
    invariants(suite.database)


async def test_every_change_arrives_on_the_stream_in_order(suite: Suite, make_client: MakeClient) -> None:
    """The relay publishes each version of an appointment once, in order, with what it claims before and after."""
    practice = suite.practice()
    client = make_client(practice)
    connection = await nats.connect(suite.nats_url)
    try:
        subject = f"medforall.appointment.{practice.clinic}.>"
        created = (await client.create(at(9))).appointment
        await client.call("RescheduleAppointment", appointment_id=created.id, start=at(11))
        await client.call("CancelAppointment", appointment_id=created.id)
        subscription = await connection.jetstream().subscribe(subject, ordered_consumer=True)
        events: list[events_pb2.Event] = []

        async def three() -> bool:
            message = await subscription.next_msg(timeout=5)
            events.append(events_pb2.Event.FromString(message.data))
            return len(events) == 3

        await wait_until_async(three)
    finally:
        await connection.close()
    assert [event.type for event in events] == [
        "appointment.created",
        "appointment.rescheduled",
        "appointment.canceled",
    ]
    assert [event.aggregate_version for event in events] == [1, 2, 3]
    provider = [next(r for r in event.resources if r.kind == "provider") for event in events]
    assert [len(change.claims) for change in provider] == [1, 1, 0]
    assert provider[1].claims_before == provider[0].claims
    assert [change.calendar_version for change in provider] == [1, 2, 3]
