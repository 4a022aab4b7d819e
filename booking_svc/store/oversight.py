"""Statements and rows of clinics, audit and emergency access."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from booking_svc.directory.entities import Entry, Kind
from booking_svc.reasons import is_blank
from chassis.encryption import ClinicCipher
from database.pipeline import Statement

_CLINIC_COLUMNS: Final = (
    "id, name, default_timezone, status, public_search, requests_per_minute, version, created_at, updated_at"
)
READ_CLINIC: Final = Statement("read_clinic", f"SELECT {_CLINIC_COLUMNS} FROM clinic WHERE id = $1")  # noqa: S608
LOCK_CLINIC: Final = Statement(
    "lock_clinic",
    f"SELECT {_CLINIC_COLUMNS} FROM clinic WHERE id = $1 FOR NO KEY UPDATE",  # noqa: S608 - made of constants
)
LIST_CLINICS_OF_ALL: Final = f"""
SELECT {_CLINIC_COLUMNS} FROM clinic
WHERE (%(status)s::text IS NULL OR status = %(status)s) AND (%(after_id)s::uuid IS NULL OR id > %(after_id)s::uuid)
ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - made of constants
INSERT_CLINIC: Final = Statement(
    "insert_clinic",
    f"""
    INSERT INTO clinic (id, name, default_timezone, public_search, requests_per_minute) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING RETURNING {_CLINIC_COLUMNS}
    """,  # noqa: S608 - made of constants
)
UPDATE_CLINIC: Final = Statement(
    "update_clinic",
    f"""
    UPDATE clinic SET name = $2, default_timezone = $3, status = $4, public_search = $5, requests_per_minute = $6,
        version = version + 1, updated_at = clock_timestamp()
    WHERE id = $1 RETURNING {_CLINIC_COLUMNS}
    """,  # noqa: S608 - made of constants
)
PUBLIC_LOCATIONS: Final = Statement(
    "public_locations",
    """
    SELECT l.id, l.name, l.address, coalesce(l.timezone, c.default_timezone) FROM location l
    JOIN clinic c ON c.id = l.clinic_id WHERE l.clinic_id = $1 AND l.active ORDER BY l.name, l.id LIMIT 200
    """,
)
PUBLIC_SERVICES: Final = Statement(
    "public_services",
    """
    SELECT id, name, description, default_duration_min FROM service
    WHERE clinic_id = $1 AND active ORDER BY name, id LIMIT 500
    """,
)
# NULL filters ask nothing; `action` ends with % for a beginning. The bounds of the time are plain values, infinite ones
# when none are asked for, so that a page is read from its place in the index and only the months between them are.
LIST_AUDIT: Final = Statement(
    "list_audit",
    """
    SELECT e.id, e.clinic_id, e.actor, e.actor_role, e.action, e.entity_type, e.entity_id, e.at,
        host(e.from_address), e.request_id, e.before::text, e.after::text, s.seq IS NOT NULL, coalesce(e.reason, '')
    FROM audit_event e LEFT JOIN audit_seal s ON s.clinic_id = e.clinic_id AND s.audit_event_id = e.id
    WHERE e.clinic_id = $1 AND ($2::text IS NULL OR e.actor = $2) AND ($3::text IS NULL OR e.action LIKE $3)
      AND ($4::uuid IS NULL OR e.entity_id = $4)
      AND e.at >= $5 AND e.at < $6 AND e.at <= $7 AND (e.at, e.id) < ($7::timestamptz, $8::uuid)
    ORDER BY e.at DESC, e.id DESC LIMIT $9
    """,
)
_GRANT_COLUMNS: Final = (
    "id, clinic_id, actor, patient_id, coalesce(reason, ''), reason_encrypted, granted_at, expires_at"
)
INSERT_GRANT: Final = Statement(
    "insert_grant",
    f"""
    INSERT INTO break_glass (clinic_id, id, actor, patient_id, reason_encrypted, granted_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, now(), now() + interval '1 hour')
    RETURNING {_GRANT_COLUMNS}
    """,  # noqa: S608 - made of constants
)
LIST_GRANTS: Final = Statement(
    "list_grants",
    f"""
    SELECT {_GRANT_COLUMNS} FROM break_glass
    WHERE clinic_id = $1 AND (NOT $2::boolean OR expires_at > clock_timestamp())
      AND ($3::timestamptz IS NULL OR (granted_at, id) < ($3::timestamptz, $4::uuid))
    ORDER BY granted_at DESC, id DESC LIMIT $5
    """,  # noqa: S608 - made of constants
)
GRANTED_PATIENTS: Final = Statement(
    "granted_patients",
    """
    SELECT DISTINCT patient_id FROM break_glass WHERE clinic_id = $1 AND actor = $2 AND expires_at > clock_timestamp()
      AND (patient_id IS NULL OR patient_id = ANY ($3::uuid[]))
    """,
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One audit row; `before` and `after` are JSON without patient data."""

    id: str
    clinic_id: str
    actor: str
    actor_role: str
    action: str
    entity_type: str
    entity_id: str | None
    at: datetime
    source_ip: str | None
    request_id: str
    before: str | None
    after: str | None
    is_sealed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Emergency access, for one patient or for all of the clinic."""

    id: str
    clinic_id: str
    actor: str
    patient_id: str | None
    reason: str
    granted_at: datetime
    expires_at: datetime


def sealed_reason(reason: str, grant_id: str, cipher: ClinicCipher) -> bytes:
    """Why access was needed, as it is stored."""
    return cipher.seal_text(reason, table="break_glass", column="reason_encrypted", row_id=grant_id)


def audit_reason(reason: str, row_id: str, cipher: ClinicCipher) -> str | None:
    """Why something was done, as an audit row keeps it: sealed, in a text column."""
    if is_blank(reason):
        return None
    sealed = cipher.seal_text(reason, table="audit_event", column="reason", row_id=row_id)
    return b64encode(sealed).decode()


def audit_row_of(row: Sequence[Any], cipher: ClinicCipher) -> AuditRow:
    """The audit row of a row of LIST_AUDIT, its reason opened."""
    row_id, *_, reason = row
    if reason:
        reason = cipher.open_text(b64decode(reason), table="audit_event", column="reason", row_id=row_id)
    return AuditRow(*[*row[:-1], reason])


def grant_of(row: Sequence[Any], cipher: ClinicCipher) -> Grant:
    """The grant of a row; one from before reasons were sealed has its reason as text."""
    grant_id, clinic_id, actor, patient_id, reason, sealed, granted_at, expires_at = row
    if sealed is not None:
        reason = cipher.open_text(sealed, table="break_glass", column="reason_encrypted", row_id=grant_id)
    return Grant(grant_id, clinic_id, actor, patient_id, reason, granted_at, expires_at)


def clinic_of(row: Sequence[Any]) -> Entry:
    """The clinic of a row; its status is part of the record."""
    clinic_id, name, zone, status, public_search, requests_per_minute, version, created_at, updated_at = row
    return Entry(
        kind=Kind.CLINIC,
        clinic_id=clinic_id,
        id=clinic_id,
        record={
            "name": name,
            "default_timezone": zone,
            "status": status,
            "public_search": public_search,
            "requests_per_minute": requests_per_minute,
        },
        active=status == "active",
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )
