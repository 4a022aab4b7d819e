"""From a change to the event that leaves with it: ids and times only, never what a patient said."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from medforall.events.v1 import events_pb2

from booking_svc.model import Appointment, Change, HeldClaim
from scheduling.clock import EPOCH
from scheduling.facts import ResourceKind

AGGREGATE = "appointment"

_SECONDS_A_MINUTE = 60
_SECOND: Final = timedelta(seconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


def event_bytes(change: Change, event_id: str, occurred_at: datetime, traceparent: str | None) -> bytes:
    """Return the serialized `medforall.events.v1.Event` of a change."""
    visit = change.after
    event = events_pb2.Event(
        event_id=event_id,
        clinic_id=visit.clinic_id,
        aggregate_type=AGGREGATE,
        aggregate_id=visit.id,
        aggregate_version=visit.version,
        type=change.event_type.value,
        occurred_at=_timestamp(occurred_at),
        traceparent=traceparent or "",
        appointment=events_pb2.AppointmentChanged(
            after=_snapshot(visit), before=_snapshot(change.before) if change.before else None
        ),
        resources=_resource_changes(change),
    )
    return event.SerializeToString()


def _resource_changes(change: Change) -> Iterable[events_pb2.ResourceChange]:
    """Every calendar that the change touched, in the order of their ids."""
    now, before = _by_resource(change.claims), _by_resource(change.claims_before)
    for resource_id in sorted({*now, *before, *_counted_only(change)}):
        claim = next(iter((*now.get(resource_id, ()), *before.get(resource_id, ()))), None)
        lock_id = resource_id if claim is None else claim.lock_id
        yield events_pb2.ResourceChange(
            resource_id=resource_id,
            kind=(ResourceKind.PATIENT if claim is None else claim.kind).value,
            calendar_version=change.versions[lock_id],
            lock_id=lock_id if lock_id != resource_id else "",
            claims=[_interval(found) for found in now.get(resource_id, ())],
            claims_before=[_interval(found) for found in before.get(resource_id, ())],
        )


def _counted_only(change: Change) -> set[str]:
    """The patient that a limit locked though nothing of it is claimed: a raised version needs its event."""
    patient_id = change.after.patient_id
    return {patient_id} if patient_id is not None and patient_id in change.versions else set()


def _by_resource(claims: Iterable[HeldClaim]) -> dict[str, list[HeldClaim]]:
    grouped: dict[str, list[HeldClaim]] = {}
    for claim in claims:
        grouped.setdefault(claim.resource_id, []).append(claim)
    return grouped


def _interval(claim: HeldClaim) -> events_pb2.ClaimedInterval:
    return events_pb2.ClaimedInterval(
        start_min=claim.start_min,
        end_min=claim.end_min,
        unit=claim.unit,
        expires_at_s=_ceil(claim.expires_at, _SECOND) if claim.expires_at else 0,
        expires_at_ms=_ceil(claim.expires_at, _MILLISECOND) if claim.expires_at else 0,
    )


def _ceil(instant: datetime, unit: timedelta) -> int:
    """Whole units since the epoch, rounded up: a reader must not take a hold for ended while the database does not."""
    return -((EPOCH - instant) // unit)


def _snapshot(visit: Appointment) -> events_pb2.AppointmentSnapshot:
    return events_pb2.AppointmentSnapshot(
        appointment_id=visit.id,
        location_id=visit.location_id,
        provider_id=visit.provider_id,
        room_id=visit.room_id or "",
        service_id=visit.service_id,
        patient_id=visit.patient_id or "",
        status=visit.status.value,
        start_utc=Timestamp(seconds=visit.start_min * _SECONDS_A_MINUTE),
        end_utc=Timestamp(seconds=visit.end_min * _SECONDS_A_MINUTE),
        timezone=visit.zone,
        version=visit.version,
    )


def _timestamp(instant: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp
