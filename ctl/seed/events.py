"""The events that setting a clinic up and booking its visits would have left in the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from medforall.events.v1 import events_pb2

from booking_svc.model import Appointment, Change, EventType, HeldClaim
from booking_svc.outbox.events import event_bytes
from ctl.seed.plan import ClinicPlan
from ctl.seed.visits import PlannedVisit
from scheduling.appointment import AppointmentStatus


def booked_event(
    plan: ClinicPlan, planned: PlannedVisit, versions: Mapping[str, int], event_id: str, booked_at: datetime
) -> bytes:
    """The event of one booking, made by the very code that makes a real booking's."""
    visit = planned.visit
    after = Appointment(
        clinic_id=plan.id,
        id=planned.id,
        location_id=planned.location.facts.id,
        provider_id=visit.provider_id,
        service_id=visit.service_id,
        start_min=visit.start_min,
        end_min=visit.end_min,
        zone=plan.zone,
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


def directory_event(
    clinic_id: str,
    kind: str,
    thing_id: str,
    event_id: str,
    created_at: datetime,
    *,
    location_ids: Sequence[str],
    resource_id: str,
) -> bytes:
    """The event of something that was set up."""
    occurred_at = Timestamp()
    occurred_at.FromDatetime(created_at)
    changed = events_pb2.DirectoryChanged(
        kind=kind, id=thing_id, change="created", location_ids=location_ids, resource_id=resource_id
    )
    return events_pb2.Event(
        event_id=event_id,
        clinic_id=clinic_id,
        aggregate_type="directory",
        aggregate_id=thing_id,
        aggregate_version=1,
        type="directory.changed",
        occurred_at=occurred_at,
        directory=changed,
    ).SerializeToString()
