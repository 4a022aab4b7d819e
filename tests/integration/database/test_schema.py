"""The schema refuses what must never be stored, whatever the code above it does."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg import errors, sql
from psycopg.types.range import TimestamptzRange
from sqlalchemy import create_engine, make_url

from database.migrate import SchemaError, check_revision, current_revision, expected_revision, migrate
from database.tables import metadata
from tests.support.clinic_rows import (
    AUDIT_PARTITION,
    AUDITED_AT,
    END,
    START,
    appointment_values,
    claim_values,
    insert,
    insert_clinic,
)
from tests.support.command import ROOT
from tests.support.databases import MigratedDatabase, empty_database


def test_migrating_twice_keeps_the_data(postgres_url: str) -> None:
    """An empty database reaches the newest schema; a second run changes nothing and loses no row."""
    with empty_database(postgres_url) as owner_url:
        today = AUDITED_AT.date()  # named: between the two a month may begin
        first = migrate(owner_url, today=today)
        ids = insert_clinic(owner_url)
        second = migrate(owner_url, today=today)
        with psycopg.connect(owner_url) as owner:
            kept = owner.execute("SELECT id::text FROM appointment").fetchall()
        assert (first.before, first.after) == (None, expected_revision())
        assert (second.changed, second.partitions.created) == (False, [])
        assert kept == [(ids.appointment,)]


def test_months_detached_long_ago_and_their_grants_survive_an_upgrade(postgres_url: str) -> None:
    """A database of an older version upgrades with its rows: detached months are written down, reasons kept."""
    with empty_database(postgres_url) as owner_url:
        engine = create_engine(make_url(owner_url).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(ROOT / "database" / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, "0002")
        engine.dispose()
        with psycopg.connect(owner_url) as owner:
            ids = insert_clinic(owner_url)
            owner.execute("CREATE TABLE appointment_2019_07 (LIKE appointment)")
            owner.execute("CREATE TABLE appointment_2019_7 (LIKE appointment)")
        migrated = migrate(owner_url)
        with psycopg.connect(owner_url) as owner:
            months = owner.execute("SELECT parent, month::text FROM detached_month").fetchall()
            reasons = owner.execute("SELECT reason, reason_encrypted FROM break_glass").fetchall()
            kept = owner.execute("SELECT id::text FROM appointment").fetchall()
    assert (migrated.before, migrated.after) == ("0002", expected_revision())
    assert months == [("appointment", "2019-07-01")]
    assert reasons == [("emergency", None)]
    assert kept == [(ids.appointment,)]


def test_an_old_or_strange_schema_is_named(postgres_url: str) -> None:
    """A service can tell an empty database and one of another revision, in a sentence."""
    with empty_database(postgres_url) as owner_url, psycopg.connect(owner_url) as owner:
        assert current_revision(owner_url) is None
        with pytest.raises(SchemaError, match="is empty"):
            check_revision(owner)
        migrate(owner_url)
        check_revision(owner)
        owner.execute("UPDATE alembic_version SET version_num = '9999'")
        owner.commit()
        with pytest.raises(SchemaError, match="has schema 9999"):
            check_revision(owner)
        with pytest.raises(SchemaError, match="newer than this program"):
            migrate(owner_url)


def test_the_tables_describe_the_migrated_schema(database: MigratedDatabase) -> None:
    """Every table and column of the migrations is in `database.tables`, with its type, and vice versa."""

    def is_compared(_item: object, name: str | None, kind: str, _reflected: object, _other: object) -> bool:
        is_partition = (name or "").startswith(("appointment_2", "audit_event_2")) or (name or "").endswith(
            "_default"
        )
        return kind in ("table", "column") and not is_partition

    engine = create_engine(make_url(database.owner_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_object": is_compared}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_same_unit_is_never_claimed_twice_at_once(database: MigratedDatabase) -> None:
    """Overlapping claims are refused by name; touching ones, other units and other clinics are not."""
    ids = insert_clinic(database.owner_url)
    other = insert_clinic(database.owner_url)
    taken = claim_values(ids, ids.provider, str(uuid4()))
    later = taken | {
        "starts_at": END,
        "ends_at": END + timedelta(minutes=30),
        "during": TimestamptzRange(END, END + timedelta(minutes=30), "[)"),
    }
    with psycopg.connect(database.owner_url) as owner:
        insert(owner, "claim", **later | {"appointment_id": str(uuid4())})
        insert(owner, "claim", **taken | {"unit": 2})
        insert(owner, "claim", **taken | {"clinic_id": other.clinic, "resource_id": ids.provider})
        owner.commit()
        with pytest.raises(errors.ExclusionViolation) as refused:
            insert(owner, "claim", **taken)
    assert refused.value.diag.constraint_name == "claim_no_overlap"


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"during": TimestamptzRange(empty=True)}, "claim_during_is_bounds"),
        ({"during": TimestamptzRange(START, START), "ends_at": START}, "claim_not_empty"),
        ({"during": TimestamptzRange(START, END, "[]")}, "claim_during_is_bounds"),
        ({"during": TimestamptzRange(None, END, "()")}, "claim_during_is_bounds"),
        ({"unit": 0}, "claim_unit_positive"),
        (
            {
                "ends_at": END + timedelta(seconds=1),
                "during": TimestamptzRange(START, END + timedelta(seconds=1), "[)"),
            },
            "claim_whole_minutes",
        ),
    ],
)
def test_a_claim_that_would_escape_the_constraint_is_refused(
    database: MigratedDatabase, change: dict[str, object], constraint: str
) -> None:
    """Empty, unbounded, closed and finer ranges would slip past an exclusion constraint."""
    ids = insert_clinic(database.owner_url)
    values = claim_values(ids, ids.room, str(uuid4())) | change
    with psycopg.connect(database.owner_url) as owner, pytest.raises(errors.CheckViolation) as refused:
        insert(owner, "claim", **values)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE clinic SET default_timezone = 'Mars/Olympus'", "clinic_default_timezone_exists"),
        ("UPDATE clinic SET default_timezone = 'europe/berlin'", "clinic_default_timezone_exists"),
        ("UPDATE clinic SET status = 'closed'", "clinic_status_known"),
        ("UPDATE location SET timezone = 'Nowhere/There+5'", "location_timezone_exists"),
        ("UPDATE location_hours SET closes_min = opens_min", "location_hours_not_empty"),
        ("UPDATE closure SET end_local = start_local", "closure_not_empty"),
        ("UPDATE service SET default_duration_min = 45", "service_duration_within_limits"),
        ("UPDATE service SET min_duration_min = 0", "service_duration_positive"),
        ("UPDATE service SET slot_step_min = 4", "service_slot_step_bounded"),
        ("UPDATE service SET buffer_after_min = -1", "service_buffers_bounded"),
        ("UPDATE service_rule SET rule_type = 'full_moon'", "service_rule_type_known"),
        ("UPDATE service_rule SET rule_payload = '[]'", "service_rule_payload_is_object"),
        ("UPDATE equipment SET quantity = 0", "equipment_quantity_bounded"),
        ("UPDATE room SET concurrent_visits = 0", "room_concurrent_visits_bounded"),
        ("UPDATE room_availability SET kind = 'maybe'", "room_availability_kind_known"),
        (
            "UPDATE provider_availability SET end_local = end_local + interval '1 second'",
            "provider_availability_whole_minutes",
        ),
        ("UPDATE provider_preference SET weight = 101", "provider_preference_weight_bounded"),
        ("UPDATE resource SET kind = 'quota'", "resource_quota_has_day"),
        ("UPDATE appointment SET status = 'maybe'", "appointment_status_known"),
        ("UPDATE appointment SET end_ts_utc = start_ts_utc", "appointment_not_empty"),
        ("UPDATE appointment SET patient_id = NULL", "appointment_patient_known"),
        ("UPDATE appointment SET status = 'held'", "appointment_hold_complete"),
        ("UPDATE appointment SET override_by = 'me'", "appointment_override_explained"),
        ("UPDATE appointment_equipment SET units = '{0}'", "appointment_equipment_units_positive"),
        ("UPDATE break_glass SET expires_at = granted_at + interval '61 minutes'", "break_glass_one_hour"),
        ("UPDATE idempotency_key SET fingerprint = 'short'", "idempotency_key_fingerprint_is_sha256"),
    ],
)
def test_what_may_not_be_is_refused_by_name(
    database: MigratedDatabase, statement: str, constraint: str
) -> None:
    """Each rule of the data model is a constraint, and its name says which one was broken."""
    insert_clinic(database.owner_url)
    with psycopg.connect(database.owner_url) as owner, pytest.raises(errors.IntegrityError) as refused:
        owner.execute(statement.encode())
    assert refused.value.diag.constraint_name == constraint


def test_the_audit_is_append_only(database: MigratedDatabase) -> None:
    """Not even the owner changes, deletes or truncates audit rows, in the parent or a partition."""
    insert_clinic(database.owner_url)
    for table in ("audit_event", AUDIT_PARTITION, "audit_event_default", "audit_seal"):
        for pattern in ("UPDATE {} SET clinic_id = clinic_id", "DELETE FROM {}", "TRUNCATE {}"):
            if table == "audit_event_default" and not pattern.startswith("TRUNCATE"):
                continue  # it is empty, and row triggers speak for rows
            with (
                psycopg.connect(database.owner_url) as owner,
                pytest.raises(errors.InsufficientPrivilege, match="append-only"),
            ):
                owner.execute(sql.SQL(pattern).format(sql.Identifier(table)))


def test_a_booking_needs_no_prepared_month(database: MigratedDatabase) -> None:
    """An appointment in a month without a partition is stored, and its claim too."""
    ids = insert_clinic(database.owner_url)
    far = START.replace(year=START.year + 13)
    appointment_id = str(uuid4())
    with psycopg.connect(database.owner_url) as owner:
        values = appointment_values(ids, appointment_id)
        insert(owner, "appointment", **values | {"start_ts_utc": far, "end_ts_utc": far + timedelta(hours=1)})
        where = owner.execute(
            "SELECT tableoid::regclass::text FROM appointment WHERE id = %s", (appointment_id,)
        ).fetchone()
    assert where == ("appointment_default",)
