"""What a clinic sets up: places, people, rooms, equipment, services, rules and working windows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Integer, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from database.tables.base import (
    ID,
    INSTANT,
    WALL_TIME,
    clinic_id,
    json_object,
    metadata,
    own_id,
    short_text,
    versioned,
)


def _active() -> Column[bool]:
    return Column("active", Boolean, nullable=False, server_default=text("true"))


def _whole(name: str, default: int) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text(str(default)))


def _flag(name: str, *, default: bool) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text(str(default).lower()))


def _window_columns() -> tuple[Column[Any], ...]:
    """A working window: LOCAL wall times of its first occurrence, and how it recurs."""
    return (
        Column("kind", Text, nullable=False),
        Column("start_local", WALL_TIME, nullable=False),
        Column("end_local", WALL_TIME, nullable=False),
        Column("recurrence_rule", Text),
        short_text("reason"),
        Column("source", Text, nullable=False, server_default=text("'manual'")),
        _active(),
        *versioned(),
    )


time_zone = Table("time_zone", metadata, Column("name", Text, primary_key=True))

clinic = Table(
    "clinic",
    metadata,
    own_id(),
    Column("name", Text, nullable=False),
    Column("default_timezone", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    _flag("public_search", default=False),
    _whole("requests_per_minute", 0),
    *versioned(),
)

directory_version = Table(
    "directory_version",
    metadata,
    clinic_id(),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
)

location = Table(
    "location",
    metadata,
    clinic_id(),
    own_id(),
    Column("name", Text, nullable=False),
    json_object("address"),
    Column("timezone", Text),
    _active(),
    *versioned(),
)

location_hours = Table(
    "location_hours",
    metadata,
    clinic_id(),
    Column("location_id", ID, primary_key=True),
    Column("weekday", SmallInteger, primary_key=True),
    Column("opens_min", SmallInteger, primary_key=True),
    Column("closes_min", SmallInteger, nullable=False),
)

closure = Table(
    "closure",
    metadata,
    clinic_id(),
    own_id(),
    Column("location_id", ID),
    Column("start_local", WALL_TIME, nullable=False),
    Column("end_local", WALL_TIME, nullable=False),
    short_text("reason"),
    _active(),
    *versioned(),
)

resource = Table(
    "resource",
    metadata,
    clinic_id(),
    own_id(),
    Column("kind", Text, nullable=False),
    Column("calendar_version", BigInteger, nullable=False, server_default=text("0")),
    Column("quota_day", Date),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
)

provider = Table(
    "provider",
    metadata,
    clinic_id(),
    own_id(),
    Column("location_id", ID),
    Column("name", Text, nullable=False),
    Column("specialty", Text),
    json_object("credentials"),
    _active(),
    *versioned(),
)

room = Table(
    "room",
    metadata,
    clinic_id(),
    own_id(),
    Column("location_id", ID, nullable=False),
    Column("name", Text, nullable=False),
    _whole("capacity", 1),
    _whole("concurrent_visits", 1),
    _whole("turnaround_min", 0),
    Column("room_type", Text),
    json_object("features"),
    _active(),
    *versioned(),
)

equipment = Table(
    "equipment",
    metadata,
    clinic_id(),
    own_id(),
    Column("location_id", ID),
    Column("type", Text, nullable=False),
    Column("name", Text, nullable=False),
    _whole("quantity", 1),
    _whole("turnaround_min", 0),
    _active(),
    *versioned(),
)

service = Table(
    "service",
    metadata,
    clinic_id(),
    own_id(),
    Column("name", Text, nullable=False),
    short_text("description"),
    Column("default_duration_min", Integer, nullable=False),
    Column("min_duration_min", Integer, nullable=False),
    Column("max_duration_min", Integer, nullable=False),
    _whole("buffer_before_min", 0),
    _whole("buffer_after_min", 0),
    _whole("slot_step_min", 15),
    _flag("requires_room", default=True),
    _flag("requires_equipment", default=False),
    _flag("buffers_within_hours", default=False),
    _flag("allow_patient_overlap", default=False),
    _active(),
    *versioned(),
)

service_rule = Table(
    "service_rule",
    metadata,
    clinic_id(),
    own_id(),
    Column("service_id", ID),
    Column("provider_id", ID),
    Column("rule_type", Text, nullable=False),
    Column("rule_payload", JSONB, nullable=False),
    _whole("priority", 100),
    _active(),
    *versioned(),
)

provider_availability = Table(
    "provider_availability",
    metadata,
    clinic_id(),
    own_id(),
    Column("provider_id", ID, nullable=False),
    Column("location_id", ID),
    *_window_columns(),
)

room_availability = Table(
    "room_availability",
    metadata,
    clinic_id(),
    own_id(),
    Column("room_id", ID, nullable=False),
    *_window_columns(),
)

equipment_availability = Table(
    "equipment_availability",
    metadata,
    clinic_id(),
    own_id(),
    Column("equipment_id", ID, nullable=False),
    *_window_columns(),
)

provider_preference = Table(
    "provider_preference",
    metadata,
    clinic_id(),
    own_id(),
    Column("provider_id", ID, nullable=False),
    Column("service_id", ID),
    Column("preferred_room_ids", ARRAY(ID), nullable=False, server_default=text("'{}'")),
    Column("preferred_equipment_type", Text),
    Column("preferred_time_windows", JSONB, nullable=False, server_default=text("'[]'")),
    _whole("weight", 50),
    _active(),
    *versioned(),
)
