"""Threaded snapshots: one moment, one clinic, nothing written, and honest about a database that is away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from database.settings import DatabaseSettings
from database.snapshots import Snapshots
from scheduling.errors import Unavailable
from tests.support.clinic_rows import ClinicRows, insert_clinic
from tests.support.databases import MigratedDatabase


@pytest.fixture
def clinic(database: MigratedDatabase) -> ClinicRows:
    return insert_clinic(database.owner_url)


@pytest.fixture
def app(database: MigratedDatabase) -> Iterator[Snapshots]:
    made = Snapshots(database.app_url, DatabaseSettings(pool_min=1, pool_max=4), application_name="test")
    made.open()
    yield made
    made.close()


def _rooms(app: Snapshots, clinic_id: str | None) -> list[tuple[object, ...]]:
    with app.snapshot(clinic_id) as connection:
        return connection.execute("SELECT id FROM room").fetchall()


def test_a_snapshot_sees_its_clinic_only(app: Snapshots, clinic: ClinicRows) -> None:
    """With a tenant its rows, without one none, from many threads at once."""
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: _rooms(app, clinic.clinic), range(40)))
    assert found == [[(clinic.room,)]] * 40
    assert _rooms(app, None) == []


def test_a_snapshot_writes_nothing_and_survives_failures(app: Snapshots, clinic: ClinicRows) -> None:
    """A write and a wrong statement raise as they are, and the pool goes on working."""
    with pytest.raises(errors.ReadOnlySqlTransaction), app.snapshot(clinic.clinic) as connection:
        connection.execute("DELETE FROM room RETURNING 1").fetchall()
    with pytest.raises(errors.UndefinedTable), app.snapshot(clinic.clinic) as connection:
        connection.execute("SELECT 1 FROM nothing").fetchall()
    assert len(_rooms(app, clinic.clinic)) == 1


def test_a_lost_connection_is_unavailable_once(
    app: Snapshots, clinic: ClinicRows, database: MigratedDatabase
) -> None:
    """After the server ended every session one caller is told, and the next one is served."""
    _rooms(app, clinic.clinic)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'medforall_app'"
        )
    with pytest.raises(Unavailable):
        _rooms(app, clinic.clinic)
    assert len(_rooms(app, clinic.clinic)) == 1
