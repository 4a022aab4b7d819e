"""What must hold in the database after any run, and how to ask it."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.support.databases import MigratedDatabase

OVERLAPS = """
SELECT count(*) FROM claim a JOIN claim b ON a.clinic_id = b.clinic_id AND a.resource_id = b.resource_id
    AND a.unit = b.unit AND a.appointment_id < b.appointment_id AND a.during && b.during
"""


def query(url: str, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as owner:
        return owner.execute(sql, parameters).fetchall()


def invariants(database: MigratedDatabase) -> None:
    """Nothing overlaps, nothing live lacks its claims, no event is missing or out of order."""
    assert query(database.owner_url, OVERLAPS) == [(0,)]
    live = "('held','scheduled','confirmed','checked_in','in_progress')"
    assert (
        query(
            database.owner_url,
            f"""SELECT a.id FROM appointment a WHERE a.status IN {live} AND NOT EXISTS (
            SELECT FROM claim c WHERE c.appointment_id = a.id AND c.resource_id = a.provider_id)""",
        )
        == []
    )
    assert (
        query(
            database.owner_url,
            """SELECT c.appointment_id FROM claim c JOIN appointment a ON a.id = c.appointment_id
           WHERE a.status IN ('canceled','released','expired')""",
        )
        == []
    )
    assert (
        query(
            database.owner_url,
            """SELECT aggregate_id FROM (
               SELECT aggregate_id, aggregate_version,
                      row_number() OVER (PARTITION BY aggregate_id ORDER BY id) AS place
               FROM outbox_event WHERE aggregate_type = 'appointment') AS numbered
           WHERE aggregate_version <> place""",
        )
        == []
    )
    assert (
        query(
            database.owner_url,
            """SELECT a.id FROM appointment a
               LEFT JOIN appointment_ref r ON r.id = a.id AND r.start_ts_utc = a.start_ts_utc
               WHERE r.id IS NULL""",
        )
        == []
    )


def deadlocks(database: MigratedDatabase) -> int:
    """How many deadlocks the database has counted; waits until its statistics are in."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("SELECT pg_stat_force_next_flush()")
        row = owner.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        return int(row[0]) if row else 0
