"""Visits, what they claim, and what is said about them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, TSTZRANGE

from database.tables.base import ID, INSTANT, clinic_id, metadata, own_id, short_text

appointment = Table(
    "appointment",
    metadata,
    Column("clinic_id", ID, nullable=False),
    own_id(),
    Column("location_id", ID, nullable=False),
    Column("patient_id", ID),
    Column("provider_id", ID, nullable=False),
    Column("room_id", ID),
    Column("service_id", ID, nullable=False),
    Column("start_ts_utc", INSTANT, primary_key=True),
    Column("end_ts_utc", INSTANT, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'scheduled'")),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    Column("room_selection_mode", Text, nullable=False, server_default=text("'auto'")),
    Column("buffer_before_min", Integer, nullable=False, server_default=text("0")),
    Column("buffer_after_min", Integer, nullable=False, server_default=text("0")),
    Column("notes_encrypted", LargeBinary),
    Column("expires_at", INSTANT),
    Column("hold_token_hash", LargeBinary),
    Column("override_reason_encrypted", LargeBinary),
    Column("override_by", Text),
    Column("overridden_rules", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("reason_encrypted", LargeBinary),
    short_text("created_by"),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("updated_at", INSTANT, nullable=False, server_default=text("now()")),
)

appointment_ref = Table(
    "appointment_ref",
    metadata,
    clinic_id(),
    own_id(),
    Column("start_ts_utc", INSTANT, nullable=False),
)

appointment_equipment = Table(
    "appointment_equipment",
    metadata,
    clinic_id(),
    Column("appointment_id", ID, primary_key=True),
    Column("equipment_id", ID, primary_key=True),
    Column("units", ARRAY(Integer), nullable=False),
)

claim = Table(
    "claim",
    metadata,
    clinic_id(),
    Column("resource_id", ID, primary_key=True),
    Column("unit", Integer, primary_key=True),
    Column("during", TSTZRANGE, nullable=False),
    Column("starts_at", INSTANT, nullable=False),
    Column("ends_at", INSTANT, nullable=False),
    Column("appointment_id", ID, primary_key=True),
    Column("expires_at", INSTANT),
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    clinic_id(),
    Column("principal", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status_code", Integer),
    Column("response", LargeBinary),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
)

outbox_event = Table(
    "outbox_event",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("event_id", ID, nullable=False),
    Column("clinic_id", ID, nullable=False),
    Column("aggregate_type", Text, nullable=False),
    Column("aggregate_id", ID, nullable=False),
    Column("aggregate_version", BigInteger, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("traceparent", Text),
    Column("created_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
    Column("published_at", INSTANT),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", INSTANT),
    Column("last_error", Text),
    Column("parked_at", INSTANT),
)
