"""A clinic at work is exported, and set up from that elsewhere; what is only tried leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import psycopg
import pytest

from chassis.master_keys import create_master_key_file, load_master_keys
from chassis.settings import EncryptionSettings
from ctl.seed.load import SeedOptions, seed_clinics
from ctl.seed.words import clinic_id
from database.invariants import broken_invariants
from tests.support.command import medforall_here
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.invariants import query

CLINIC = clinic_id(1)
VISITS = "SELECT id::text, status, start_ts_utc, end_ts_utc, room_id::text FROM appointment ORDER BY 1"
DATA_KEYS = "SELECT count(*) FROM clinic_key"

RunOn = Callable[..., CompletedProcess[str]]


@pytest.fixture
def elsewhere(postgres_url: str) -> Iterator[MigratedDatabase]:
    """A second database, migrated and empty."""
    with migrated_database(postgres_url) as made:
        yield made


@pytest.fixture
def run_on(tmp_path: Path) -> RunOn:
    """The command on a database, always with the same master key."""
    create_master_key_file(tmp_path / "master.key")

    def run(database: MigratedDatabase, *arguments: object) -> CompletedProcess[str]:
        environment = {
            "MEDFORALL_DATABASE_URL": database.owner_url,
            "MEDFORALL_MASTER_KEY_FILE": str(tmp_path / "master.key"),
            "MEDFORALL_HOME": str(tmp_path / "home"),
        }
        return medforall_here(*map(str, arguments), environment=environment)

    return run


def test_a_working_clinic_comes_back_with_its_visits(
    database: MigratedDatabase, elsewhere: MigratedDatabase, run_on: RunOn, tmp_path: Path
) -> None:
    """Visits that are over, under way, begin soon or break a rule of by now are all there again, at the same times."""
    keys = load_master_keys(EncryptionSettings(master_key_file=tmp_path / "master.key"))
    first_day = datetime.now(UTC).date() - timedelta(days=5)
    seed_clinics(database.owner_url, keys, SeedOptions(clinics=1, days=12, first_day=first_day))
    with psycopg.connect(database.owner_url) as owner:
        # As if it had been begun and not finished, and as if the rule had come after the visits.
        owner.execute(
            "UPDATE appointment SET status = 'in_progress'"
            " WHERE id = (SELECT id FROM appointment WHERE status = 'completed' ORDER BY start_ts_utc DESC LIMIT 1)"
        )
        owner.execute(
            "UPDATE service_rule SET rule_payload = '{\"min_minutes\": 30000}' WHERE rule_type = 'lead_time'"
        )
    output, again = tmp_path / "out.yaml", tmp_path / "again.yaml"
    assert run_on(database, "export", "--clinic", CLINIC, "-o", output).returncode == 0
    done = run_on(elsewhere, "import", output)
    assert done.returncode == 0, done.stdout + done.stderr
    stored = query(database.owner_url, VISITS)
    assert {"completed", "in_progress", "scheduled"} <= {row[1] for row in stored}
    assert query(elsewhere.owner_url, VISITS) == stored
    with psycopg.connect(elsewhere.owner_url) as owner:
        assert not any(broken_invariants(owner).values())
    assert run_on(elsewhere, "export", "--clinic", CLINIC, "-o", again).returncode == 0
    assert again.read_text() == output.read_text()


def test_neither_a_trial_nor_an_export_makes_a_key(
    database: MigratedDatabase, run_on: RunOn, tmp_path: Path
) -> None:
    """A clinic that was there without a data key gets it from the import that writes, not from looking at it."""
    file = tmp_path / "patients.csv"
    file.write_text("id,name,dob\np1,Canary Bird,1961-07-25\n")
    with psycopg.connect(database.owner_url) as owner:
        owner.execute(
            "INSERT INTO clinic (id, name, default_timezone) VALUES (%s, 'Harbour', 'Europe/Berlin')",
            (CLINIC,),
        )
    for arguments in (("import", file, "--clinic", CLINIC, "--dry-run"), ("export", "--clinic", CLINIC)):
        done = run_on(database, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert query(database.owner_url, DATA_KEYS) == [(0,)]
    assert run_on(database, "import", file, "--clinic", CLINIC).returncode == 0
    assert query(database.owner_url, DATA_KEYS) == [(1,)]
    assert "Canary Bird" in run_on(database, "export", "--clinic", CLINIC).stdout
