"""The entities of the directory, described once: columns, references, defaults, order and filters.

A `Record` is what callers set and see, by the contract's field names: plain strings, numbers, lists and dictionaries.
The use cases, the statements and the wire mapping all read these descriptions; an entity adds no code of its own
unless it is stored otherwise than in one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from scheduling.errors import Reason
from scheduling.facts import ResourceKind

Record = dict[str, Any]


class Kind(StrEnum):
    """Entities by the word that events, audit rows and statements use."""

    CLINIC = "clinic"
    LOCATION = "location"
    CLOSURE = "closure"
    PROVIDER = "provider"
    ROOM = "room"
    EQUIPMENT = "equipment"
    SERVICE = "service"
    SERVICE_RULE = "service_rule"
    WINDOW = "window"
    PREFERENCE = "preference"
    PATIENT = "patient"
    BREAK_GLASS = "break_glass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One kind of entry.

    `columns` maps the contract's field names to columns; `optional` ones are NULL when empty, `needed` ones never are.
    `zero_means` are the values that a number left at zero stands for, `unset_means` those of one that a new entry does
    not say: zero says something there. `references` names the entity that a field's
    id belongs to. `order` is the column a list is sorted by, then the id; `filters` are fields a list may narrow by.
    """

    kind: Kind
    table: str
    columns: Mapping[str, str]
    optional: frozenset[str] = frozenset()
    needed: tuple[str, ...] = ("name",)
    json: frozenset[str] = frozenset()
    arrays: frozenset[str] = frozenset()
    references: Mapping[str, Kind] = field(default_factory=dict)
    zero_means: Mapping[str, int] = field(default_factory=dict)
    unset_means: Mapping[str, int] = field(default_factory=dict)
    order: str = "name"
    descending: bool = False
    filters: tuple[str, ...] = ()
    resource: ResourceKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entity as it is stored, at one version."""

    kind: Kind
    clinic_id: str
    id: str
    record: Record
    active: bool
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def etag(self) -> str:
        """The version as an entity tag, quotes included."""
        return f'"{self.version}"'


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_WINDOW_COLUMNS: Final = {
    "start": "start_local",
    "end": "end_local",
    "recurrence_rule": "recurrence_rule",
    "kind": "kind",
    "reason": "reason",
}

LOCATION: Final = Entity(
    kind=Kind.LOCATION,
    table="location",
    columns=_same("name", "address", "timezone"),
    optional=frozenset({"timezone"}),
    json=frozenset({"address"}),
)
CLOSURE: Final = Entity(
    kind=Kind.CLOSURE,
    table="closure",
    needed=("start", "end"),
    columns={"location_id": "location_id", "start": "start_local", "end": "end_local", "reason": "reason"},
    optional=frozenset({"location_id"}),
    references={"location_id": Kind.LOCATION},
    order="start",
    filters=("location_id",),
)
PROVIDER: Final = Entity(
    kind=Kind.PROVIDER,
    table="provider",
    columns=_same("location_id", "name", "specialty", "credentials"),
    optional=frozenset({"location_id", "specialty"}),
    json=frozenset({"credentials"}),
    references={"location_id": Kind.LOCATION},
    filters=("location_id", "specialty"),
    resource=ResourceKind.PROVIDER,
)
ROOM: Final = Entity(
    kind=Kind.ROOM,
    table="room",
    needed=("location_id", "name"),
    columns=_same(
        "location_id", "name", "capacity", "concurrent_visits", "room_type", "turnaround_min", "features"
    ),
    optional=frozenset({"room_type"}),
    json=frozenset({"features"}),
    references={"location_id": Kind.LOCATION},
    zero_means={"capacity": 1, "concurrent_visits": 1},
    filters=("location_id", "room_type"),
    resource=ResourceKind.ROOM,
)
EQUIPMENT: Final = Entity(
    kind=Kind.EQUIPMENT,
    table="equipment",
    needed=("type", "name"),
    columns=_same("location_id", "type", "name", "quantity", "turnaround_min"),
    optional=frozenset({"location_id"}),
    references={"location_id": Kind.LOCATION},
    zero_means={"quantity": 1},
    filters=("location_id", "type"),
    resource=ResourceKind.EQUIPMENT,
)
SERVICE: Final = Entity(
    kind=Kind.SERVICE,
    table="service",
    needed=("name", "default_duration_min"),
    columns=_same(
        "name",
        "description",
        "default_duration_min",
        "min_duration_min",
        "max_duration_min",
        "buffer_before_min",
        "buffer_after_min",
        "slot_step_min",
        "requires_room",
        "requires_equipment",
        "buffers_within_hours",
        "allow_patient_overlap",
    ),
    zero_means={"slot_step_min": 15},
)
SERVICE_RULE: Final = Entity(
    kind=Kind.SERVICE_RULE,
    table="service_rule",
    needed=("rule_type",),
    columns=_same("service_id", "provider_id", "rule_type", "rule_payload", "priority"),
    optional=frozenset({"service_id", "provider_id"}),
    json=frozenset({"rule_payload"}),
    references={"service_id": Kind.SERVICE, "provider_id": Kind.PROVIDER},
    unset_means={"priority": 100},
    order="priority",
    descending=True,
    filters=("service_id", "provider_id"),
)
PREFERENCE: Final = Entity(
    kind=Kind.PREFERENCE,
    table="provider_preference",
    needed=("provider_id",),
    columns=_same(
        "provider_id",
        "service_id",
        "preferred_room_ids",
        "preferred_equipment_type",
        "preferred_time_windows",
        "weight",
    ),
    optional=frozenset({"service_id", "preferred_equipment_type"}),
    json=frozenset({"preferred_time_windows"}),
    arrays=frozenset({"preferred_room_ids"}),
    references={"provider_id": Kind.PROVIDER, "service_id": Kind.SERVICE, "preferred_room_ids": Kind.ROOM},
    unset_means={"weight": 50},
    order="provider_id",
    filters=("provider_id",),
)
PROVIDER_WINDOW: Final = Entity(
    kind=Kind.WINDOW,
    table="provider_availability",
    needed=("resource_id", "start", "end", "kind"),
    columns={"resource_id": "provider_id", "location_id": "location_id", **_WINDOW_COLUMNS},
    optional=frozenset({"location_id", "recurrence_rule"}),
    references={"resource_id": Kind.PROVIDER, "location_id": Kind.LOCATION},
    order="start",
    filters=("resource_id", "location_id"),
)
ROOM_WINDOW: Final = Entity(
    kind=Kind.WINDOW,
    table="room_availability",
    needed=("resource_id", "start", "end", "kind"),
    columns={"resource_id": "room_id", **_WINDOW_COLUMNS},
    optional=frozenset({"recurrence_rule"}),
    references={"resource_id": Kind.ROOM},
    order="start",
    filters=("resource_id",),
)
EQUIPMENT_WINDOW: Final = Entity(
    kind=Kind.WINDOW,
    table="equipment_availability",
    needed=("resource_id", "start", "end", "kind"),
    columns={"resource_id": "equipment_id", **_WINDOW_COLUMNS},
    optional=frozenset({"recurrence_rule"}),
    references={"resource_id": Kind.EQUIPMENT},
    order="start",
    filters=("resource_id",),
)

WINDOWS: Final = {
    ResourceKind.PROVIDER: PROVIDER_WINDOW,
    ResourceKind.ROOM: ROOM_WINDOW,
    ResourceKind.EQUIPMENT: EQUIPMENT_WINDOW,
}
PLAIN: Final = {
    entity.kind: entity
    for entity in (LOCATION, CLOSURE, PROVIDER, ROOM, EQUIPMENT, SERVICE, SERVICE_RULE, PREFERENCE)
}


@dataclass(frozen=True, slots=True)
class Displaced:
    """A visit that no longer fits after a change: times in minutes since the epoch, and the reason of the contract."""

    appointment_id: str
    start_min: int
    end_min: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What a change of the directory answers."""

    entry: Entry
    displaced: tuple[Displaced, ...] = ()
    consistency_token: str = ""
