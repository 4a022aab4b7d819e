"""The queries that must be fast are answered from their index, as the application's role, behind the fence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from booking_svc.store.displacement_statements import future_visits
from booking_svc.store.oversight import LIST_AUDIT
from booking_svc.store.patients import SEEN_BY_PROVIDER, search_patients
from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys
from ctl.seed.load import SeedOptions, seed_clinics
from ctl.seed.words import clinic_id
from database.pipeline import PLAN_ONCE, Statement
from tests.support.clinic_rows import START, VISIT_PARTITION
from tests.support.databases import MigratedDatabase, migrated_database

# Four weeks of one month, all of them to come.
FIRST_DAY = START.date()
MORNING = START.replace(hour=0) + timedelta(days=1)
EVENING = MORNING + timedelta(days=1)


@pytest.fixture(scope="module")
def seeded(postgres_url: str) -> Iterator[MigratedDatabase]:
    """Three clinics with four weeks of visits; these tests only read."""
    options = SeedOptions(clinics=3, days=28, first_day=FIRST_DAY)
    with migrated_database(postgres_url) as database:
        seed_clinics(database.owner_url, MasterKeys([MasterKey("test", b"k" * 32)]), options)
        yield database


@pytest.fixture
def app(seeded: MigratedDatabase) -> Iterator[Connection[Any]]:
    """The application's role in one of the clinics."""
    with psycopg.connect(seeded.app_url) as connection:
        connection.execute("SELECT set_config('app.clinic_id', %s, true)", (clinic_id(1),))
        yield connection


def _visit(app: Connection[Any]) -> tuple[Any, ...]:
    """Id, start, provider and location of some visit of the clinic."""
    query = (
        "SELECT id, start_ts_utc, provider_id, location_id FROM appointment WHERE start_ts_utc >= %s LIMIT 1"
    )
    row: tuple[Any, ...] | None = app.execute(query, (MORNING,)).fetchone()
    assert row is not None
    return row


def _plan(app: Connection[Any], query: str, *parameters: object) -> str:
    return "\n".join(row[0] for row in app.execute(f"EXPLAIN {query}".encode(), parameters).fetchall())


def test_a_days_claims_are_read_by_plain_bounds(app: Connection[Any]) -> None:
    """Resource and start are index conditions, not filters behind the fence."""
    query = "SELECT * FROM claim WHERE resource_id = %s AND starts_at >= %s AND starts_at < %s"
    plan = _plan(app, query, _visit(app)[2], MORNING, EVENING)
    condition = next(line for line in plan.splitlines() if "Index Cond" in line)
    assert "claim_by_resource_start" in plan
    assert "resource_id" in condition
    assert "starts_at" in condition


def test_a_patient_is_found_by_name_token_from_the_index(app: Connection[Any]) -> None:
    """Equality of hashes is leakproof, so the token is an index condition."""
    plan = _plan(app, "SELECT patient_id FROM patient_name_token WHERE token = %s", b"token")
    condition = next(line for line in plan.splitlines() if "Index Cond" in line)
    assert "token" in condition


def test_a_providers_day_touches_one_month(app: Connection[Any]) -> None:
    """A day's calendar reads one partition, by provider and by location."""
    _, _, provider, location = _visit(app)
    for column, value in (("provider_id", provider), ("location_id", location)):
        query = f"SELECT * FROM appointment WHERE {column} = %s AND start_ts_utc >= %s AND start_ts_utc < %s"
        plan = _plan(app, query, value, MORNING, EVENING)
        assert VISIT_PARTITION in plan
        assert plan.count("Scan") == 1
        condition = next(line for line in plan.splitlines() if "Index Cond" in line)
        assert column in condition


def test_an_appointment_of_known_start_touches_one_month(app: Connection[Any]) -> None:
    """By id and start, the way every by-id path goes, exactly one partition is asked."""
    query = "SELECT * FROM appointment WHERE id = %s AND start_ts_utc = %s"
    plan = _plan(app, query, *_visit(app)[:2])
    assert plan.count("Scan") == 1
    assert f"{VISIT_PARTITION}_pkey" in plan


