"""The relay's order, and what an event says of a change."""

from __future__ import annotations

from datetime import UTC, datetime

from medforall.events.v1 import events_pb2

from booking_svc.model import Appointment, Change, EventType, HeldClaim
from booking_svc.outbox.events import event_bytes
from booking_svc.outbox.queue import OutboxEvent
from booking_svc.outbox.relay import RelayLimits, waves
from booking_svc.outbox.subjects import republish_subject_of, subject_of
from scheduling.appointment import AppointmentStatus
from scheduling.facts import ResourceKind

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def row(number: int, aggregate: str, event_type: str = "appointment.created") -> OutboxEvent:
    return OutboxEvent(
        id=number,
        event_id=f"event-{number}",
        clinic_id="clinic",
        aggregate_type="appointment",
        aggregate_id=aggregate,
        event_type=event_type,
        payload=b"",
        traceparent=None,
        attempts=0,
        created_at=NOW,
    )


def test_no_wave_has_two_events_of_one_aggregate() -> None:
    """The n-th event of an aggregate is in the n-th wave, so a failed one keeps back those behind it."""
    events = [row(1, "a"), row(2, "b"), row(3, "a"), row(4, "a"), row(5, "b"), row(6, "c")]
    found = [[event.id for event in wave] for wave in waves(events)]
    assert found == [[1, 2, 6], [3, 5], [4]]


def test_the_busier_the_outbox_the_longer_events_gather() -> None:
    """A lone event is followed by a short pause, a full batch by no more than the longest, and none by nothing."""
    limits = RelayLimits(gather_s=0.005, gather_max_s=0.02)
    assert [limits.gathering_s(sent) for sent in (0, 1, 3, 4, 150)] == [0, 0.005, 0.015, 0.02, 0.02]


def test_subjects_are_one_word_behind_the_clinic() -> None:
    """Appointments and holds share a stream; projectors hear a republished event on a subject of its own."""
    assert subject_of(row(1, "a")) == "medforall.appointment.clinic.created"
    assert subject_of(row(1, "a", "hold.expired")) == "medforall.appointment.clinic.hold_expired"
    assert republish_subject_of(row(1, "a")) == "medforall.republish.clinic.appointment.created"


def test_an_event_tells_every_calendar_before_and_after() -> None:
    """A gap carries its provider's version, a resource that is claimed no more has no claims, a hold's end is whole."""
    visit = Appointment(
        clinic_id="clinic",
        id="visit",
        location_id="here",
        provider_id="doctor",
        service_id="service",
        start_min=100,
        end_min=130,
        zone="UTC",
        status=AppointmentStatus.HELD,
        version=2,
        created_at=NOW,
        updated_at=NOW,
    )
    until = NOW.replace(microsecond=1)
    change = Change(
        event_type=EventType.HOLD_RESCHEDULED,
        after=visit,
        before=visit,
        claims=(
            HeldClaim("doctor", ResourceKind.PROVIDER, "doctor", 1, 95, 135, until),
            HeldClaim("gap", ResourceKind.GAP, "doctor", 1, 100, 150, until),
        ),
        claims_before=(HeldClaim("room", ResourceKind.ROOM, "room", 2, 0, 30),),
        versions={"doctor": 7, "room": 3},
    )
    event = events_pb2.Event.FromString(event_bytes(change, "event", NOW, None))
    found = {item.resource_id: item for item in event.resources}
    assert (found["gap"].kind, found["gap"].calendar_version, found["gap"].lock_id) == ("gap", 7, "doctor")
    assert found["doctor"].claims[0].expires_at_s == int(NOW.timestamp()) + 1
    assert found["doctor"].claims[0].expires_at_ms == int(NOW.timestamp()) * 1_000 + 1
    assert list(found["room"].claims) == []
    assert found["room"].claims_before[0].unit == 2
    assert event.appointment.after.patient_id == ""
