"""The event that booking a visit would have left in the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from booking_svc.model import Appointment, Change, EventType, HeldClaim
from booking_svc.outbox.events import event_bytes
from ctl.seed.facts import ClinicFacts
from ctl.seed.visits import PlannedVisit
from scheduling.appointment import AppointmentStatus


def booked_event(
    clinic: ClinicFacts,
    planned: PlannedVisit,
    versions: Mapping[str, int],
    event_id: str,
    booked_at: datetime,
) -> bytes:
    """The event of one booking, made by the very code that makes a real booking's."""
    visit = planned.visit
    after = Appointment(
        clinic_id=clinic.id,
        id=planned.id,
        location_id=planned.location.id,
        provider_id=visit.provider_id,
        service_id=visit.service_id,
        start_min=visit.start_min,
        end_min=visit.end_min,
        zone=planned.location.zone,
        status=AppointmentStatus.SCHEDULED,
        patient_id=visit.patient_id,
        room_id=visit.room_id,
        created_at=booked_at,
        updated_at=booked_at,
    )
    claims = tuple(
        HeldClaim(claim.resource_id, claim.kind, claim.lock_id, claim.unit, claim.start_min, claim.end_min)
        for claim in planned.claims
    )
    change = Change(event_type=EventType.CREATED, after=after, claims=claims, versions=versions)
    return event_bytes(change, event_id, booked_at, None)
