"""The patient said it will come."""

from __future__ import annotations

from booking_svc.model import EventType
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.status_change import StatusChange, Step
from scheduling.appointment import AppointmentStatus


def confirm_appointment(recorder: Recorder) -> StatusChange:
    """Return the use case."""
    return StatusChange(
        Step(
            to=AppointmentStatus.CONFIRMED,
            event_type=EventType.CONFIRMED,
        ),
        recorder,
    )
