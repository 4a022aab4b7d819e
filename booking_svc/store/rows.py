"""Rows to values and values to parameters; encrypted columns are opened and sealed here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from booking_svc.model import Appointment, EquipmentUse, HeldClaim, Override
from chassis.encryption import ClinicCipher
from database.pipeline import Value
from scheduling.appointment import AppointmentStatus
from scheduling.clock import instant_of, minutes_of
from scheduling.facts import PlannedClaim, ResourceKind, RoomMode

APPOINTMENT_COLUMNS = 26
"""How many columns `appointment_of` reads; statements may select more after them."""


def appointment_of(row: Sequence[Any], cipher: ClinicCipher) -> Appointment:
    """Return the appointment of a row of READ_APPOINTMENT or LIST_APPOINTMENTS."""
    (
        clinic_id, id_, location_id, patient_id, provider_id, room_id, service_id, start, end, status, version,
        room_mode, buffer_before, buffer_after, notes, reason, override_reason, override_by, rules, expires_at,
        token_hash, created_by, created_at, updated_at, zone, equipment,
    ) = row[:APPOINTMENT_COLUMNS]  # fmt: skip
    override = None
    if override_by is not None:
        override = Override(
            _opened(override_reason, cipher, id_, "override_reason_encrypted"), override_by, tuple(rules)
        )
    return Appointment(
        clinic_id=clinic_id,
        id=id_,
        location_id=location_id,
        patient_id=patient_id,
        provider_id=provider_id,
        room_id=room_id,
        service_id=service_id,
        start_min=minutes_of(start),
        end_min=minutes_of(end),
        zone=zone,
        status=AppointmentStatus(status),
        version=version,
        room_mode=RoomMode(room_mode),
        buffer_before_min=buffer_before,
        buffer_after_min=buffer_after,
        notes=_opened(notes, cipher, id_, "notes_encrypted"),
        reason=_opened(reason, cipher, id_, "reason_encrypted"),
        override=override,
        expires_at=expires_at,
        hold_token_hash=token_hash,
        equipment=_equipment_of(equipment),
        created_by=created_by,
        created_at=created_at,
        updated_at=updated_at,
    )


def insert_values(visit: Appointment, cipher: ClinicCipher) -> tuple[Value, ...]:
    """Return the parameters of INSERT_APPOINTMENT."""
    return (
        visit.clinic_id, visit.id, visit.location_id, visit.patient_id, visit.provider_id, visit.room_id,
        visit.service_id, *_changing(visit, cipher), visit.created_by, visit.created_at.isoformat(),
        visit.updated_at.isoformat(),
    )  # fmt: skip


def new_visit_values(visit: Appointment, cipher: ClinicCipher) -> tuple[str | int | None, ...]:
    """Return what a new visit, which is no hold, has in its columns from id to overridden_rules; bytes as hex."""
    override = visit.override
    notes = _sealed(visit.notes, cipher, visit.id, "notes_encrypted")
    why = _sealed(override.reason, cipher, visit.id, "override_reason_encrypted") if override else None
    return (
        visit.id, visit.location_id, visit.patient_id, visit.provider_id, visit.room_id, visit.service_id,
        visit.start_min, visit.end_min, visit.status.value, visit.room_mode.value, visit.buffer_before_min,
        visit.buffer_after_min, None if notes is None else notes.hex(), None if why is None else why.hex(),
        override.by if override else None, ",".join(override.rules) if override else "",
    )  # fmt: skip


def update_values(before: Appointment, visit: Appointment, cipher: ClinicCipher) -> tuple[Value, ...]:
    """Return the parameters of UPDATE_APPOINTMENT, which finds the row by where it was before."""
    return (
        visit.clinic_id, visit.id, instant_of(before.start_min).isoformat(), visit.location_id, visit.patient_id,
        visit.provider_id, visit.room_id, *_changing(visit, cipher), visit.updated_at.isoformat(),
    )  # fmt: skip


def _changing(visit: Appointment, cipher: ClinicCipher) -> tuple[Value, ...]:
    """The columns from start_ts_utc to hold_token_hash, in the order of both statements."""
    override = visit.override
    return (
        instant_of(visit.start_min).isoformat(),
        instant_of(visit.end_min).isoformat(),
        visit.status.value,
        visit.version,
        visit.room_mode.value,
        visit.buffer_before_min,
        visit.buffer_after_min,
        _sealed(visit.notes, cipher, visit.id, "notes_encrypted"),
        _sealed(visit.reason, cipher, visit.id, "reason_encrypted"),
        _sealed(override.reason, cipher, visit.id, "override_reason_encrypted") if override else None,
        override.by if override else None,
        list(override.rules) if override else [],
        visit.expires_at.isoformat() if visit.expires_at else None,
        visit.hold_token_hash,
    )


def held_claims_of(rows: Sequence[Sequence[Any]], provider_id: str) -> tuple[HeldClaim, ...]:
    """Return the claims of READ_OWN_CLAIMS's rows; what has no resource row is a gap of the visit's provider."""
    return tuple(_held_claim(row, provider_id) for row in rows)


def _held_claim(row: Sequence[Any], provider_id: str) -> HeldClaim:
    resource_id, kind, unit, start_min, end_min, expires_at = row
    if kind is None:
        return HeldClaim(resource_id, ResourceKind.GAP, provider_id, unit, start_min, end_min, expires_at)
    return HeldClaim(resource_id, ResourceKind(kind), resource_id, unit, start_min, end_min, expires_at)


def claim_values(
    clinic_id: str, visit_id: str, expires_at: datetime | None, claims: Sequence[HeldClaim | PlannedClaim]
) -> tuple[Value, ...]:
    """Return the parameters of INSERT_CLAIMS."""
    return (
        clinic_id,
        visit_id,
        expires_at.isoformat() if expires_at else None,
        [claim.resource_id for claim in claims],
        [claim.unit for claim in claims],
        [claim.start_min for claim in claims],
        [claim.end_min for claim in claims],
    )


def _equipment_of(document: str | None) -> tuple[EquipmentUse, ...]:
    if document is None:
        return ()
    return tuple(EquipmentUse(item, tuple(units)) for item, units in orjson.loads(document))


def _sealed(text: str, cipher: ClinicCipher, visit_id: str, column: str) -> bytes | None:
    return cipher.seal_text(text, table="appointment", column=column, row_id=visit_id) if text else None


def _opened(sealed: bytes | None, cipher: ClinicCipher, visit_id: str, column: str) -> str:
    return (
        ""
        if sealed is None
        else cipher.open_text(sealed, table="appointment", column=column, row_id=visit_id)
    )
