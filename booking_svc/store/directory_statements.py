"""Statements of the directory's plain entities, made once at import from their descriptions.

Table and column names are constants of the descriptions; every value travels as a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from booking_svc.directory.entities import PLAIN, WINDOWS, Entity
from database.pipeline import Statement

SYSTEM_COLUMNS: Final = ("id", "active", "version", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class EntityStatements:
    """What can be asked of one entity's table. Parameters begin with the clinic's id."""

    insert: Statement
    """(clinic, id, columns…): one row; returns the system columns."""
    read: Statement
    """(clinic, id): columns…, system columns."""
    read_many: Statement
    """(clinic, ids): the same of each that is there."""
    lock: Statement
    """The same, and the row is locked until the transaction ends."""
    update: Statement
    """(clinic, id, active, columns…): raises the version; returns the system columns."""
    list: Statement
    """(clinic, with inactive, filters…, after order, after id, limit): columns…, system columns."""


def statements_of(entity: Entity) -> EntityStatements:
    """Return the statements of a plain entity."""
    columns = list(entity.columns.values())
    table = entity.table
    selected = ", ".join([*columns, *SYSTEM_COLUMNS])
    where = f"FROM {table} WHERE clinic_id = $1 AND id = $2"
    places = ", ".join(f"${position}" for position in range(1, len(columns) + 3))
    changes = ", ".join(f"{column} = ${position}" for position, column in enumerate(columns, 4))
    returned = ", ".join(SYSTEM_COLUMNS)
    return EntityStatements(
        insert=Statement(
            f"insert_{table}_entry",
            f"INSERT INTO {table} (clinic_id, id, {', '.join(columns)}) VALUES ({places}) RETURNING {returned}",  # noqa: S608
        ),
        read=Statement(f"read_{table}_entry", f"SELECT {selected} {where}"),
        read_many=Statement(
            f"read_many_{table}_entries",
            f"SELECT {selected} FROM {table} WHERE clinic_id = $1 AND id = ANY ($2::uuid[])",  # noqa: S608
        ),
        lock=Statement(f"lock_{table}_entry", f"SELECT {selected} {where} FOR NO KEY UPDATE"),
        update=Statement(
            f"update_{table}_entry",
            f"UPDATE {table} SET active = $3, {changes}, version = version + 1, updated_at = clock_timestamp()"  # noqa: S608
            f" WHERE clinic_id = $1 AND id = $2 RETURNING {returned}",
        ),
        list=Statement(f"list_{table}_entries", _list_sql(entity, selected)),
    )


def _list_sql(entity: Entity, selected: str) -> str:
    """Keyset pages: rows after (order, id), in that order; a NULL `after order` begins at the start."""
    order = entity.columns[entity.order]
    sign, direction = ("<", "DESC") if entity.descending else (">", "ASC")
    filters = [
        f"(${position}::text IS NULL OR {entity.columns[name]}::text = ${position}::text)"
        for position, name in enumerate(entity.filters, 3)
    ]
    after, after_id, limit = (f"${len(entity.filters) + offset}" for offset in (3, 4, 5))
    kind = {"priority": "integer", "start_local": "timestamp", "provider_id": "uuid"}.get(order, "text")
    conditions = [
        "clinic_id = $1",
        "(active OR $2::boolean)",
        *filters,
        (
            f"({after}::{kind} IS NULL OR {order} {sign} {after}::{kind}"
            f" OR ({order} = {after}::{kind} AND id > {after_id}::uuid))"
        ),
    ]
    return (
        f"SELECT {selected} FROM {entity.table} WHERE {' AND '.join(conditions)}"  # noqa: S608
        f" ORDER BY {order} {direction}, id LIMIT {limit}"
    )


STATEMENTS: Final = {entity.table: statements_of(entity) for entity in (*PLAIN.values(), *WINDOWS.values())}

INSERT_RESOURCE: Final = Statement(
    "insert_resource", "INSERT INTO resource (clinic_id, id, kind) VALUES ($1, $2, $3)"
)
READ_RESOURCE_KIND: Final = Statement(
    "read_resource_kind", "SELECT kind FROM resource WHERE clinic_id = $1 AND id = $2"
)
READ_RESOURCE_PLACES: Final = Statement(
    "read_resource_places",
    """
    SELECT id, location_id FROM room WHERE clinic_id = $1 AND id = ANY ($2::uuid[])
    UNION ALL SELECT id, location_id FROM equipment
    WHERE clinic_id = $1 AND id = ANY ($2::uuid[]) AND location_id IS NOT NULL
    """,
)
READ_LOCATION_ZONES: Final = Statement(
    "read_location_zones",
    """
    SELECT l.id, coalesce(l.timezone, c.default_timezone) FROM location l JOIN clinic c ON c.id = l.clinic_id
    WHERE l.clinic_id = $1
    """,
)
READ_RESOURCE_KINDS: Final = Statement(
    "read_resource_kinds", "SELECT id, kind FROM resource WHERE clinic_id = $1 AND id = ANY ($2::uuid[])"
)
FIND_WINDOW_KIND: Final = Statement(
    "find_window_kind",
    """
    SELECT 'provider' FROM provider_availability WHERE clinic_id = $1 AND id = $2
    UNION ALL SELECT 'room' FROM room_availability WHERE clinic_id = $1 AND id = $2
    UNION ALL SELECT 'equipment' FROM equipment_availability WHERE clinic_id = $1 AND id = $2
    """,
)
READ_HOURS: Final = Statement(
    "read_hours",
    """
    SELECT location_id, weekday, opens_min, closes_min FROM location_hours
    WHERE clinic_id = $1 AND location_id = ANY ($2::uuid[]) ORDER BY location_id, weekday, opens_min
    """,
)
DELETE_HOURS: Final = Statement(
    "delete_hours", "DELETE FROM location_hours WHERE clinic_id = $1 AND location_id = $2"
)
INSERT_HOURS: Final = Statement(
    "insert_hours",
    """
    INSERT INTO location_hours (clinic_id, location_id, weekday, opens_min, closes_min)
    SELECT $1, $2, hours.weekday, hours.opens, hours.closes
    FROM unnest($3::smallint[], $4::smallint[], $5::smallint[]) AS hours (weekday, opens, closes)
    """,
)
LOCK_DIRECTORY: Final = Statement(
    "lock_directory", "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key ORDER BY key"
)
INSERT_DIRECTORY_EVENT: Final = Statement(
    "insert_directory_event",
    """
    INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version, event_type, payload,
        traceparent)
    VALUES ($1, $2, 'directory', $3, $4, 'directory.changed', $5, $6)
    """,
)
INSERT_DIRECTORY_AUDIT: Final = Statement(
    "insert_directory_audit",
    """
    INSERT INTO audit_event (clinic_id, id, actor, actor_role, action, entity_type, entity_id, outcome, reason,
        from_address, request_id, before, after)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'done', $12, $8, $9, $10, $11)
    """,
)
# Bookings hold the shared lock of their location: these are all there are.
READ_LOCATION_IDS: Final = Statement(
    "read_location_ids", "SELECT id FROM location WHERE clinic_id = $1 ORDER BY id LIMIT $2"
)
READ_CLINIC_STATUS: Final = Statement("read_clinic_status", "SELECT status FROM clinic WHERE id = $1")
COUNT_BY_ID: Final = {
    kind: Statement(
        f"count_{entity.table}_entries",
        f"SELECT count(*) FROM {entity.table} WHERE clinic_id = $1 AND id = ANY ($2::uuid[])",  # noqa: S608
    )
    for kind, entity in PLAIN.items()
}
