"""Statements about the visits that a directory change concerns."""

from __future__ import annotations

from functools import cache
from typing import Final

from database.pipeline import Statement

_NARROWED: Final = {
    "location_id": "a.location_id = ${place}",
    "provider_id": "a.provider_id = ${place}",
    "room_id": "a.room_id = ${place}",
    "equipment_id": """EXISTS (
          SELECT FROM appointment_equipment e
          WHERE e.clinic_id = a.clinic_id AND e.appointment_id = a.id AND e.equipment_id = ${place})""",
    "service_id": "a.service_id = ${place}",
    "patient_id": "a.patient_id = ${place}",
}


@cache
def future_visits(columns: tuple[str, ...]) -> Statement:
    """At most $2 live visits to come, by start, that have the values from $3 on in `columns`.

    A statement for each set of columns, so that each has the plan that fits it. The clock is asked twice: only what
    stays the same in a statement, as now() does, keeps the months gone by from being read.
    """
    matches = "".join(
        f" AND {_NARROWED[column].format(place=place)}" for place, column in enumerate(columns, 3)
    )
    return Statement(
        "_".join(("future_visits", *columns)),
        f"""
    SELECT a.id, a.location_id, a.provider_id, extract(epoch FROM a.start_ts_utc)::bigint / 60,
        coalesce(l.timezone, c.default_timezone), a.patient_id
    FROM appointment a
    JOIN location l ON l.clinic_id = a.clinic_id AND l.id = a.location_id
    JOIN clinic c ON c.id = a.clinic_id
    WHERE a.clinic_id = $1 AND a.start_ts_utc > now() AND a.start_ts_utc > clock_timestamp()
      AND a.status IN ('held', 'scheduled', 'confirmed')
      AND (a.status <> 'held' OR a.expires_at > clock_timestamp()){matches}
    ORDER BY a.start_ts_utc, a.id LIMIT $2
    """,  # noqa: S608 - made of constants
    )


QUOTA_UNITS: Final = Statement(
    "quota_units",
    """
    SELECT c.resource_id, c.unit FROM claim c
    JOIN resource r ON r.clinic_id = c.clinic_id AND r.id = c.resource_id AND r.kind = 'quota'
    WHERE c.clinic_id = $1 AND c.starts_at >= to_timestamp($2::integer * 60.0)
    """,
)
# No claim lasts longer than 72 hours (claim_bounded).
CLAIMS_FROM: Final = Statement(
    "claims_from",
    """
    SELECT c.resource_id, c.appointment_id, c.unit, extract(epoch FROM c.starts_at)::bigint / 60,
        extract(epoch FROM c.ends_at)::bigint / 60, c.expires_at
    FROM claim c
    WHERE c.clinic_id = $1 AND c.resource_id = ANY ($2::uuid[]) AND c.ends_at > to_timestamp($3::integer * 60.0)
      AND c.starts_at > to_timestamp($3::integer * 60.0) - interval '72 hours'
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
    WHERE clinic_id = $1 AND patient_id = $2 AND start_ts_utc > now() AND start_ts_utc > clock_timestamp()
      AND status IN ('held', 'scheduled', 'confirmed')
    ORDER BY start_ts_utc, id LIMIT 1000
    """,
)
MAY_OVERLAP: Final = Statement(
    "may_overlap",
    """
    SELECT id FROM patient WHERE clinic_id = $1 AND id = ANY ($2::uuid[]) AND placeholder
    UNION ALL SELECT id FROM service WHERE clinic_id = $1 AND id = ANY ($3::uuid[]) AND allow_patient_overlap
    """,
)
