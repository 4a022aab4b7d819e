"""Everything a canceled visit claimed is free again at once; works in a suspended clinic."""

from __future__ import annotations

from booking_svc.model import EventType
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.retained_claims import none_of
from booking_svc.usecases.status_change import StatusChange, Step
from scheduling.appointment import AppointmentStatus


def cancel_appointment(recorder: Recorder) -> StatusChange:
    """Return the use case."""
    return StatusChange(
        Step(
            to=AppointmentStatus.CANCELED,
            event_type=EventType.CANCELED,
            retain=none_of,
            may_be_suspended=True,
        ),
        recorder,
    )
