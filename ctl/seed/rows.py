"""From a planned clinic and its visits to the rows of every table, in the order in which they may be inserted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from chassis.encryption import ClinicCipher
from ctl.seed.events import booked_event, directory_event
from ctl.seed.plan import ClinicPlan
from ctl.seed.visits import PlannedVisit
from ctl.seed.words import seed_id
from database.sealed_patient import seal_patient
from scheduling.claims import locks_of
from scheduling.facts import ResourceKind, Window

ACTOR: Final = "medforall seed"
ROLE: Final = "platform"

Row = tuple[Any, ...]


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


_WINDOW: Final = ("kind", "start_local", "end_local", "recurrence_rule", "reason")
# In the order of the foreign keys. Columns that end in `_min_utc` are staged as epoch minutes (see staging.py).
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "clinic": ("id", "name", "default_timezone", "public_search", "created_at", "updated_at"),
    "clinic_key": ("clinic_id", "version", "wrapped_key", "master_key_id"),
    "location": ("clinic_id", "id", "name", "address", "timezone"),
    "location_hours": ("clinic_id", "location_id", "weekday", "opens_min", "closes_min"),
    "closure": ("clinic_id", "id", "location_id", "start_local", "end_local", "reason"),
    "resource": ("clinic_id", "id", "kind", "calendar_version", "quota_day"),
    "provider": ("clinic_id", "id", "location_id", "name", "specialty"),
    "room": (
        "clinic_id", "id", "location_id", "name", "capacity", "concurrent_visits", "turnaround_min", "room_type",
    ),
    "equipment": ("clinic_id", "id", "location_id", "type", "name", "quantity", "turnaround_min"),
    "service": (
        "clinic_id", "id", "name", "description", "default_duration_min", "min_duration_min", "max_duration_min",
        "buffer_before_min", "buffer_after_min", "slot_step_min", "requires_room", "requires_equipment",
        "buffers_within_hours", "allow_patient_overlap",
    ),
    "service_rule": ("clinic_id", "id", "service_id", "provider_id", "rule_type", "rule_payload", "priority"),
    "provider_availability": ("clinic_id", "id", "provider_id", "location_id", *_WINDOW),
    "room_availability": ("clinic_id", "id", "room_id", *_WINDOW),
    "equipment_availability": ("clinic_id", "id", "equipment_id", *_WINDOW),
    "provider_preference": (
        "clinic_id", "id", "provider_id", "service_id", "preferred_room_ids", "preferred_equipment_type",
        "preferred_time_windows", "weight",
    ),
    "patient": (
        "clinic_id", "id", "name_encrypted", "dob_encrypted", "contact_encrypted", "notes_encrypted", "phone_hash",
        "email_hash", "dob_hash", "placeholder",
    ),
    "patient_name_token": ("clinic_id", "token", "patient_id"),
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


def clinic_rows(
    plan: ClinicPlan,
    visits: Iterable[PlannedVisit],
    *,
    key: Row,
    cipher: ClinicCipher,
    first_day: date,
) -> Rows:
    """Every row of one clinic. `key` is its row of `clinic_key`, `cipher` what that key opens to."""
    rows = Rows()
    created_at = (
        datetime.combine(first_day, time(), UTC) - timedelta(days=30) + timedelta(minutes=plan.number)
    )
    rows.add("clinic", plan.id, plan.name, plan.zone, True, created_at, created_at)
    rows.add("clinic_key", *key)
    _add_places(rows, plan)
    _add_services(rows, plan)
    _add_providers(rows, plan)
    _add_patients(rows, plan, cipher)
    _add_directory_events(rows, plan, created_at)
    versions = _add_visits(rows, plan, visits, created_at)
    _add_resources(rows, plan, versions)
    return rows


def _add_places(rows: Rows, plan: ClinicPlan) -> None:
    for location in plan.locations:
        facts = location.facts
        rows.add("location", plan.id, facts.id, location.name, json.dumps(location.address), plan.zone)
        for hours in facts.hours:
            rows.add(
                "location_hours", plan.id, facts.id, hours.weekday + 1, hours.opens_min, hours.closes_min
            )
        for number, closure in enumerate(facts.closures):
            closure_id = seed_id(facts.id, "closure", number)
            rows.add(
                "closure", plan.id, closure_id, facts.id, closure.local_start, closure.local_end, "Closed"
            )
    for room in plan.rooms:
        rows.add(
            "room", plan.id, room.facts.id, room.location_id, room.name, room.capacity,
            room.facts.concurrent_visits, room.facts.turnaround_min, room.facts.room_type,
        )  # fmt: skip
        _add_windows(rows, "room_availability", plan.id, room.facts.id, room.facts.schedule.windows)
    for item in plan.equipment:
        rows.add(
            "equipment", plan.id, item.facts.id, item.facts.location_id, item.facts.equipment_type, item.name,
            item.facts.quantity, item.facts.turnaround_min,
        )  # fmt: skip
        _add_windows(rows, "equipment_availability", plan.id, item.facts.id, item.facts.schedule.windows)


def _add_windows(rows: Rows, table: str, clinic_id: str, resource_id: str, windows: Sequence[Window]) -> None:
    for window in windows:
        place = (window.location_id,) if table == "provider_availability" else ()
        rows.add(
            table, clinic_id, window.id, resource_id, *place, window.kind.value, window.local_start,
            window.local_end, window.recurrence or None, "",
        )  # fmt: skip


def _add_services(rows: Rows, plan: ClinicPlan) -> None:
    for service in plan.services:
        facts = service.facts
        rows.add(
            "service", plan.id, facts.id, service.name, service.description, facts.duration_min,
            facts.min_duration_min, facts.max_duration_min, facts.buffer_before_min, facts.buffer_after_min,
            facts.slot_step_min, facts.requires_room, service.requires_equipment, facts.buffers_within_hours,
            facts.allow_patient_overlap,
        )  # fmt: skip
    for rule in plan.rules:
        rows.add(
            "service_rule", plan.id, rule.id, rule.service_id, rule.provider_id, rule.rule_type,
            json.dumps(rule.payload), rule.priority,
        )  # fmt: skip


def _add_providers(rows: Rows, plan: ClinicPlan) -> None:
    for provider in plan.providers:
        facts = provider.facts
        rows.add("provider", plan.id, facts.id, provider.location_ids[0], provider.name, provider.specialty)
        _add_windows(rows, "provider_availability", plan.id, facts.id, facts.schedule.windows)
        for number, liked in enumerate(facts.preferences):
            windows = [{"start": _clock(start), "end": _clock(end)} for start, end in liked.windows]
            rows.add(
                "provider_preference", plan.id, seed_id(facts.id, "preference", number), facts.id,
                liked.service_id, list(liked.room_ids), liked.equipment_type, json.dumps(windows), liked.weight,
            )  # fmt: skip


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _add_patients(rows: Rows, plan: ClinicPlan, cipher: ClinicCipher) -> None:
    for patient in plan.patients:
        sealed = seal_patient(cipher, patient.id, patient.details)
        rows.add(
            "patient", plan.id, patient.id, sealed.name_encrypted, sealed.dob_encrypted, sealed.contact_encrypted,
            sealed.notes_encrypted, sealed.phone_hash, sealed.email_hash, sealed.dob_hash, patient.is_placeholder,
        )  # fmt: skip
        for token in sealed.name_tokens:
            rows.add("patient_name_token", plan.id, token, patient.id)


def _add_directory_events(rows: Rows, plan: ClinicPlan, created_at: datetime) -> None:
    """An event and an audit row for each thing that was set up."""
    for kind, thing_id, location_ids, resource_id in _things(plan):
        event_id = seed_id("event", kind, thing_id)
        payload = directory_event(
            plan.id, kind, thing_id, event_id, created_at, location_ids=location_ids, resource_id=resource_id
        )
        rows.add("outbox_event", event_id, plan.id, "directory", thing_id, 1, "directory.changed", payload)
        audit_id = seed_id("audit", kind, thing_id)
        rows.add("audit_event", plan.id, audit_id, ACTOR, ROLE, f"{kind}.create", kind, thing_id, "", None)


def _things(plan: ClinicPlan) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Kind, id, locations concerned and resource of everything in the directory that search looks at."""
    yield "clinic", plan.id, (), ""
    for location in plan.locations:
        yield "location", location.facts.id, (location.facts.id,), ""
    for service in plan.services:
        yield "service", service.facts.id, (), ""
    for rule in plan.rules:
        yield "service_rule", rule.id, (), ""
    for provider in plan.providers:
        yield "provider", provider.facts.id, provider.location_ids, provider.facts.id
    for room in plan.rooms:
        yield "room", room.facts.id, (room.location_id,), room.facts.id
    for item in plan.equipment:
        places = (item.facts.location_id,) if item.facts.location_id else ()
        yield "equipment", item.facts.id, places, item.facts.id


