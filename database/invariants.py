"""What must hold between tables that no constraint ties together: a query each that counts the exceptions.

The connection must see every clinic: the owner's or a worker's.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg import Connection
from psycopg.rows import tuple_row

# Claims that ended a week ago are removed, so no visit of more than six days ago is asked to have any. Ids of visits
# whose month is archived stay, so that none is given twice and the equipment they used is still known.
INVARIANTS: Final[dict[str, str]] = {
    "no unit is claimed twice at once": """
        SELECT count(*) FROM (
            SELECT starts_at < max(ends_at) OVER (
                PARTITION BY clinic_id, resource_id, unit ORDER BY starts_at, ends_at, appointment_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS collides
            FROM claim) AS ordered
        WHERE collides
    """,
    "every live visit claims its provider, buffers included": """
        SELECT count(*) FROM appointment a
        WHERE a.status IN ('held', 'scheduled', 'confirmed', 'checked_in', 'in_progress')
          AND a.end_ts_utc > now() - interval '6 days'
          AND (a.status <> 'held' OR a.expires_at > now())
          AND NOT EXISTS (
            SELECT FROM claim c
            WHERE c.clinic_id = a.clinic_id AND c.resource_id = a.provider_id AND c.appointment_id = a.id
              AND c.starts_at = a.start_ts_utc - a.buffer_before_min * interval '1 minute'
              AND c.ends_at = a.end_ts_utc + a.buffer_after_min * interval '1 minute')
    """,
    "every live visit in a room claims that room": """
        SELECT count(*) FROM appointment a
        WHERE a.status IN ('held', 'scheduled', 'confirmed', 'checked_in', 'in_progress')
          AND a.end_ts_utc > now() - interval '6 days'
          AND (a.status <> 'held' OR a.expires_at > now()) AND a.room_id IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM claim c
            WHERE c.clinic_id = a.clinic_id AND c.resource_id = a.room_id AND c.appointment_id = a.id)
    """,
    "every claim belongs to a visit that may hold it": """
        SELECT count(*) FROM claim c
        WHERE NOT EXISTS (
            SELECT FROM appointment_ref r
            JOIN appointment a
              ON a.clinic_id = r.clinic_id AND a.id = r.id AND a.start_ts_utc = r.start_ts_utc
            WHERE r.clinic_id = c.clinic_id AND r.id = c.appointment_id
              AND a.status NOT IN ('canceled', 'released', 'expired'))
    """,
    "every visit is found by its id": """
        SELECT count(*) FROM appointment a
        WHERE NOT EXISTS (
            SELECT FROM appointment_ref r
            WHERE r.clinic_id = a.clinic_id AND r.id = a.id AND r.start_ts_utc = a.start_ts_utc)
    """,
    "every id leads to a visit": """
        SELECT count(*) FROM appointment_ref r
        WHERE NOT EXISTS (
            SELECT FROM appointment a
            WHERE a.clinic_id = r.clinic_id AND a.id = r.id AND a.start_ts_utc = r.start_ts_utc)
          AND NOT EXISTS (
            SELECT FROM detached_month d
            WHERE d.parent = 'appointment'
              AND d.month = date_trunc('month', r.start_ts_utc AT TIME ZONE 'UTC')::date)
    """,
    "every resource is of its kind": """
        SELECT count(*) FROM resource r
        JOIN (SELECT clinic_id, id, 'provider' AS kind FROM provider
              UNION ALL SELECT clinic_id, id, 'room' FROM room
              UNION ALL SELECT clinic_id, id, 'equipment' FROM equipment
              UNION ALL SELECT clinic_id, id, 'patient' FROM patient) AS named USING (clinic_id, id)
        WHERE r.kind <> named.kind
    """,
    "no provider's visits overlap": """
        SELECT count(*) FROM (
            SELECT start_ts_utc < max(end_ts_utc) OVER (
                PARTITION BY clinic_id, provider_id ORDER BY start_ts_utc, end_ts_utc, id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS collides
            FROM appointment
            WHERE status IN ('scheduled', 'confirmed', 'checked_in', 'in_progress')
              AND end_ts_utc > now() - interval '6 days') AS ordered
        WHERE collides
    """,
}


def broken_invariants(connection: Connection[Any]) -> dict[str, int]:
    """How many rows break each invariant, by its name; zero for those that hold."""
    return {name: _count(connection, query) for name, query in INVARIANTS.items()}


def _count(connection: Connection[Any], query: str) -> int:
    row = connection.cursor(row_factory=tuple_row).execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
