"""The visit is over; what is left of its time is free again."""

from __future__ import annotations

from booking_svc.model import EventType
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.retained_claims import without_tail
from booking_svc.usecases.status_change import StatusChange, Step
from scheduling.appointment import AppointmentStatus


def complete_appointment(recorder: Recorder) -> StatusChange:
    """Return the use case."""
    return StatusChange(
        Step(
            to=AppointmentStatus.COMPLETED,
            event_type=EventType.COMPLETED,
            retain=without_tail,
        ),
        recorder,
    )
