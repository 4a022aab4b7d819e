"""A long import of visits: memory grows by their ids alone, and all of them are booked."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.booking import Keys
from tests.support.command import ROOT, command_environment
from tests.support.databases import MigratedDatabase
from tests.support.invariants import invariants, query
from tests.support.practice import MONDAY, Practice, at, new_practice

PROVIDERS, PATIENTS, A_DAY = 40, 1_000, 48
# Two batches are read while one is booked: with fewer than three, more visits are simply more in work at once.
FEW = 2_500
MANY = int(os.environ.get("MEDFORALL_SOAK_VISITS", "6000"))
NOTE = "has been told to come fasting; " * 60
# Its ids, and what its words stand for, take about one KiB a visit; what the file says of it would take five more.
GROWTH_MIB = 2.5 * (MANY - FEW) / 1_024


_MEASURED = """
import resource, sys
from ctl.main import app
try:
    app(sys.argv[1:])
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def write_table(practice: Practice, path: Path, count: int) -> None:
    """Visits of half an hour, one after the other at each provider, no patient twice at once."""
    with path.open("w") as file:
        file.write("id,location_id,provider_id,service_id,patient_id,start,notes\n")
        for place in range(count):
            slot, provider = divmod(place, PROVIDERS)
            day, half_hour = divmod(slot, A_DAY)
            start = at(half_hour // 2, half_hour % 2 * 30, MONDAY + timedelta(days=day))
            patient = practice.patients[place % PATIENTS]
            file.write(
                f"v{place},{practice.location},{practice.providers[provider]},{practice.service},{patient},{start},"
                f"{NOTE}{place}\n"
            )


def peak_mib(database: MigratedDatabase, keys: Keys, *arguments: str) -> int:
    """What an import that went well took at most."""
    environment = {
        "MEDFORALL_DATABASE_URL": database.owner_url,
        "MEDFORALL_MASTER_KEY_FILE": str(keys.master),
        "MEDFORALL_HOME": str(keys.folder / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, "import", *arguments],
        cwd=ROOT,
        env=command_environment(environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stderr.rsplit("peak", 1)[1])


@pytest.mark.slow
def test_memory_grows_by_the_ids_of_the_visits(database: MigratedDatabase, tmp_path: Path) -> None:
    """Thousands of visits more take little more memory, and break nothing."""
    keys = Keys(tmp_path / "keys")
    practice = new_practice(
        database, providers=PROVIDERS, patients=PATIENTS, service={"requires_room": False}
    )
    table = tmp_path / "appointments.csv"
    write_table(practice, table, FEW)
    few = peak_mib(database, keys, str(table), "--clinic", practice.clinic, "--dry-run")
    write_table(practice, table, MANY)
    many = peak_mib(database, keys, str(table), "--clinic", practice.clinic)
    assert many - few < GROWTH_MIB, (few, many)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("ANALYZE")
    assert query(database.owner_url, "SELECT count(*) FROM appointment") == [(MANY,)]
    assert query(database.owner_url, "SELECT count(*) FROM claim") == [(2 * MANY,)]
    invariants(database)