def _add_visits(
    rows: Rows, plan: ClinicPlan, visits: Iterable[PlannedVisit], created_at: datetime
) -> Mapping[tuple[str, ResourceKind, date | None], int]:
    """Rows of every visit; returns how often each resource was booked: its calendar version."""
    versions: Counter[tuple[str, ResourceKind, date | None]] = Counter()
    buffers = {found.facts.id: found.facts for found in plan.services}
    for planned in visits:
        locked: dict[str, int] = {}
        for resource_id, kind in locks_of(planned.claims):
            key = resource_id, kind, planned.local_day if kind is ResourceKind.QUOTA else None
            versions[key] += 1
            locked[resource_id] = versions[key]
        visit, service = planned.visit, buffers[planned.visit.service_id]
        rows.add("appointment_ref", plan.id, planned.id, visit.start_min)
        rows.add(
            "appointment", plan.id, planned.id, planned.location.facts.id, visit.patient_id, visit.provider_id,
            visit.room_id, visit.service_id, visit.start_min, visit.end_min, "scheduled",
            "auto" if visit.room_id else "none", service.buffer_before_min, service.buffer_after_min, ACTOR,
            created_at, created_at,
        )  # fmt: skip
        for claim in planned.claims:
            rows.add(
                "claim", plan.id, claim.resource_id, claim.unit, claim.start_min, claim.end_min, planned.id
            )
        _add_equipment(rows, plan.id, planned)
        event_id = seed_id("event", planned.id)
        payload = booked_event(plan, planned, locked, event_id, created_at)
        rows.add(
            "outbox_event", event_id, plan.id, "appointment", planned.id, 1, "appointment.created", payload
        )
        rows.add(
            "audit_event", plan.id, seed_id("audit", planned.id), ACTOR, ROLE, "appointment.create",
            "appointment", planned.id, "", '{"status": "scheduled"}',
        )  # fmt: skip
    return versions


