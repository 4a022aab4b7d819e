"""What callers ask for, free of wire types. Ids are lower-case UUIDs; texts as given; None or empty means not given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from booking_svc.model import Caller
from scheduling.appointment import AppointmentStatus
from scheduling.facts import RoomMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What every command has."""

    caller: Caller
    clinic_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Book(Command):
    """Take a time for an appointment, or, with `hold_ttl_s`, for a hold of so many seconds.

    `room_mode` None means: specific when a room is named, else what the service needs.
    """

    patient_id: str | None
    service_id: str
    provider_id: str
    location_id: str | None
    start: str
    end: str
    room_id: str | None
    room_mode: RoomMode | None
    notes: str
    override_reason: str
    availability_fetched_at: datetime | None
    hold_ttl_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Get(Command):
    """Read one appointment."""

    appointment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class List(Command):
    """Read a page of appointments; all filters must hold."""

    provider_id: str | None
    patient_id: str | None
    location_id: str | None
    date: str
    date_range: str
    statuses: tuple[AppointmentStatus, ...]
    page: int
    limit: int
    page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing(Command):
    """Something done to one appointment; `etag` empty checks nothing."""

    appointment_id: str
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStatus(Existing):
    """Cancel, confirm, check in, start, complete or mark as no-show. `notes` None keeps them."""

    reason: str = ""
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reschedule(Existing):
    """Move an appointment. An empty `start` keeps the present one, None and empty keep the rest."""

    start: str
    end: str
    provider_id: str | None
    location_id: str | None
    room_id: str | None
    room_mode: RoomMode | None
    reason: str
    override_reason: str
    availability_fetched_at: datetime | None
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNotes(Existing):
    """Write other notes."""

    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UseHold(Command):
    """Renew, confirm or release a hold, by whoever has its token."""

    hold_id: str
    hold_token: str
    ttl_s: int = 0
    patient_id: str | None = None
    notes: str | None = None
