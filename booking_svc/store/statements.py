"""Every statement of the service, by name. `$n` placeholders; one prepared statement each on every connection.

The text between the quotes is what PostgreSQL runs, so that a name in its log or in `pg_stat_statements` leads here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from database.busy_facts import PATIENT_ALONE_SQL, PATIENT_SQL, VERSIONED_CLAIMS_SQL
from database.location_facts import LOCATION_SQL, VERSIONED_LOCATION_SQL
from database.locks import SHARED_SQL
from database.pipeline import Statement


def _numbered(name: str, sql: str, parameters: Sequence[str]) -> Statement:
    """A shared statement, its `%(name)s` placeholders numbered in the order of `parameters`."""
    places = {parameter: f"${position}" for position, parameter in enumerate(parameters, 1)}
    return Statement(name, re.sub(r"%\((\w+)\)s", lambda found: places[found[1]], sql))


# ── the transaction ─────────────────────────────────────────────────────────────────────────────────────────────

LOCK_WAIT_MS: Final = 2_000
"""How long a transaction that writes waits for a lock, and so a call for the first one with its idempotency key."""

BEGIN = Statement("begin", "BEGIN")
BEGIN_ONE_MOMENT = Statement("begin_one_moment", "BEGIN ISOLATION LEVEL REPEATABLE READ")
BEGIN_SNAPSHOT = Statement("begin_snapshot", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
COMMIT = Statement("commit", "COMMIT")
ROLLBACK = Statement("rollback", "ROLLBACK")
SAVEPOINT = Statement("savepoint", "SAVEPOINT attempt")
ROLLBACK_TO_SAVEPOINT = Statement("rollback_to_savepoint", "ROLLBACK TO SAVEPOINT attempt")

ENTER_CLINIC = Statement(
    "enter_clinic",
    "SELECT set_config('app.clinic_id', $1, true), set_config('lock_timeout', $2, true)",
)

# The keys that a clinic's values are sealed by, newest first.
READ_DATA_KEYS = Statement(
    "read_data_keys", "SELECT version, wrapped_key FROM clinic_key WHERE clinic_id = $1 ORDER BY version DESC"
)
INSERT_DATA_KEY = Statement(
    "insert_data_key",
    """
    INSERT INTO clinic_key (clinic_id, version, wrapped_key, master_key_id) VALUES ($1, 1, $2, $3)
    ON CONFLICT DO NOTHING
    """,
)
INSERT_FIRST_KEY = Statement(
    "insert_first_key",
    """
    INSERT INTO clinic_key (clinic_id, version, wrapped_key, master_key_id)
    SELECT id, 1, $2, $3 FROM clinic WHERE id = $1
    ON CONFLICT DO NOTHING
    """,
)

# ── idempotency ─────────────────────────────────────────────────────────────────────────────────────────────────

INSERT_KEY = Statement(
    "insert_key",
    """
    INSERT INTO idempotency_key (clinic_id, principal, method, key, fingerprint)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    RETURNING true
    """,
)
READ_KEY = Statement(
    "read_key",
    """
    SELECT fingerprint, status_code, response
    FROM idempotency_key WHERE clinic_id = $1 AND principal = $2 AND method = $3 AND key = $4
    """,
)
ANSWER_KEY = Statement(
    "answer_key",
    """
    UPDATE idempotency_key SET status_code = $5, response = $6
    WHERE clinic_id = $1 AND principal = $2 AND method = $3 AND key = $4
    """,
)

# ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────────

LOCK_DIRECTORY_SHARED = Statement("lock_directory_shared", SHARED_SQL)

READ_CLOCK = Statement("read_clock", "SELECT clock_timestamp()")

READ_LOCATION = _numbered(
    "read_location", LOCATION_SQL, ("clinic_id", "location_id", "provider_ids", "service_id")
)

READ_VERSIONED_LOCATION = _numbered(
    "read_versioned_location",
    VERSIONED_LOCATION_SQL,
    ("clinic_id", "location_id", "provider_ids", "service_id"),
)
READ_DIRECTORY_VERSION = Statement(
    "read_directory_version", "SELECT version FROM directory_version WHERE clinic_id = $1"
)

READ_CLAIMS = _numbered(
    "read_claims", VERSIONED_CLAIMS_SQL, ("clinic_id", "resource_ids", "lock_ids", "firsts", "ends")
)

_PATIENT, _PATIENT_ALONE = ("clinic_id", "patient_id", "since"), ("clinic_id", "patient_id")

# A patient, by whether with visits, and whether it shall stay in use until the end: its row is locked as
# the booking's foreign key does anyway, so that no ordinary change of the patient waits for it, or is waited for.
PATIENTS = {
    (True, False): _numbered("read_patient", PATIENT_SQL, _PATIENT),
    (True, True): _numbered("lock_patient", f"{PATIENT_SQL} FOR KEY SHARE OF p", _PATIENT),
    (False, False): _numbered("read_patient_alone", PATIENT_ALONE_SQL, _PATIENT_ALONE),
    (False, True): _numbered("lock_patient_alone", f"{PATIENT_ALONE_SQL} FOR KEY SHARE OF p", _PATIENT_ALONE),
}

# Where a booking without a location may take place: its room's location, else every place the provider works at.
READ_PLACES = Statement(
    "read_places",
    """
    SELECT l.id FROM location l
    WHERE l.clinic_id = $1 AND l.active AND CASE
        WHEN $2::uuid IS NOT NULL THEN l.id = (SELECT r.location_id FROM room r WHERE r.clinic_id = $1 AND r.id = $2)
        ELSE EXISTS (SELECT FROM provider p WHERE p.clinic_id = $1 AND p.id = $3 AND p.location_id = l.id)
          OR EXISTS (SELECT FROM provider_availability w WHERE w.clinic_id = $1 AND w.provider_id = $3 AND w.active
                     AND (w.location_id IS NULL OR w.location_id = l.id))
        END
    ORDER BY l.id LIMIT 100
    """,
)

# ── locks ───────────────────────────────────────────────────────────────────────────────────────────────────────

# Before any row lock: a quota that another transaction is creating is waited for while no row is held.
ENSURE_QUOTAS = Statement(
    "ensure_quotas",
    """
    INSERT INTO resource (clinic_id, id, kind, quota_day)
    SELECT $1, quota.id, 'quota', quota.day FROM unnest($2::uuid[], $3::date[]) AS quota (id, day)
    ORDER BY quota.id
    ON CONFLICT DO NOTHING
    """,
)
_LOCK_AND_RAISE = """
    WITH locked AS (
        SELECT id FROM resource WHERE clinic_id = $1 AND id = ANY ($2::uuid[]) ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE resource r SET calendar_version = r.calendar_version + 1
    FROM locked WHERE r.clinic_id = $1 AND r.id = locked.id
    RETURNING r.id, r.calendar_version
"""
LOCK_RESOURCES = Statement("lock_resources", _LOCK_AND_RAISE)
# The same on condition that every version is still the one in $3 and the moment $4 has not come: else it fails.
LOCK_UNTOUCHED = Statement(
    "lock_untouched",
    f"""
    WITH raised AS ({_LOCK_AND_RAISE})
    SELECT require_untouched(count(*) = cardinality($2::uuid[]) AND clock_timestamp() < $4::timestamptz)
    FROM raised JOIN unnest($2::uuid[], $3::bigint[]) AS seen (id, calendar_version) ON raised.id = seen.id
    WHERE raised.calendar_version = seen.calendar_version + 1
    """,  # noqa: S608 - made of the constant above
)
# Likewise for a patient that is in use, which it stays until the transaction ends. The clock is looked at again, since
# this lock may have been waited for too.
LOCK_PATIENT_UNTOUCHED = Statement(
    "lock_patient_untouched",
    """
    SELECT require_untouched(count(*) = 1 AND clock_timestamp() < $4::timestamptz) FROM (
        SELECT FROM patient WHERE clinic_id = $1 AND id = $2 AND active AND placeholder = $3 FOR KEY SHARE
    ) AS seen
    """,
)
LOCK_RESOURCES_ONLY = Statement(
    "lock_resources_only",
    "SELECT id FROM resource WHERE clinic_id = $1 AND id = ANY ($2::uuid[]) ORDER BY id FOR NO KEY UPDATE",
)
# The reference is what is locked, since a move to another month makes a new appointment row.
LOCK_APPOINTMENT = Statement(
    "lock_appointment",
    "SELECT true FROM appointment_ref WHERE clinic_id = $1 AND id = $2 FOR NO KEY UPDATE",
)
LOCK_APPOINTMENTS = Statement(
    "lock_appointments",
    "SELECT id FROM appointment_ref WHERE clinic_id = $1 AND id = ANY ($2::uuid[]) ORDER BY id FOR NO KEY UPDATE",
)

# ── appointments ────────────────────────────────────────────────────────────────────────────────────────────────

_APPOINTMENT_COLUMNS = """
    a.clinic_id, a.id, a.location_id, a.patient_id, a.provider_id, a.room_id, a.service_id,
    a.start_ts_utc, a.end_ts_utc, a.status, a.version, a.room_selection_mode, a.buffer_before_min, a.buffer_after_min,
    a.notes_encrypted, a.reason_encrypted, a.override_reason_encrypted, a.override_by, a.overridden_rules,
    a.expires_at, a.hold_token_hash, a.created_by, a.created_at, a.updated_at,
    coalesce(l.timezone, c.default_timezone),
    (SELECT json_agg(json_build_array(e.equipment_id, e.units) ORDER BY e.equipment_id)::text
     FROM appointment_equipment e WHERE e.clinic_id = a.clinic_id AND e.appointment_id = a.id)
"""
_APPOINTMENT_PLACE = """
    JOIN location l ON l.clinic_id = a.clinic_id AND l.id = a.location_id
    JOIN clinic c ON c.id = a.clinic_id
"""

READ_APPOINTMENT = Statement(
    "read_appointment",
    f"""
    SELECT {_APPOINTMENT_COLUMNS}, clock_timestamp(), c.status
    FROM appointment_ref ref
    JOIN appointment a ON a.id = ref.id AND a.start_ts_utc = ref.start_ts_utc
    {_APPOINTMENT_PLACE}
    WHERE ref.clinic_id = $1 AND ref.id = $2
    """,  # noqa: S608 - made of the constants above
)
READ_APPOINTMENTS = Statement(
    "read_appointments",
    f"""
    SELECT {_APPOINTMENT_COLUMNS}
    FROM appointment_ref ref
    JOIN appointment a ON a.id = ref.id AND a.start_ts_utc = ref.start_ts_utc
    {_APPOINTMENT_PLACE}
    WHERE ref.clinic_id = $1 AND ref.id = ANY ($2::uuid[])
    """,  # noqa: S608 - made of the constants above
)
_LIST_FILTERS = ("provider_id", "patient_id", "location_id")


@cache
def list_appointments(filters: tuple[str, ...]) -> Statement:
    """A page of the appointments between two starts, after ($5, $6), in statuses $4, by these filters from $9 on.

    A statement for each set of filters, so that each has the plan that fits it; both bounds of the start are plain
    values, so partitions are pruned.
    """
    unknown = set(filters).difference(_LIST_FILTERS)
    if unknown:
        raise ValueError(f"no such filter: {unknown}")
    matches = "".join(f" AND a.{name} = ${place}" for place, name in enumerate(filters, 9))
    return Statement(
        "_".join(("list_appointments", *filters)),
        f"""
        SELECT {_APPOINTMENT_COLUMNS}
        FROM appointment a
        {_APPOINTMENT_PLACE}
        WHERE a.clinic_id = $1 AND a.start_ts_utc >= $2 AND a.start_ts_utc < $3 AND a.status = ANY ($4::text[])
          AND (a.start_ts_utc, a.id) > ($5::timestamptz, $6::uuid)
          AND (a.status <> 'held' OR a.expires_at > clock_timestamp()) {matches}
        ORDER BY a.start_ts_utc, a.id
        LIMIT $7 OFFSET $8
        """,  # noqa: S608 - made of constants: filters are checked above
    )


READ_ZONE = Statement(
    "read_zone",
    """
    SELECT coalesce(l.timezone, c.default_timezone), c.status, clock_timestamp()
    FROM clinic c LEFT JOIN location l ON l.clinic_id = c.id AND l.id = $2
    WHERE c.id = $1 AND ($2::uuid IS NULL OR l.id IS NOT NULL)
    """,
)
MOVE_REFERENCE = Statement(
    "move_reference",
    "UPDATE appointment_ref SET start_ts_utc = $3 WHERE clinic_id = $1 AND id = $2",
)
INSERT_APPOINTMENT = Statement(
    "insert_appointment",
    """
    WITH referred AS (INSERT INTO appointment_ref (clinic_id, id, start_ts_utc) VALUES ($1, $2, $8))
    INSERT INTO appointment (clinic_id, id, location_id, patient_id, provider_id, room_id, service_id, start_ts_utc,
        end_ts_utc, status, version, room_selection_mode, buffer_before_min, buffer_after_min, notes_encrypted,
        reason_encrypted, override_reason_encrypted, override_by, overridden_rules, expires_at, hold_token_hash,
        created_by, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
        $23, $24)
    """,
)
# $3 is where the row lies now, $8 where it goes: another month's start moves it to another partition.
UPDATE_APPOINTMENT = Statement(
    "update_appointment",
    """
    UPDATE appointment SET location_id = $4, patient_id = $5, provider_id = $6, room_id = $7, start_ts_utc = $8,
        end_ts_utc = $9, status = $10, version = $11, room_selection_mode = $12, buffer_before_min = $13,
        buffer_after_min = $14, notes_encrypted = $15, reason_encrypted = $16, override_reason_encrypted = $17,
        override_by = $18, overridden_rules = $19, expires_at = $20, hold_token_hash = $21, updated_at = $22
    WHERE clinic_id = $1 AND id = $2 AND start_ts_utc = $3
    """,
)
INSERT_EQUIPMENT = Statement(
    "insert_equipment",
    """
    INSERT INTO appointment_equipment (clinic_id, appointment_id, equipment_id, units)
    SELECT $1, $2, used.id, array_agg(used.unit ORDER BY used.unit)
    FROM unnest($3::uuid[], $4::integer[]) AS used (id, unit) GROUP BY used.id
    """,
)
DELETE_EQUIPMENT = Statement(
    "delete_equipment",
    "DELETE FROM appointment_equipment WHERE clinic_id = $1 AND appointment_id = $2",
)

# ── claims ──────────────────────────────────────────────────────────────────────────────────────────────────────

# A gap's claim has no resource row of its own: the provider's guards it.
READ_OWN_CLAIMS = Statement(
    "read_own_claims",
    """
    SELECT c.resource_id, r.kind, c.unit, extract(epoch FROM c.starts_at)::bigint / 60,
        extract(epoch FROM c.ends_at)::bigint / 60, c.expires_at
    FROM claim c LEFT JOIN resource r ON r.clinic_id = c.clinic_id AND r.id = c.resource_id
    WHERE c.clinic_id = $1 AND c.appointment_id = $2
    ORDER BY c.resource_id, c.unit
    """,
)
DELETE_CLAIMS = Statement(
    "delete_claims",
    "DELETE FROM claim WHERE clinic_id = $1 AND appointment_id = $2",
)
# Sorted and with DO NOTHING, two bookings of the same time cannot wait for each other in a circle.
_INSERT_CLAIMS = """
    INSERT INTO claim (clinic_id, resource_id, unit, during, starts_at, ends_at, appointment_id, expires_at)
    SELECT $1, wanted.resource_id, wanted.unit, tstzrange(wanted.starts_at, wanted.ends_at, '[)'), wanted.starts_at,
        wanted.ends_at, $2, $3
    FROM (SELECT resource_id, unit, to_timestamp(start_min * 60.0), to_timestamp(end_min * 60.0)
          FROM unnest($4::uuid[], $5::integer[], $6::integer[], $7::integer[])
              AS w (resource_id, unit, start_min, end_min)
         ) AS wanted (resource_id, unit, starts_at, ends_at)
    ORDER BY wanted.resource_id, wanted.unit
    ON CONFLICT DO NOTHING
    RETURNING resource_id, unit
"""
INSERT_CLAIMS = Statement("insert_claims", _INSERT_CLAIMS)
# All of them, or an error that ends the transaction: nothing has to be looked at before the COMMIT.
INSERT_ALL_CLAIMS = Statement(
    "insert_all_claims",
    f"""
    WITH had AS ({_INSERT_CLAIMS})
    SELECT require_all_claims(count(*), cardinality($4::uuid[])) FROM had
    """,  # noqa: S608 - made of the constant above
)

# ── events and audit ────────────────────────────────────────────────────────────────────────────────────────────

INSERT_TRACES = Statement(
    "insert_traces",
    """
    WITH told AS (
        INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version, event_type,
            payload, traceparent)
        VALUES ($2, $1, 'appointment', $3, $4, $5, $6, $7)
    )
    INSERT INTO audit_event (clinic_id, id, actor, actor_role, action, entity_type, entity_id, outcome, reason,
        from_address, request_id, before, after)
    VALUES ($1, $8, $9, $10, $5, 'appointment', $3, 'done', NULL, $11, $12, $13, $14)
    """,
)