def _add_equipment(rows: Rows, clinic_id: str, planned: PlannedVisit) -> None:
    units: dict[str, list[int]] = {}
    for chosen in planned.visit.equipment:
        units.setdefault(chosen.equipment_id, []).append(chosen.unit)
    for equipment_id, numbers in units.items():
        rows.add("appointment_equipment", clinic_id, planned.id, equipment_id, numbers)


def _add_resources(
    rows: Rows, plan: ClinicPlan, versions: Mapping[tuple[str, ResourceKind, date | None], int]
) -> None:
    """A row for everything scarce, booked or not, at the version that its bookings gave it."""
    all_of_them: dict[tuple[str, ResourceKind, date | None], int] = {
        (thing_id, kind, None): 0
        for kind, thing_ids in (
            (ResourceKind.PROVIDER, [found.facts.id for found in plan.providers]),
            (ResourceKind.ROOM, [found.facts.id for found in plan.rooms]),
            (ResourceKind.EQUIPMENT, [found.facts.id for found in plan.equipment]),
            (ResourceKind.PATIENT, [found.id for found in plan.patients]),
        )
        for thing_id in thing_ids
    }
    for (resource_id, kind, quota_day), version in (all_of_them | dict(versions)).items():
        rows.add("resource", plan.id, resource_id, kind.value, version, quota_day)
