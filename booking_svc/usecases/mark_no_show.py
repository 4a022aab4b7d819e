"""The patient did not come; all claims but the daily quota are free again."""

from __future__ import annotations

from booking_svc.model import EventType
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.retained_claims import quotas_of
from booking_svc.usecases.status_change import StatusChange, Step
from scheduling.appointment import AppointmentStatus


def mark_no_show(recorder: Recorder) -> StatusChange:
    """Return the use case."""
    return StatusChange(
        Step(
            to=AppointmentStatus.NO_SHOW,
            event_type=EventType.NO_SHOW,
            retain=quotas_of,
        ),
        recorder,
    )
