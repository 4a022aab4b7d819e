"""Migrations run on databases that hold data, from any revision that was ever released."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import errors
from psycopg.types.json import Jsonb
from sqlalchemy import create_engine, make_url

import database
from database.migrate import expected_revision, migrate
from scheduling.rules.registry import parse_payload
from tests.support.clinic_rows import insert, insert_clinic
from tests.support.databases import MigratedDatabase, empty_database

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
    """Each upgrade keeps every row, gives each clinic a version of its directory, and has looked rows through."""
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
            unseen = owner.execute("SELECT conname FROM pg_constraint WHERE NOT convalidated").fetchall()
        assert (versions, unseen) == ([(ids.clinic,)], [])


_CHRISTMAS = {"from": "2026-12-24", "to": "2026-12-26"}
_OLD_RULES: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("lead_time", {"min_minutes": 1440, "max_days_ahead": None}, {"min_minutes": 1440}),
    ("patient_limit", {"max_active": 3, "min_days_between": None}, {"max_active": 3}),
    ("required_equipment_type", {"equipment_type": "ecg", "min_units": None}, {"equipment_type": "ecg"}),
    ("blackout_dates", {"dates": ["2026-12-25", "1970-01-01", "9999-12-31"]}, {"dates": ["2026-12-25"]}),
    (
        "blackout_dates",
        {"dates": None, "ranges": [_CHRISTMAS, {"from": "2030-01-01", "to": "9999-12-31"}]},
        {"ranges": [_CHRISTMAS, {"from": "2030-01-01", "to": "2199-12-31"}]},
    ),
    ("max_daily", {"max_per_day": 5}, {"max_per_day": 5}),
    ("room_type", {"room_type": "0001-01-01"}, {"room_type": "0001-01-01"}),
    ("max_daily", {"max_per_day": None, "scope": "service"}, None),
    ("min_gap", {"min_gap_minutes": None}, None),
    ("lead_time", {"no_same_day": False, "min_minutes": None}, None),
    (
        "blackout_dates",
        {"dates": ["1970-01-01"], "ranges": [{"from": "0001-01-01", "to": "1970-12-31"}]},
        None,
    ),
]
"""Rules as an older release took them, and what is left of each: None is out of use."""


def test_rules_of_before_keep_what_they_say(postgres_url: str) -> None:
    """Nulls and far days fall away, the rest goes on and can be read; only what then says nothing is out of use."""
    with empty_database(postgres_url) as owner_url:
        _upgrade(owner_url, "0003")
        clinic = {"clinic_id": insert_clinic(owner_url).clinic}
        ids = [str(uuid4()) for _ in _OLD_RULES]
        with psycopg.connect(owner_url) as owner:
            for rule_id, (kind, payload, _) in zip(ids, _OLD_RULES, strict=True):
                insert(
                    owner, "service_rule", **clinic, id=rule_id, rule_type=kind, rule_payload=Jsonb(payload)
                )
        migrate(owner_url)
        with psycopg.connect(owner_url) as owner:
            rows = owner.execute(
                "SELECT id::text, rule_type, rule_payload, version FROM service_rule WHERE active"
            ).fetchall()
            left = {rule_id: payload for rule_id, _, payload, _ in rows}
            assert [left.get(rule_id) for rule_id in ids] == [rest for *_, rest in _OLD_RULES]
            assert all(parse_payload(kind, payload) for _, kind, payload, _ in rows)
            same = {rule_id for rule_id, (_, old, rest) in zip(ids, _OLD_RULES, strict=True) if old == rest}
            assert {rule_id for rule_id, *_, version in rows if version == 1 and rule_id in ids} == same


@pytest.mark.parametrize(
    ("kind", "payload"), [(kind, payload) for kind, payload, rest in _OLD_RULES if payload != rest]
)
def test_no_service_of_before_writes_what_is_not_read(
    database: MigratedDatabase, kind: str, payload: dict[str, Any]
) -> None:
    """A service of the release before, beside the new schema, is refused a rule that newer services cannot read."""
    clinic = {"clinic_id": insert_clinic(database.owner_url).clinic}
    with psycopg.connect(database.owner_url) as owner, pytest.raises(errors.CheckViolation, match="readable"):
        insert(owner, "service_rule", **clinic, id=uuid4(), rule_type=kind, rule_payload=Jsonb(payload))


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
