"""The visit begins."""

from __future__ import annotations

from booking_svc.model import EventType
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.status_change import StatusChange, Step
from scheduling.appointment import AppointmentStatus


def start_appointment(recorder: Recorder) -> StatusChange:
    """Return the use case."""
    return StatusChange(
        Step(
            to=AppointmentStatus.IN_PROGRESS,
            event_type=EventType.STARTED,
        ),
        recorder,
    )