def _plan_once(app: Connection[Any], statement: Statement, *values: str) -> str:
    """The plan that booking_svc runs a statement by, whatever its values."""
    app.execute(PLAN_ONCE)
    app.execute(f"PREPARE asked AS {statement.sql}".encode())
    call = ", ".join("NULL" if value == "NULL" else f"'{value}'" for value in values)
    return "\n".join(row[0] for row in app.execute(f"EXPLAIN (ANALYZE) EXECUTE asked ({call})".encode()))


@pytest.mark.parametrize(
    ("terms", "index", "values"),
    [
        (("phone",), "patient_by_phone", [r"\x00"]),
        (("email",), "patient_by_email", [r"\x00"]),
        (("dob",), "patient_by_dob", [r"\x00"]),
        (("name_prefix",), "patient_name_token_pkey", [r"{\\x00,\\x01}"]),
        (("phone", "name_prefix"), "patient_by_phone", [r"\x00", r"{\\x00}"]),
    ],
)
def test_a_search_for_patients_begins_with_the_index_of_its_term(
    app: Connection[Any], terms: tuple[str, ...], index: str, values: list[str]
) -> None:
    """One plan for all values does not walk through the clinic's patients."""
    nil = "00000000-0000-0000-0000-000000000000"
    plan = _plan_once(app, search_patients(terms), clinic_id(1), "f", nil, "51", *values)
    assert f"using {index}" in plan or f"on {index}" in plan, plan
    assert "Seq Scan on patient" not in plan, plan


def test_whom_a_provider_saw_is_asked_by_patient(app: Connection[Any]) -> None:
    """Every patient is a probe by its own id of the month that has visits: those of others are not read."""
    patients = app.execute("SELECT id FROM patient LIMIT 100").fetchall()
    asked = "{" + ",".join(str(patient) for (patient,) in patients) + "}"
    plan = _plan_once(app, SEEN_BY_PROVIDER, clinic_id(1), asked, str(_visit(app)[2]))
    (condition,) = [line for line in plan.splitlines() if "Index Cond" in line]
    assert "patient_id = p.id" in condition, plan
    assert f"loops={len(patients)}" in plan, plan
    assert "Hash" not in plan, plan


@pytest.mark.parametrize("columns", [(), ("location_id",), ("provider_id",), ("room_id",), ("equipment_id",)])
def test_visits_to_come_leave_the_months_gone_by_alone(
    app: Connection[Any], columns: tuple[str, ...]
) -> None:
    """A change of the directory reads no partition that ends before today."""
    visit, this_month = str(_visit(app)[0]), f"{datetime.now(UTC):%Y_%m}"
    plan = _plan_once(app, future_visits(columns), clinic_id(1), "100", *(visit for _ in columns))
    months = sorted(set(re.findall(r" on appointment_(\d{4}_\d{2})\b", plan)))
    assert months, plan
    assert months[0] >= this_month, plan


def test_a_page_of_the_audit_reads_the_months_it_is_of(app: Connection[Any]) -> None:
    """The bounds of the time are index conditions, and prune partitions, in the one plan for all values."""
    until = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = (until - timedelta(days=1)).replace(day=1)
    last_id = "ffffffff-ffff-ffff-ffff-ffffffffffff"
    bounds = (since.isoformat(), until.isoformat(), "infinity", last_id)
    plan = _plan_once(app, LIST_AUDIT, clinic_id(1), "NULL", "NULL", "NULL", *bounds, "51")
    assert set(re.findall(r" on audit_event_(\d{4}_\d{2})\b", plan)) <= {f"{since:%Y_%m}"}, plan
    condition = next(line for line in plan.splitlines() if "Index Cond" in line)
    assert "at >= $5" in condition, plan
    assert "at < $6" in condition, plan
