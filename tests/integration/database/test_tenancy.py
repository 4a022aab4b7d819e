"""The fence between clinics is the database's, and holds for every table there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection, errors, sql

from tests.support.clinic_rows import (
    AUDIT_PARTITION,
    VISIT_PARTITION,
    ClinicRows,
    appointment_values,
    claim_values,
    insert,
    insert_clinic,
)
from tests.support.databases import MigratedDatabase


@contextmanager
def as_clinic(url: str, clinic_id: str | None) -> Iterator[Connection[object]]:
    """A transaction of the application's role with this tenant; rolled back at the end."""
    with psycopg.connect(url) as connection:
        if clinic_id is not None:
            connection.execute("SELECT set_config('app.clinic_id', %s, true)", (clinic_id,))
        yield connection
        connection.rollback()


def tenant_tables(owner_url: str) -> dict[str, str]:
    """Every table that holds a clinic's rows, from the catalog, and its clinic column."""
    with psycopg.connect(owner_url) as owner:
        found = owner.execute(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
            " AND (a.attname = 'clinic_id' OR (c.relname = 'clinic' AND a.attname = 'id'))"
        ).fetchall()
    return dict(found)


def clinics_seen(connection: Connection[object], table: str, column: str) -> set[str]:
    rows = connection.execute(
        sql.SQL("SELECT DISTINCT {}::text FROM {}").format(sql.Identifier(column), sql.Identifier(table))
    ).fetchall()
    return {row[0] for row in rows}  # type: ignore[index]


@pytest.fixture
def two_clinics(database: MigratedDatabase) -> tuple[ClinicRows, ClinicRows]:
    return insert_clinic(database.owner_url), insert_clinic(database.owner_url)


def test_every_tenant_table_is_fenced(database: MigratedDatabase) -> None:
    """Each table with a clinic column has forced row-level security and both policies; few have neither."""
    with psycopg.connect(database.owner_url) as owner:
        fenced = owner.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid"
            " WHERE c.relrowsecurity AND c.relforcerowsecurity"
            " GROUP BY c.relname HAVING array_agg(p.polname::text ORDER BY p.polname) = %s",
            (["every_clinic", "own_clinic"],),
        ).fetchall()
        everything = owner.execute(
            "SELECT relname FROM pg_class"
            " WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert {row[0] for row in fenced} == set(tenant_tables(database.owner_url))
    unfenced = {row[0] for row in everything} - {row[0] for row in fenced}
    assert unfenced == {"alembic_version", "detached_month", "lease", "time_zone"}


def test_a_clinic_sees_its_own_rows_only(
    database: MigratedDatabase, two_clinics: tuple[ClinicRows, ClinicRows]
) -> None:
    """In every table, each clinic sees rows, and all of them are its own; without a tenant there are none."""
    one, other = two_clinics
    for table, column in tenant_tables(database.owner_url).items():
        if table.startswith(("appointment_2", "audit_event_2")) or table.endswith("_default"):
            continue
        for clinic, expected in ((one.clinic, {one.clinic}), (other.clinic, {other.clinic}), (None, set())):
            with as_clinic(database.app_url, clinic) as app:
                assert clinics_seen(app, table, column) == expected, table
        with as_clinic(database.worker_url, None) as worker:
            assert clinics_seen(worker, table, column) == {one.clinic, other.clinic}, table


def test_partitions_are_fenced_when_named_directly(
    database: MigratedDatabase, two_clinics: tuple[ClinicRows, ClinicRows]
) -> None:
    """Going around the parent table does not go around the fence."""
    one, _ = two_clinics
    for table in (VISIT_PARTITION, AUDIT_PARTITION):
        with as_clinic(database.app_url, one.clinic) as app:
            assert clinics_seen(app, table, "clinic_id") == {one.clinic}
        with as_clinic(database.app_url, None) as app:
            assert clinics_seen(app, table, "clinic_id") == set()


def test_a_tenant_cannot_write_for_another_clinic(
    database: MigratedDatabase, two_clinics: tuple[ClinicRows, ClinicRows]
) -> None:
    """Inserting a row of another clinic is refused, and updating one touches nothing."""
    one, other = two_clinics
    with as_clinic(database.app_url, one.clinic) as app, pytest.raises(errors.InsufficientPrivilege):
        insert(app, "claim", **claim_values(other, other.room, str(uuid4())))
    with as_clinic(database.app_url, one.clinic) as app:
        assert app.execute("UPDATE room SET name = 'x' WHERE id = %s", (other.room,)).rowcount == 0
        assert app.execute("DELETE FROM claim WHERE clinic_id = %s", (other.clinic,)).rowcount == 0


@pytest.mark.parametrize(
    ("column", "constraint"),
    [
        ("provider_id", "appointment_provider_exists"),
        ("patient_id", "appointment_patient_exists"),
        ("location_id", "appointment_location_exists"),
        ("room_id", "appointment_room_exists"),
        ("service_id", "appointment_service_exists"),
    ],
)
def test_an_appointment_cannot_name_another_clinics_row(
    database: MigratedDatabase, two_clinics: tuple[ClinicRows, ClinicRows], column: str, constraint: str
) -> None:
    """A foreign key never reaches across clinics, although foreign keys ignore row-level security."""
    one, other = two_clinics
    values = appointment_values(one, str(uuid4())) | {column: getattr(other, column.removesuffix("_id"))}
    with as_clinic(database.app_url, one.clinic) as app, pytest.raises(errors.ForeignKeyViolation) as refused:
        insert(app, "appointment", **values)
    assert refused.value.diag.constraint_name == constraint


def test_the_setting_ends_with_its_transaction(
    database: MigratedDatabase, two_clinics: tuple[ClinicRows, ClinicRows]
) -> None:
    """The next transaction of the same connection has no tenant, sees no rows, and raises nothing."""
    one, _ = two_clinics
    with psycopg.connect(database.app_url) as app:
        app.execute("SELECT set_config('app.clinic_id', %s, true)", (one.clinic,))
        assert clinics_seen(app, "room", "clinic_id") == {one.clinic}
        app.commit()
        assert clinics_seen(app, "room", "clinic_id") == set()


def test_the_roles_can_do_no_more_than_they_should(database: MigratedDatabase) -> None:
    """Neither role owns a table, is a superuser, bypasses the fence, truncates, or changes the audit."""
    with psycopg.connect(database.owner_url) as owner:
        roles = owner.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin FROM pg_roles"
            " WHERE rolname LIKE 'medforall_%' ORDER BY rolname"
        ).fetchall()
        owned = owner.execute("SELECT count(*) FROM pg_tables WHERE tableowner LIKE 'medforall_%'").fetchone()
        too_much = owner.execute(
            "SELECT r.rolname, c.relname, p.privilege FROM pg_roles r, pg_class c,"
            " unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS p (privilege)"
            " WHERE r.rolname LIKE 'medforall_%' AND c.relkind IN ('r', 'p')"
            " AND c.relnamespace = 'public'::regnamespace"
            " AND (p.privilege = 'TRUNCATE' OR c.relname LIKE 'audit_%')"
            " AND has_table_privilege(r.oid, c.oid, p.privilege)"
        ).fetchall()
    assert roles == [
        ("medforall_app", False, False, False, False, True),
        ("medforall_worker", False, False, False, False, True),
    ]
    assert owned == (0,)
    assert too_much == []
