"""Patients as ciphertext and keyed hashes, and the wrapped keys that open them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, LargeBinary, Table, Text, text

from database.tables.base import ID, INSTANT, clinic_id, metadata, own_id, versioned

clinic_key = Table(
    "clinic_key",
    metadata,
    clinic_id(),
    Column("version", Integer, primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("master_key_id", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
    Column("rewrapped_at", INSTANT),
)

patient = Table(
    "patient",
    metadata,
    clinic_id(),
    own_id(),
    Column("name_encrypted", LargeBinary, nullable=False),
    Column("dob_encrypted", LargeBinary),
    Column("contact_encrypted", LargeBinary),
    Column("notes_encrypted", LargeBinary),
    Column("phone_hash", LargeBinary),
    Column("email_hash", LargeBinary),
    Column("dob_hash", LargeBinary),
    Column("placeholder", Boolean, nullable=False, server_default=text("false")),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    *versioned(),
)

patient_name_token = Table(
    "patient_name_token",
    metadata,
    clinic_id(),
    Column("token", LargeBinary, primary_key=True),
    Column("patient_id", ID, primary_key=True),
)
