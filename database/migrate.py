"""Bring a database to the newest schema, one migrator at a time, and tell whether it is there.

Only the owner's URL can do this; services only ask `check_revision` and refuse to start on another schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import StaticPool

from database.partitions import PartitionReport, ensure_partitions
from scheduling.errors import Unavailable

_MIGRATIONS = Path(__file__).parent / "migrations"
# Any constant will do, as long as every migrator uses the same.
_MIGRATION_LOCK = 0x6D65_6466
_LOCK_WAIT_S = 120
_NOT_VALIDATED = """
SELECT t.relname, c.conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE c.contype IN ('c', 'f') AND NOT c.convalidated AND c.coninhcount = 0 AND c.connamespace = 'public'::regnamespace
ORDER BY 1, 2
"""


class SchemaError(Exception):
    """The database has another schema than this program expects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What `migrate` did: from which revision (None: empty database) to which, and the partitions it made."""

    before: str | None
    after: str
    partitions: PartitionReport

    @property
    def changed(self) -> bool:
        return self.before != self.after


def expected_revision() -> str:
    """The newest revision that this program knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current_revision(owner_url: str) -> str | None:
    """The revision the database has; None when it was never migrated. Works for every role."""
    with _connect(owner_url) as connection:
        return _revision_of(connection)


def check_revision(connection: psycopg.Connection[object]) -> None:
    """Raise SchemaError, in a sentence for the operator, unless the schema is the expected one."""
    found, expected = _revision_of(connection), expected_revision()
    if found == expected:
        return
    if found is None:
        raise SchemaError("The database is empty; run `medforall migrate` first.")
    raise SchemaError(
        f"The database has schema {found}, this program needs {expected}; run `medforall migrate`."
    )


def migrate(owner_url: str, *, today: date | None = None) -> MigrationReport:
    """Upgrade to the newest schema and make the partitions ahead of `today`; harmless when there is nothing to do.

    Migrators wait for each other on an advisory lock. All migrations run in one transaction: a failure leaves
    the database as it was. Raises Unavailable when the database cannot be reached, SchemaError when it is
    newer than this program.
    """
    with _connect(owner_url) as owner:
        engine = create_engine("postgresql+psycopg://", creator=lambda: owner, poolclass=StaticPool)
        with engine.begin() as connection:
            before, after = _upgrade(connection)
        _validate_constraints(owner)
        _add_new_time_zones(owner)
        return MigrationReport(before=before, after=after, partitions=ensure_partitions(owner, today=today))


def _connect(owner_url: str) -> psycopg.Connection[object]:
    try:
        return psycopg.connect(owner_url, connect_timeout=5, row_factory=psycopg.rows.tuple_row)
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database cannot be reached: {error}") from error


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    # DDL behind a long reader must not queue everybody else behind itself.
    connection.execute(text("SET LOCAL lock_timeout = '10s'"))
    before = MigrationContext.configure(connection).get_current_revision()
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        raise SchemaError(f"The database has schema {before}, which is newer than this program; upgrade it.")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, expected_revision()


def _revision_of(connection: psycopg.Connection[object]) -> str | None:
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        cursor.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL")
        exists = cursor.fetchone()
        if exists is None or not exists[0]:
            return None
        cursor.execute("SELECT version_num FROM alembic_version")
        row = cursor.fetchone()
        return None if row is None else str(row[0])


def _validate_constraints(connection: psycopg.Connection[object]) -> None:
    """Look through the rows of constraints that a migration has left to be validated, while others write."""
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        left = cursor.execute(_NOT_VALIDATED).fetchall()
    for table, name in left:
        connection.execute(
            sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
                sql.Identifier(table), sql.Identifier(name)
            )
        )
        connection.commit()


def _add_new_time_zones(connection: psycopg.Connection[object]) -> None:
    connection.execute(
        "INSERT INTO time_zone (name) SELECT name FROM pg_timezone_names"
        " WHERE name !~ '^(posix|right)/' AND name NOT IN ('posixrules', 'Factory', 'localtime')"
        " ON CONFLICT DO NOTHING"
    )
    connection.commit()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
