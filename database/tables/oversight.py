"""Audit and its seal, emergency access, and the leases of work that must run once."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import INET, JSONB

from database.tables.base import ID, INSTANT, clinic_id, metadata, own_id, short_text

audit_event = Table(
    "audit_event",
    metadata,
    clinic_id(),
    own_id(),
    Column("at", INSTANT, primary_key=True, server_default=text("clock_timestamp()")),
    Column("actor", Text, nullable=False),
    Column("actor_role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("entity_type", Text, nullable=False),
    Column("entity_id", ID),
    Column("outcome", Text, nullable=False, server_default=text("'done'")),
    Column("reason", Text),
    Column("from_address", INET),
    short_text("request_id"),
    Column("before", JSONB),
    Column("after", JSONB),
)

audit_seal = Table(
    "audit_seal",
    metadata,
    clinic_id(),
    Column("seq", BigInteger, primary_key=True),
    Column("audit_event_id", ID, nullable=False),
    Column("audit_event_at", INSTANT, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("sealed_at", INSTANT, nullable=False, server_default=text("clock_timestamp()")),
)

break_glass = Table(
    "break_glass",
    metadata,
    clinic_id(),
    own_id(),
    Column("actor", Text, nullable=False),
    Column("patient_id", ID),
    Column("reason", Text),
    Column("reason_encrypted", LargeBinary),
    Column("granted_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("expires_at", INSTANT, nullable=False),
    Column("reviewed_at", INSTANT),
    Column("reviewed_by", Text),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False, server_default=text("1")),
    Column("acquired_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("expires_at", INSTANT, nullable=False),
)

detached_month = Table(
    "detached_month",
    metadata,
    Column("parent", Text, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("detached_at", INSTANT, nullable=False, server_default=text("now()")),
)
