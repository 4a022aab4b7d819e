"""The values that the parts of the service hand each other: an appointment, what it claims, and a change of it.

Ids are lower-case UUID strings; `*_min` are minutes since the Unix epoch in UTC; instants are aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from chassis.auth.principal import Principal
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Reason
from scheduling.facts import ResourceKind, RoomMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, under which request and trace, and with which idempotency key (empty: none)."""

    principal: Principal
    request_id: str = ""
    traceparent: str | None = None
    idempotency_key: str = ""
    address: str | None = None


@dataclass(frozen=True, slots=True)
class EquipmentUse:
    """Units of one equipment item that a visit uses."""

    equipment_id: str
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """Soft rules that staff broke: why, who, and which reasons would have refused the booking."""

    reason: str
    by: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """One visit or hold at one version. `zone` is the IANA zone of its location.

    `notes`, `reason` and the override's reason are in the clear here and ciphertext in the database.
    """

    clinic_id: str
    id: str
    location_id: str
    provider_id: str
    service_id: str
    start_min: int
    end_min: int
    zone: str
    status: AppointmentStatus
    patient_id: str | None = None
    room_id: str | None = None
    room_mode: RoomMode = RoomMode.AUTO
    buffer_before_min: int = 0
    buffer_after_min: int = 0
    version: int = 1
    notes: str = ""
    reason: str = ""
    override: Override | None = None
    expires_at: datetime | None = None
    hold_token_hash: bytes | None = None
    equipment: tuple[EquipmentUse, ...] = ()
    created_by: str = ""
    created_at: datetime
    updated_at: datetime

    @property
    def etag(self) -> str:
        """The version as an entity tag, quotes included."""
        return f'"{self.version}"'


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A claim as the database holds it. `lock_id` is the resource row that guards it; a gap's is its provider's."""

    resource_id: str
    kind: ResourceKind
    lock_id: str
    unit: int
    start_min: int
    end_min: int
    expires_at: datetime | None = None


class EventType(StrEnum):
    """What happened to an appointment or hold: the end of the event's subject."""

    CREATED = "appointment.created"
    UPDATED = "appointment.updated"
    RESCHEDULED = "appointment.rescheduled"
    CANCELED = "appointment.canceled"
    CONFIRMED = "appointment.confirmed"
    CHECKED_IN = "appointment.checked_in"
    STARTED = "appointment.started"
    COMPLETED = "appointment.completed"
    NO_SHOW = "appointment.no_show"
    HOLD_CREATED = "hold.created"
    HOLD_RESCHEDULED = "hold.rescheduled"
    HOLD_RENEWED = "hold.renewed"
    HOLD_CONFIRMED = "hold.confirmed"
    HOLD_RELEASED = "hold.released"
    HOLD_EXPIRED = "hold.expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One committed step of an appointment: what the event and the audit row are made of.

    `claims_before` and `claims` are what it held and holds on the resources in `versions`, which maps each locked
    resource row to the calendar version that this change gave it.
    """

    event_type: EventType
    after: Appointment
    before: Appointment | None = None
    claims: tuple[HeldClaim, ...] = ()
    claims_before: tuple[HeldClaim, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traces:
    """What a change leaves beside itself: an event's id and bytes, and an audit row's id and what it shows as JSON."""

    event_id: str
    payload: bytes
    audit_id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a mutating use case answers. `hold_token` is told by CreateHold alone."""

    appointment: Appointment
    consistency_token: str = ""
    hold_token: str = ""
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """A scarce thing that stood in a booking's way; a quota has no id that would tell a caller anything."""

    kind: ResourceKind
    id: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class RoomLabel:
    """A room as a reply shows it."""

    id: str
    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSlot:
    """A start that could be had instead."""

    start_min: int
    end_min: int
    zone: str
    location_id: str
    provider_id: str
    provider_name: str
    specialty: str
    score: int
    rooms: tuple[RoomLabel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """Why a booking was refused and what is free instead: the `alternatives` of a Conflict."""

    taken: tuple[Taken, ...] = ()
    same_provider: tuple[FreeSlot, ...] = ()
    any_provider: tuple[FreeSlot, ...] = ()
