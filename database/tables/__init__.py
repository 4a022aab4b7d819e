"""The schema as SQLAlchemy Core tables, for queries that are not hot and for checking the migrations.

The migrations are the schema; these tables describe it. A test compares the two column by column.
"""

from database.tables.base import metadata
from database.tables.booking import (
    appointment,
    appointment_equipment,
    appointment_ref,
    claim,
    idempotency_key,
    outbox_event,
)
from database.tables.directory import (
    clinic,
    closure,
    equipment,
    equipment_availability,
    location,
    location_hours,
    provider,
    provider_availability,
    provider_preference,
    resource,
    room,
    room_availability,
    service,
    service_rule,
    time_zone,
)
from database.tables.oversight import audit_event, audit_seal, break_glass, detached_month, lease
from database.tables.patient import clinic_key, patient, patient_name_token

__all__ = [
    "appointment",
    "appointment_equipment",
    "appointment_ref",
    "audit_event",
    "audit_seal",
    "break_glass",
    "claim",
    "clinic",
    "clinic_key",
    "closure",
    "detached_month",
    "equipment",
    "equipment_availability",
    "idempotency_key",
    "lease",
    "location",
    "location_hours",
    "metadata",
    "outbox_event",
    "patient",
    "patient_name_token",
    "provider",
    "provider_availability",
    "provider_preference",
    "resource",
    "room",
    "room_availability",
    "service",
    "service_rule",
    "time_zone",
]
