"""Statements about the visits that a directory change concerns."""

from __future__ import annotations

from typing import Final

from booking_svc.store.pipeline import Statement

# Location, provider, room, equipment item, service: NULL lets everything pass.
FUTURE_VISITS: Final = Statement(
    "future_visits",
    """
    SELECT a.id, a.location_id, a.provider_id, extract(epoch FROM a.start_ts_utc)::bigint / 60,
        coalesce(l.timezone, c.default_timezone)
    FROM appointment a
    JOIN location l ON l.clinic_id = a.clinic_id AND l.id = a.location_id
    JOIN clinic c ON c.id = a.clinic_id
    WHERE a.clinic_id = $1 AND a.start_ts_utc > clock_timestamp()
      AND a.status IN ('held', 'scheduled', 'confirmed')
      AND (a.status <> 'held' OR a.expires_at > clock_timestamp())
      AND ($2::uuid IS NULL OR a.location_id = $2)
      AND ($3::uuid IS NULL OR a.provider_id = $3)
      AND ($4::uuid IS NULL OR a.room_id = $4)
      AND ($5::uuid IS NULL OR EXISTS (
          SELECT FROM appointment_equipment e
          WHERE e.clinic_id = a.clinic_id AND e.appointment_id = a.id AND e.equipment_id = $5))
      AND ($6::uuid IS NULL OR a.service_id = $6)
    ORDER BY a.start_ts_utc, a.id LIMIT $7
    """,
)
QUOTA_UNITS: Final = Statement(
    "quota_units",
    """
    SELECT c.resource_id, c.unit FROM claim c
    JOIN resource r ON r.clinic_id = c.clinic_id AND r.id = c.resource_id AND r.kind = 'quota'
    WHERE c.clinic_id = $1 AND c.starts_at >= to_timestamp($2::integer * 60.0)
    """,
)
GAP_CLAIMS: Final = Statement(
    "gap_claims",
    """
    SELECT c.resource_id, c.appointment_id, c.unit, extract(epoch FROM c.starts_at)::bigint / 60,
        extract(epoch FROM c.ends_at)::bigint / 60, c.expires_at
    FROM claim c
    WHERE c.clinic_id = $1 AND c.resource_id = ANY ($2::uuid[]) AND c.ends_at > to_timestamp($3::integer * 60.0)
    """,
)
LOCKS_OF_VISITS: Final = Statement(
    "locks_of_visits",
    """
    SELECT DISTINCT r.id FROM claim c
    JOIN resource r ON r.clinic_id = c.clinic_id AND r.id = c.resource_id
    WHERE c.clinic_id = $1 AND c.appointment_id = ANY ($2::uuid[])
    """,
)
PATIENTS_VISITS_AHEAD: Final = Statement(
    "patients_visits_ahead",
    """
    SELECT id, extract(epoch FROM start_ts_utc)::bigint / 60, extract(epoch FROM end_ts_utc)::bigint / 60
    FROM appointment
    WHERE clinic_id = $1 AND patient_id = $2 AND start_ts_utc > clock_timestamp()
      AND status IN ('held', 'scheduled', 'confirmed')
    ORDER BY start_ts_utc, id LIMIT 1000
    """,
)
