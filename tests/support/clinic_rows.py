"""One clinic with one row in every table, straight into SQL: for tests of the schema itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
from psycopg import Connection, sql
from psycopg.types.range import TimestamptzRange

# In months of which every migrated database has partitions, whenever that is: a visit to come, and what was audited.
AUDITED_AT = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
START = (AUDITED_AT + timedelta(days=100)).replace(day=1, hour=9)
END = START + timedelta(minutes=30)
AUDIT_PARTITION, VISIT_PARTITION = f"audit_event_{AUDITED_AT:%Y_%m}", f"appointment_{START:%Y_%m}"


def _new_id() -> str:
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class ClinicRows:
    """The ids of a clinic made by `insert_clinic`."""

    clinic: str = field(default_factory=_new_id)
    location: str = field(default_factory=_new_id)
    provider: str = field(default_factory=_new_id)
    room: str = field(default_factory=_new_id)
    equipment: str = field(default_factory=_new_id)
    patient: str = field(default_factory=_new_id)
    service: str = field(default_factory=_new_id)
    appointment: str = field(default_factory=_new_id)


def insert(connection: Connection[object], table: str, **values: object) -> None:
    """Insert one row."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    connection.execute(statement, list(values.values()))


def insert_clinic(owner_url: str) -> ClinicRows:
    """Commit one clinic with one row in every table that belongs to a clinic."""
    ids = ClinicRows()
    with psycopg.connect(owner_url) as owner:
        _insert_directory(owner, ids)
        _insert_windows(owner, ids)
        _insert_visit(owner, ids)
        _insert_oversight(owner, ids)
    return ids


def _insert_directory(owner: Connection[object], ids: ClinicRows) -> None:
    own = {"clinic_id": ids.clinic}
    insert(owner, "clinic", id=ids.clinic, name="Harbour", default_timezone="Europe/Berlin")
    insert(owner, "clinic_key", **own, version=1, wrapped_key=b"k" * 60, master_key_id="test")
    insert(owner, "location", **own, id=ids.location, name="Quay")
    insert(
        owner, "location_hours", **own, location_id=ids.location, weekday=1, opens_min=480, closes_min=1080
    )
    for kind in ("provider", "room", "equipment", "patient"):
        insert(owner, "resource", **own, id=getattr(ids, kind), kind=kind)
    insert(owner, "provider", **own, id=ids.provider, name="Dr. Brandt")
    insert(owner, "room", **own, id=ids.room, location_id=ids.location, name="1")
    insert(owner, "equipment", **own, id=ids.equipment, type="ecg", name="ECG", quantity=2)
    insert(owner, "patient", **own, id=ids.patient, name_encrypted=b"sealed")
    insert(owner, "patient_name_token", **own, token=b"token", patient_id=ids.patient)
    insert(
        owner,
        "service",
        **own,
        id=ids.service,
        name="Visit",
        default_duration_min=30,
        min_duration_min=30,
        max_duration_min=30,
    )
    insert(
        owner,
        "service_rule",
        **own,
        id=_new_id(),
        rule_type="room_type",
        rule_payload='{"room_type": "exam"}',
    )


def _insert_windows(owner: Connection[object], ids: ClinicRows) -> None:
    own = {"clinic_id": ids.clinic}
    span = {
        "start_local": START.replace(tzinfo=None),
        "end_local": END.replace(tzinfo=None),
    }
    for kind in ("provider", "room", "equipment"):
        resource = {f"{kind}_id": getattr(ids, kind)}
        insert(owner, f"{kind}_availability", **own, id=_new_id(), kind="available", **resource, **span)
    insert(owner, "closure", **own, id=_new_id(), **span)
    insert(owner, "provider_preference", **own, id=_new_id(), provider_id=ids.provider)


def appointment_values(ids: ClinicRows, appointment_id: str) -> dict[str, object]:
    """The columns of a plain appointment of this clinic."""
    return {
        "clinic_id": ids.clinic,
        "id": appointment_id,
        "location_id": ids.location,
        "patient_id": ids.patient,
        "provider_id": ids.provider,
        "service_id": ids.service,
        "start_ts_utc": START,
        "end_ts_utc": END,
    }


def claim_values(ids: ClinicRows, resource_id: str, appointment_id: str) -> dict[str, object]:
    """The columns of a claim for the appointment's time."""
    return {
        "clinic_id": ids.clinic,
        "resource_id": resource_id,
        "unit": 1,
        "during": TimestamptzRange(START, END, "[)"),
        "starts_at": START,
        "ends_at": END,
        "appointment_id": appointment_id,
    }


def _insert_visit(owner: Connection[object], ids: ClinicRows) -> None:
    own = {"clinic_id": ids.clinic}
    insert(owner, "appointment_ref", **own, id=ids.appointment, start_ts_utc=START)
    insert(owner, "appointment", **appointment_values(ids, ids.appointment))
    insert(
        owner,
        "appointment_equipment",
        **own,
        appointment_id=ids.appointment,
        equipment_id=ids.equipment,
        units=[1],
    )
    for resource_id in (ids.provider, ids.patient):
        insert(owner, "claim", **claim_values(ids, resource_id, ids.appointment))
    insert(owner, "idempotency_key", **own, principal="p", method="m", key=_new_id(), fingerprint=b"f" * 32)
    insert(
        owner,
        "outbox_event",
        **own,
        event_id=_new_id(),
        aggregate_type="appointment",
        aggregate_id=ids.appointment,
        aggregate_version=1,
        event_type="appointment.created",
        payload=b"",
    )


def _insert_oversight(owner: Connection[object], ids: ClinicRows) -> None:
    own = {"clinic_id": ids.clinic}
    audit_id, at = _new_id(), AUDITED_AT
    insert(
        owner,
        "audit_event",
        **own,
        id=audit_id,
        at=at,
        actor="somebody",
        actor_role="admin",
        action="clinic.create",
        entity_type="clinic",
    )
    insert(
        owner,
        "audit_seal",
        **own,
        seq=1,
        audit_event_id=audit_id,
        audit_event_at=at,
        chain_hash=b"h" * 32,
    )
    insert(
        owner,
        "break_glass",
        **own,
        id=_new_id(),
        actor="somebody",
        reason="emergency",
        granted_at=at,
        expires_at=at + timedelta(hours=1),
    )
