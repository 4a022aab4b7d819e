"""Partitions are made ahead, filled from the default, detached when old, and reported."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from database.invariants import INVARIANTS, broken_invariants
from database.partitions import detach_partitions, ensure_partitions
from database.retention import maintain
from tests.support.clinic_rows import START, appointment_values, insert, insert_clinic
from tests.support.databases import MigratedDatabase


def _partition_of(owner: psycopg.Connection[tuple[object, ...]], appointment_id: str) -> object:
    row = owner.execute(
        "SELECT tableoid::regclass::text FROM appointment WHERE id = %s", (appointment_id,)
    ).fetchone()
    return row and row[0]


def test_rows_move_out_of_the_default_partition(database: MigratedDatabase) -> None:
    """Making a month takes its rows from the default, fenced and append-only like every other month."""
    ids = insert_clinic(database.owner_url)
    far = START.replace(year=START.year + 13)
    booked = str(uuid4())
    values = appointment_values(ids, booked)
    with psycopg.connect(database.owner_url) as owner:
        insert(owner, "appointment", **values | {"start_ts_utc": far, "end_ts_utc": far + timedelta(hours=1)})
        insert(
            owner,
            "audit_event",
            clinic_id=ids.clinic,
            id=str(uuid4()),
            at=far,
            actor="a",
            actor_role="admin",
            action="x",
            entity_type="clinic",
        )
        owner.commit()
        partition, shortly_before = f"appointment_{far:%Y_%m}", far.date() - timedelta(days=10)
        report = ensure_partitions(owner, today=shortly_before)
        assert partition in report.created
        assert report.rows_moved == 2
        assert _partition_of(owner, booked) == partition
        assert ensure_partitions(owner, today=shortly_before).created == []
    with psycopg.connect(database.app_url) as app:
        assert app.execute(f"SELECT count(*) FROM {partition}".encode()).fetchone() == (0,)


def test_history_leaves_the_default_partition_for_its_own_months(database: MigratedDatabase) -> None:
    """Imported visits of long ago get months, a bounded number a run, which retention then detaches, and not again."""
    ids = insert_clinic(database.owner_url)
    # One a month: eleven and more years old, up to one that is kept.
    first = datetime(2013, 1, 15, 9, tzinfo=UTC)
    starts = [first.replace(year=2013 + n // 12, month=n % 12 + 1) for n in range(49)]
    with psycopg.connect(database.owner_url) as owner:
        for start in starts:
            values = appointment_values(ids, str(uuid4())) | {"status": "completed"}
            insert(
                owner,
                "appointment",
                **values | {"start_ts_utc": start, "end_ts_utc": start + timedelta(hours=1)},
            )
        owner.commit()
        today = date(2026, 11, 22)
        reports = [maintain(owner, today=today).partitions for _ in range(4)]
        assert [report.rows_moved for report in reports] == [24, 24, 1, 0]
        assert "appointment_2013_01" in reports[0].detached
        assert {name for report in reports for name in report.detached} == {
            f"appointment_{start:%Y_%m}" for start in starts if start < datetime(2016, 11, 1, tzinfo=UTC)
        }
        assert owner.execute("SELECT count(*) FROM appointment_default").fetchone() == (0,)
        assert owner.execute("SELECT min(start_ts_utc) FROM appointment").fetchone() == (
            datetime(2016, 11, 15, 9, tzinfo=UTC),
        )
        late = appointment_values(ids, str(uuid4())) | {"status": "completed"}
        insert(
            owner, "appointment", **late | {"start_ts_utc": first, "end_ts_utc": first + timedelta(hours=1)}
        )
        owner.commit()
        assert maintain(owner, today=today).partitions.rows_moved == 0


def test_old_months_are_detached_and_kept(database: MigratedDatabase) -> None:
    """A detached month is named, is out of every query, and its rows are still in its table."""
    ids = insert_clinic(database.owner_url)
    past = datetime(2026, 10, 5, tzinfo=UTC)
    values = appointment_values(ids, str(uuid4()))
    with psycopg.connect(database.owner_url) as owner:
        ensure_partitions(owner, today=date(2026, 11, 22))
        insert(
            owner, "appointment", **values | {"start_ts_utc": past, "end_ts_utc": past + timedelta(hours=1)}
        )
        owner.commit()
        report = detach_partitions(owner, "appointment", before=date(2026, 11, 1))
        assert report.detached == ["appointment_2026_10"]
        assert detach_partitions(owner, "appointment", before=date(2026, 11, 1)).detached == []
        visible = owner.execute(
            "SELECT count(*) FROM appointment WHERE start_ts_utc < %s", (past,)
        ).fetchone()
        kept = owner.execute(sql.SQL("SELECT count(*) FROM appointment_2026_10")).fetchone()
    assert (visible, kept) == ((0,), (1,))


def test_ids_of_a_detached_month_stay_and_are_no_fault(database: MigratedDatabase) -> None:
    """After a month is detached every invariant holds for owner and worker; an id of another month is still missed."""
    ids = insert_clinic(database.owner_url)
    past = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    archived, lost = str(uuid4()), str(uuid4())
    values = appointment_values(ids, archived) | {
        "start_ts_utc": past,
        "end_ts_utc": past + timedelta(hours=1),
        "status": "completed",
    }
    reference = {"clinic_id": ids.clinic, "id": archived, "start_ts_utc": past}
    with psycopg.connect(database.owner_url) as owner:
        ensure_partitions(owner, today=date(2026, 11, 22))
        insert(owner, "appointment", **values)
        insert(owner, "appointment_ref", **reference)
        owner.commit()
        detach_partitions(owner, "appointment", before=date(2026, 11, 1))
        assert broken_invariants(owner) == dict.fromkeys(INVARIANTS, 0)
    with psycopg.connect(database.worker_url) as worker:
        assert broken_invariants(worker) == dict.fromkeys(INVARIANTS, 0)
    with psycopg.connect(database.owner_url) as owner:
        kept = owner.execute("SELECT count(*) FROM appointment_ref WHERE id = %s", (archived,)).fetchone()
        insert(
            owner, "appointment_ref", **reference | {"id": lost, "start_ts_utc": past + timedelta(minutes=30)}
        )
        broken = broken_invariants(owner)
    assert kept == (1,)
    assert broken == dict.fromkeys(INVARIANTS, 0) | {"every id leads to a visit": 1}


@pytest.mark.parametrize(
    "change",
    ["UPDATE {} SET actor = 'nobody'", "DELETE FROM {}", "TRUNCATE {}"],
    ids=["update", "delete", "truncate"],
)
def test_a_detached_month_of_the_audit_stays_append_only(database: MigratedDatabase, change: str) -> None:
    """Out of the audit's table and in an archive of its own, its rows are refused to be changed, even by the owner."""
    ids = insert_clinic(database.owner_url)
    with psycopg.connect(database.owner_url) as owner:
        ensure_partitions(owner, today=date(2026, 11, 22))
        insert(
            owner,
            "audit_event",
            clinic_id=ids.clinic,
            id=str(uuid4()),
            at=datetime(2026, 10, 5, tzinfo=UTC),
            actor="a",
            actor_role="admin",
            action="x",
            entity_type="clinic",
        )
        owner.commit()
        detach_partitions(owner, "audit_event", before=date(2026, 11, 1))
        with pytest.raises(errors.InsufficientPrivilege):
            owner.execute(sql.SQL(change).format(sql.Identifier("audit_event_2026_10")))
