"""The WebSocket, from an event in JetStream to a client, through real processes."""

import json

from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit, joined


async def test_a_created_appointment_arrives_in_the_documented_format(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """An event reaches a subscriber as `appointment.created` with ids and local times with their offset."""
    visit = Visit(clinic)
    async with joined(suite, suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}") as client:
        event = visit.event()
        await events.publish(event)
        message = await client.hear()
    sequence = message["metadata"].pop("sequence")
    timestamp = message["metadata"].pop("timestamp")
    assert message == {
        "type": "appointment.created",
        "payload": {
            "appointmentId": visit.id,
            "clinicId": clinic.id,
            "locationId": clinic.location_id,
            "providerId": clinic.provider_ids[0],
            "roomId": clinic.room_id,
            "start": "2026-02-20T09:00:00-05:00",
            "end": "2026-02-20T09:30:00-05:00",
            "serviceId": clinic.service_id,
            "status": "scheduled",
            "version": 1,
        },
        "metadata": {"eventId": event.event_id},
    }
    assert timestamp.endswith("Z")
    assert json.dumps(message).find(clinic.patient_ids[0]) < 0
    assert "-" in sequence
