"""Bulk loading: COPY into temporary tables, then INSERT … SELECT, so that every constraint judges every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg import Connection, sql

from ctl.seed.rows import COLUMNS, Rows

# Instants that are staged as whole minutes since the epoch, which COPY writes much faster.
_MINUTES: Final[Mapping[str, frozenset[str]]] = {
    "appointment_ref": frozenset({"start_ts_utc"}),
    "appointment": frozenset({"start_ts_utc", "end_ts_utc"}),
    "claim": frozenset({"starts_at", "ends_at"}),
}
_COMPUTED: Final[Mapping[str, Mapping[str, str]]] = {
    "claim": {"during": "tstzrange(to_timestamp(starts_at * 60.0), to_timestamp(ends_at * 60.0), '[)')"},
}
# As bookings are written: no two of them can wait for each other, and neighbours land on the same pages.
_ORDER: Final[Mapping[str, str]] = {
    "resource": "clinic_id, id",
    "claim": "clinic_id, resource_id, unit, starts_at",
    "appointment": "clinic_id, start_ts_utc, id",
    "outbox_event": "position",
}

# What the import made already gets its bookings' versions.
_CONFLICT: Final[Mapping[str, str]] = {
    "resource": " ON CONFLICT (clinic_id, id) DO UPDATE"
    " SET calendar_version = resource.calendar_version + EXCLUDED.calendar_version"
}


def create_staging(owner: Connection[Any]) -> None:
    """Make a temporary table beside every table that is loaded; they go with the session."""
    for table, columns in COLUMNS.items():
        staged = sql.SQL(", ").join(
            sql.SQL("0::integer AS {}").format(sql.Identifier(name))
            if name in _MINUTES.get(table, ())
            else sql.Identifier(name)
            for name in columns
        )
        owner.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} AS SELECT {}, 0::bigint AS position FROM {} WITH NO DATA"
            ).format(_staging(table), staged, sql.Identifier(table))
        )


def load(owner: Connection[Any], rows: Rows) -> int:
    """Insert all rows in the current transaction and return how many there were.

    Raises psycopg's IntegrityError for a row that breaks a constraint.
    """
    total = 0
    for table, columns in COLUMNS.items():
        staged = rows.by_table[table]
        if staged:
            _copy(owner, table, columns, staged)
            total += _insert(owner, table, columns)
            owner.execute(sql.SQL("TRUNCATE {}").format(_staging(table)))
    return total


def _copy(
    owner: Connection[Any], table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    statement = sql.SQL("COPY {} ({}, position) FROM STDIN").format(_staging(table), _names(columns))
    with owner.cursor() as cursor, cursor.copy(statement) as copy:
        for position, row in enumerate(rows):
            copy.write_row((*row, position))


def _insert(owner: Connection[Any], table: str, columns: Sequence[str]) -> int:
    computed = _COMPUTED.get(table, {})
    values = [
        sql.SQL("to_timestamp({} * 60.0)").format(sql.Identifier(name))
        if name in _MINUTES.get(table, ())
        else sql.Identifier(name)
        for name in columns
    ]
    statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY {}{}").format(
        sql.Identifier(table),
        _names([*columns, *computed]),
        sql.SQL(", ").join([*values, *(sql.SQL(expression) for expression in computed.values())]),
        _staging(table),
        sql.SQL(_ORDER.get(table, "position")),
        sql.SQL(_CONFLICT.get(table, "")),
    )
    return owner.execute(statement).rowcount


def _staging(table: str) -> sql.Identifier:
    return sql.Identifier(f"staging_{table}")


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
