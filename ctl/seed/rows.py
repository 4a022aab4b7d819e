"""From a clinic's planned visits to the rows of every table, in the order in which they may be inserted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from ctl.seed.events import booked_event
from ctl.seed.facts import ClinicFacts
from ctl.seed.visits import PlannedVisit
from ctl.seed.words import seed_id
from scheduling.claims import locks_of
from scheduling.facts import ResourceKind

ACTOR: Final = "medforall seed"
ROLE: Final = "platform"

Row = tuple[Any, ...]
Versions = Mapping[tuple[str, ResourceKind, date | None], int]


@dataclass(slots=True)
class Rows:
    """Rows by table; each table's columns are in `COLUMNS`."""

    by_table: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in COLUMNS})

    def add(self, table: str, *values: Any) -> None:
        """Add one row."""
        self.by_table[table].append(values)

    def extend(self, other: Rows) -> None:
        """Add another clinic's rows."""
        for table, rows in other.by_table.items():
            self.by_table[table].extend(rows)


# In the order of the foreign keys and of a booking's locks. Instants are staged as epoch minutes (see staging.py).
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "resource": ("clinic_id", "id", "kind", "calendar_version", "quota_day"),
    "appointment_ref": ("clinic_id", "id", "start_ts_utc"),
    "appointment": (
        "clinic_id", "id", "location_id", "patient_id", "provider_id", "room_id", "service_id", "start_ts_utc",
        "end_ts_utc", "status", "room_selection_mode", "buffer_before_min", "buffer_after_min", "created_by",
        "created_at", "updated_at",
    ),
    "appointment_equipment": ("clinic_id", "appointment_id", "equipment_id", "units"),
    "claim": ("clinic_id", "resource_id", "unit", "starts_at", "ends_at", "appointment_id"),
    "outbox_event": (
        "event_id", "clinic_id", "aggregate_type", "aggregate_id", "aggregate_version", "event_type", "payload",
    ),
    "audit_event": (
        "clinic_id", "id", "actor", "actor_role", "action", "entity_type", "entity_id", "request_id", "after",
    ),
}  # fmt: skip


def visit_rows(clinic: ClinicFacts, visits: Iterable[PlannedVisit], booked_at: datetime) -> Rows:
    """Every row of one clinic's visits, and what its resources' calendar versions rise by."""
    rows = Rows()
    versions: Counter[tuple[str, ResourceKind, date | None]] = Counter()
    services = {service.id: service for static in clinic.statics for service in static.services}
    for planned in visits:
        locked: dict[str, int] = {}
        for resource_id, kind in locks_of(planned.claims):
            key = resource_id, kind, planned.local_day if kind is ResourceKind.QUOTA else None
            versions[key] += 1
            locked[resource_id] = versions[key]
        visit, service = planned.visit, services[planned.visit.service_id]
        rows.add("appointment_ref", clinic.id, planned.id, visit.start_min)
        rows.add(
            "appointment", clinic.id, planned.id, planned.location.id, visit.patient_id, visit.provider_id,
            visit.room_id, visit.service_id, visit.start_min, visit.end_min, "scheduled",
            "auto" if visit.room_id else "none", service.buffer_before_min, service.buffer_after_min, ACTOR,
            booked_at, booked_at,
        )  # fmt: skip
        for claim in planned.claims:
            rows.add(
                "claim", clinic.id, claim.resource_id, claim.unit, claim.start_min, claim.end_min, planned.id
            )
        _add_equipment(rows, clinic.id, planned)
        _add_records(rows, clinic, planned, locked, booked_at)
    _add_versions(rows, clinic.id, versions)
    return rows


def _add_records(
    rows: Rows, clinic: ClinicFacts, planned: PlannedVisit, versions: Mapping[str, int], booked_at: datetime
) -> None:
    """The event and the audit row that the booking would have left."""
    event_id = seed_id("event", planned.id)
    payload = booked_event(clinic, planned, versions, event_id, booked_at)
    rows.add(
        "outbox_event", event_id, clinic.id, "appointment", planned.id, 1, "appointment.created", payload
    )
    rows.add(
        "audit_event", clinic.id, seed_id("audit", planned.id), ACTOR, ROLE, "appointment.create", "appointment",
        planned.id, "", '{"status": "scheduled"}',
    )  # fmt: skip


def _add_equipment(rows: Rows, clinic_id: str, planned: PlannedVisit) -> None:
    units: dict[str, list[int]] = {}
    for chosen in planned.visit.equipment:
        units.setdefault(chosen.equipment_id, []).append(chosen.unit)
    for equipment_id, numbers in units.items():
        rows.add("appointment_equipment", clinic_id, planned.id, equipment_id, numbers)


def _add_versions(rows: Rows, clinic_id: str, versions: Versions) -> None:
    """How often each resource was booked; a day's quota has its first row from here."""
    for (resource_id, kind, quota_day), version in versions.items():
        rows.add("resource", clinic_id, resource_id, kind.value, version, quota_day)
