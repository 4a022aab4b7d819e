"""How fast and in how much memory `medforall import` takes in a table of patients.

    python -m bench.import_patients [--patients 100000]

Runs on a PostgreSQL of its own in a temporary home, so nothing else is measured. The floor beside the rate is what
sealing the same patients costs by itself: encrypting four fields and hashing what they are searched by, on one core.
Not part of the checks: it takes minutes.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from chassis.encryption import ClinicCipher, new_data_key
from ctl import offline
from ctl.home import Home
from ctl.secret_store import load_or_create
from ctl.suite import bring_schema_up
from database.sealed_patient import PatientDetails, seal_patient

CLINIC = "018f3c1e-0000-7000-8000-000000000001"
_FIRST = ("Ada", "Boris", "Chidi", "Dagny", "Emeka", "Fatima", "Goran", "Hye-jin", "Ines", "Jun")
_LAST = (
    "Abiodun",
    "Bergström",
    "Castellanos",
    "Dimitrov",
    "Eriksen",
    "Fitzgerald",
    "García",
    "Haddad",
    "Ito",
)


def patients(count: int) -> Iterator[tuple[str, PatientDetails]]:
    """Patients with names, birthdays, phones and notes that differ."""
    for number in range(count):
        first, last = _FIRST[number % len(_FIRST)], _LAST[number // len(_FIRST) % len(_LAST)]
        yield (
            f"p{number}",
            PatientDetails(
                name=f"{first} {last} {number}",
                dob=f"{1930 + number % 90}-{number % 12 + 1:02}-{number % 28 + 1:02}",
                phone=f"+1 617 {number:07}",
                email=f"p{number}@example.org",
                notes="Prefers mornings." if number % 3 == 0 else "",
            ),
        )


def write_files(folder: Path, count: int) -> tuple[Path, Path]:
    """The clinic and its table of patients."""
    clinic = folder / "clinic.yaml"
    clinic.write_text(f"clinic: {{id: {CLINIC}, name: Large, default_timezone: UTC}}\n")
    table = folder / "patients.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name", "dob", "contact.phone", "contact.email", "notes"])
        for word, found in patients(count):
            rows.writerow([word, found.name, found.dob, found.phone, found.email, found.notes])
    return clinic, table


def sealing_floor(count: int) -> float:
    """Patients a second that one core seals, writing nothing."""
    cipher = ClinicCipher([new_data_key(CLINIC, "dk1")])
    sample = list(patients(min(count, 5_000)))
    started_s = time.perf_counter()
    for word, details in sample:
        seal_patient(cipher, word, details)
    return len(sample) / (time.perf_counter() - started_s)


@dataclass(frozen=True, slots=True)
class Run:
    """One import: how long it took, the start of the command included, and its peak memory."""

    seconds: float
    peak_mib: float


def run_import(home: Path, database_url: str, *files: Path) -> Run:
    """Run the command as an operator does. Raises SystemExit when it fails."""
    environment = os.environ | {"MEDFORALL_DATABASE_URL": database_url}
    command = [
        sys.executable,
        "-m",
        "ctl",
        "import",
        *map(str, files),
        "--clinic",
        CLINIC,
        "--home",
        str(home),
    ]
    started_s = time.perf_counter()
    pid = os.posix_spawn(sys.executable, command, environment)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit("the import failed")
    # Linux counts in KiB.
    return Run(time.perf_counter() - started_s, usage.ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=100_000)
    count = parser.parse_args().patients
    with tempfile.TemporaryDirectory() as folder:
        place = Home(Path(folder) / "home")
        clinic, table = write_files(Path(folder), count)
        with offline.database(place, {}) as owner_url:
            bring_schema_up(owner_url, load_or_create(place), say=print)
            second = Path(folder) / "given"
            empty = run_import(second, owner_url, clinic)
            full = run_import(second, owner_url, table)
            with psycopg.connect(owner_url) as owner:
                stored = owner.execute("SELECT count(*) FROM patient").fetchone()
    floor = sealing_floor(count)
    rate = count / full.seconds
    print(f"{stored and stored[0]:,} patients stored in {full.seconds:.1f} s: {rate:,.0f} patients/s")
    print(f"sealing alone: {floor:,.0f} patients/s on one core; the import reaches {rate / floor:.0%} of it")
    print(f"peak memory: {full.peak_mib:,.0f} MiB (an import without patients: {empty.peak_mib:,.0f} MiB)")


if __name__ == "__main__":
    main()
