"""`medforall maintenance run` and `medforall keys rotate`, as an operator runs them."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys
from database.clinic_keys import ClinicCiphers
from tests.support.clinic_rows import insert_clinic
from tests.support.command import medforall
from tests.support.databases import MigratedDatabase
from tests.support.invariants import query

OLD, NEW = MasterKey("old", b"o" * 32), MasterKey("new", b"n" * 32)


def entry(key: MasterKey) -> str:
    return f"{key.key_id}:{base64.b64encode(key.secret).decode()}"


def test_maintenance_says_what_it_did_and_may_be_repeated(database: MigratedDatabase, tmp_path: Path) -> None:
    """The months that are missing are made, old rows go by the retention table, and a second run finds nothing."""
    insert_clinic(database.owner_url)
    next_month = (datetime.now(UTC).replace(day=28) + timedelta(days=7)).strftime("%Y_%m")
    with psycopg.connect(database.owner_url) as owner:
        owner.execute(f"DROP TABLE appointment_{next_month}".encode())
        owner.execute("UPDATE outbox_event SET published_at = now() - interval '15 days'")
        owner.execute("UPDATE idempotency_key SET created_at = now() - interval '4 days'")
    environment = {"MEDFORALL_DATABASE_URL": database.owner_url}
    runs = [
        medforall("maintenance", "run", "--home", str(tmp_path / "home"), environment=environment)
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    # Others too, where a month has begun since the database was made.
    made = [re.findall(rf"partitions made: .*\bappointment_{next_month}\b", run.stdout) for run in runs]
    assert [len(found) for found in made] == [1, 0]
    assert "1 idempotency keys deleted (kept 3 days)." in runs[0].stdout
    assert "1 published events deleted (kept 14 days)." in runs[0].stdout
    assert "0 months of audit detached (kept 72 months)." in runs[0].stdout
    assert "0 published events deleted" in runs[1].stdout


@pytest.mark.parametrize("has_old_key", [True, False])
def test_keys_rotate_to_the_newest_master_key(
    database: MigratedDatabase, tmp_path: Path, *, has_old_key: bool
) -> None:
    """Data keys open with the new master key alone afterwards; without the old one nothing is changed."""
    clinic = insert_clinic(database.owner_url).clinic
    first = ClinicCiphers(MasterKeys([OLD])).first_key(clinic)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("DELETE FROM clinic_key")
        owner.execute(
            "INSERT INTO clinic_key (clinic_id, version, wrapped_key, master_key_id) VALUES (%s, 1, %s, %s)",
            first,
        )
    file = tmp_path / "master.key"
    file.write_text("\n".join(entry(key) for key in ([NEW, OLD] if has_old_key else [NEW])))
    file.chmod(0o600)
    environment = {
        "MEDFORALL_DATABASE_URL": database.owner_url,
        "MEDFORALL_MASTER_KEY_FILE": str(file),
    }
    done = medforall("keys", "rotate", "--home", str(tmp_path / "home"), environment=environment)
    rows = query(database.owner_url, "SELECT version, wrapped_key, master_key_id FROM clinic_key")
    if has_old_key:
        assert "1 data keys wrapped by master key new." in done.stdout, done.stderr
        ClinicCiphers(MasterKeys([NEW])).keep(clinic, [row[:2] for row in rows])
    else:
        assert (done.returncode, "Nothing was changed" in done.stderr) == (1, True)
        assert [row[1:] for row in rows] == [first[1:]]
