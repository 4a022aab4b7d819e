"""Migrations run on databases that hold data, from any revision that was ever released."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url

import database
from database.migrate import expected_revision, migrate
from tests.support.clinic_rows import insert_clinic
from tests.support.databases import empty_database

_CONFIG = Config()
_CONFIG.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
_OLDER = [
    script.revision
    for script in ScriptDirectory.from_config(_CONFIG).walk_revisions()
    if script.revision != expected_revision()
]
_KEPT = ("clinic", "location", "provider", "room", "patient", "appointment", "appointment_ref")


@pytest.mark.parametrize("revision", _OLDER)
def test_a_database_with_data_is_brought_to_the_newest_schema(postgres_url: str, revision: str) -> None:
    """From each older revision the upgrade keeps every row, and gives each clinic a version of its directory."""
    with empty_database(postgres_url) as owner_url:
        _upgrade(owner_url, revision)
        ids = insert_clinic(owner_url)
        before = _counts(owner_url)
        report = migrate(owner_url)
        assert (report.before, report.after) == (revision, expected_revision())
        assert _counts(owner_url) == before
        assert all(before.values())
        with psycopg.connect(owner_url) as owner:
            versions = owner.execute("SELECT clinic_id::text FROM directory_version").fetchall()
        assert versions == [(ids.clinic,)]


def _upgrade(owner_url: str, revision: str) -> None:
    engine = create_engine(make_url(owner_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        _CONFIG.attributes["connection"] = connection
        command.upgrade(_CONFIG, revision)
    engine.dispose()


def _counts(owner_url: str) -> dict[str, int]:
    with psycopg.connect(owner_url) as owner:
        return {
            table: owner.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore[index]
            for table in _KEPT
        }
